"""The first version of a task file, written from what the host function's text says.

It imports nothing of ours, runs as it stands where the text told enough, and says where it guessed.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from pathlib import Path

from evolve_core.source.model import Kernel, Language, ParsedSource
from evolve_core.task.infer import HostParameter, ParameterKind, host_parameters
from evolve_core.task.reach import CallGraph
from evolve_core.task.skeleton_cuda import cuda_skeleton

_RESERVED = frozenset({"gen", "device", "torch", "inputs", "entry"})
# Two listed workloads each: a size people run, and one with no power of two in it. By number of sizes.
_SIZES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    1: ((1 << 20,), (999_983,)),
    2: ((4096, 1024), (2048, 781)),
    3: ((1024, 1024, 1024), (512, 781, 333)),
    4: ((4, 8, 1024, 64), (2, 4, 781, 64)),
}
_NUMBERS = {ParameterKind.INT: "1", ParameterKind.FLOAT: "1.0", ParameterKind.BOOL: "False"}

# Values that these names have in the norms and optimizers people know.
_USUAL = {"eps": "1e-6", "epsilon": "1e-6", "scale": "1.0", "sm_scale": "1.0", "alpha": "1.0", "beta": "1.0"}


def skeleton(source_file: Path, parsed: ParsedSource, text: str, kernel: Kernel) -> str:
    """The text of a task file for ``kernel``; ``text`` is the source file's."""
    if parsed.language is Language.CUDA:
        return cuda_skeleton(source_file, kernel)
    graph = CallGraph(parsed)
    entry = entry_for(graph, kernel)
    function = _function(text, entry) if entry is not None else None
    if entry is None or function is None:
        return _unknown(source_file, kernel, entry)
    launched = frozenset(graph.kernels_from(entry))
    kernels = tuple(k for k in parsed.kernels if k.qualified_name in launched)
    parameters = host_parameters(function, kernels, text)
    return _render(source_file, entry, parameters)


def entry_for(graph: CallGraph, kernel: Kernel) -> str | None:
    """The module-level function that runs ``kernel`` by the shortest way; None where nothing in the file does."""
    reaching = (graph.reaching({kernel.qualified_name}) & graph.entries) - graph.kernels.keys()
    direct = {host.split(".", 1)[0] for host in kernel.hosts}
    places = {d.qualified_name: place for place, d in enumerate(graph.parsed.definitions)}
    # Among equals the first in the file: forward comes before backward.
    return min(
        reaching & direct or reaching,
        key=lambda name: (len(graph.kernels_from(name)), name.startswith("_"), places[name]),
        default=None,
    )


def _function(text: str, name: str) -> ast.FunctionDef | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef) and n.name == name]
    return found[-1] if found else None


def _render(source_file: Path, entry: str, parameters: list[HostParameter]) -> str:
    shown = [p for p in parameters if p.default is None]
    dims = _dimension_names(shown)
    lines = [
        f'"""How {entry} in {source_file.name} is judged: inputs it runs on, and what a right result is."""',
        "",
        "import torch",
        "",
        f'entry = "{entry}"',
        "",
        "",
        f"def inputs({', '.join(['gen', 'device', *dims.values()])}):",
        "    return {",
        *(f"        {_entry_line(p, dims)}" for p in shown),
        "    }",
    ]
    lines += [f"    # {p.name}={p.default} is left at its default." for p in parameters if p.default is not None]
    lines += ["", "", "def workloads():", *_workloads(list(dims.values())), "", ""]
    names = ", ".join(p.name for p in shown)
    lines += [
        f"# Optional: the truth for one workload. Without it, today's {entry} is the oracle.",
        f"# def reference({names}):",
        f"#     return ...  # the same result as {entry}({names}), in plain torch",
    ]
    return "\n".join(lines) + "\n"


def _dimension_names(shown: list[HostParameter]) -> dict[str, str]:
    """Size as the source names it → its name in the task file, in order of appearance."""
    parameters = {p.name for p in shown}
    names: dict[str, str] = {}
    for parameter in shown:
        for dim in parameter.dims or ():
            taken = _RESERVED | (parameters - {dim})
            # An axis without a name of its own is called after its tensor, as `x_-1`.
            written = re.sub(r"\W", "", dim)
            while dim not in names and (written in taken or written in names.values() or keyword.iskeyword(written)):
                written += "_size"
            names.setdefault(dim, written)
    return names


def _entry_line(parameter: HostParameter, dims: dict[str, str]) -> str:
    name = parameter.name
    if parameter.kind is ParameterKind.TENSOR:
        return _tensor_line(parameter, [dims[d] for d in parameter.dims or ()], dims.get(parameter.high or "", "2"))
    if name in dims:
        return f'"{name}": {dims[name]},'
    if name in _USUAL:
        return f'"{name}": {_USUAL[name]},  # fill in a value that occurs'
    if parameter.kind is ParameterKind.UNKNOWN:
        return f'"{name}": 1,  # nothing in the source tells what {name} is: fill in'
    return f'"{name}": {_NUMBERS[parameter.kind]},  # fill in a value that occurs'


def _tensor_line(parameter: HostParameter, sizes: list[str], high: str) -> str:
    shape = ", ".join(sizes)
    name, dtype = parameter.name, parameter.dtype
    note = "  # guessed: nothing in the source tells its shape" if parameter.guessed else ""
    if dtype is not None and not dtype.startswith(("float", "bfloat")):
        note = note or "  # fill in the range of values that occur"
        as_tuple = f"({shape},)" if len(sizes) == 1 else f"({shape})"
        return (
            f'"{name}": torch.randint(0, {high}, {as_tuple}, generator=gen, device=device, dtype=torch.{dtype}),{note}'
        )
    suffix = f", dtype=torch.{dtype}" if dtype not in (None, "float32") else ""
    return f'"{name}": torch.randn({shape}, generator=gen, device=device{suffix}),{note}'


def _workloads(names: list[str]) -> list[str]:
    if not names:
        return ["    # One call, with the inputs above.", "    yield lambda gen, device: inputs(gen, device)"]
    sizes = _SIZES.get(len(names)) or _many_sizes(len(names))
    joined = ", ".join(names)
    bound = ", ".join(f"{name}={name}" for name in names)
    shapes = ", ".join(str(s) if len(s) > 1 else str(s[0]) for s in sizes)
    return [
        "    # The sizes that matter to you; these are placeholders.",
        f"    for {joined} in [{shapes}]:",
        f"        yield lambda gen, device, {bound}: inputs(gen, device, {joined})",
    ]


def _many_sizes(count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    # Of more than two, the first ones are counts (a batch, heads): small, so that everything together stays so.
    lead = count - 2
    return (2,) * lead + (512, 64), (3,) * lead + (333, 64)


def _unknown(source_file: Path, kernel: Kernel, entry: str | None) -> str:
    if entry is None:
        reason = f"nothing in {source_file.name} launches {kernel.qualified_name}"
        name, parameters = "NAME", "x"
    else:
        reason = f"{entry} in {source_file.name} is not a plain function, so its inputs cannot be read off it"
        name, parameters = entry, "x"
    return f'''"""How {kernel.qualified_name} in {source_file.name} is judged. To be filled in: {reason}."""

import torch

# The function in {source_file.name} that launches {kernel.qualified_name}. Add one there if there is none.
entry = "{name}"


def workloads():
    # Keyword arguments of `entry`, drawn anew from the generator every time. These are placeholders.
    for rows, cols in [(4096, 1024), (2048, 781)]:
        yield lambda gen, device, rows=rows, cols=cols: {{
            "x": torch.randn(rows, cols, generator=gen, device=device),
        }}


# Optional: the truth for one workload. Without it, today's version is the oracle.
# def reference({parameters}):
#     return ...
'''
