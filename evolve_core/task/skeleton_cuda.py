"""The first version of a task file for a CUDA kernel: how it is launched, guessed from its parameter list."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from evolve_core.source.model import Kernel, Parameter

# C++ type of an element → torch dtype.
_DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "__half": "float16", "__nv_bfloat16": "bfloat16",
    "nv_bfloat16": "bfloat16", "int": "int32", "int32_t": "int32", "unsigned int": "int32", "long long": "int64",
    "int64_t": "int64", "long": "int64", "short": "int16", "int8_t": "int8", "char": "int8", "uint8_t": "uint8",
    "unsigned char": "uint8", "bool": "bool",
}  # fmt: skip
_QUALIFIERS = re.compile(r"\b(const|volatile|__restrict__|__restrict|restrict)\b|\*|&")
_INTEGERS = frozenset(
    {"int", "unsigned", "unsigned int", "size_t", "int64_t", "int32_t", "uint32_t", "long", "long long"}
)
DEFAULT_BLOCK = 256


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    dtype: str | None
    """of a tensor; None for a number"""
    is_output: bool = False
    is_integer: bool = False
    known: bool = True


def cuda_skeleton(source_file: Path, kernel: Kernel) -> str:
    """The text of a task file with a ``launches`` generator for one ``__global__`` function."""
    arguments = [_argument(p) for p in kernel.parameters]
    tensors = [a for a in arguments if a.dtype is not None]
    inputs = [a for a in tensors if not a.is_output] or tensors
    outputs = [a for a in tensors if a.is_output and a not in inputs]
    results = [a.name for a in tensors if a.is_output] or [a.name for a in tensors[-1:]]
    scalars = [a for a in arguments if a.dtype is None and not a.is_integer]
    given = [*inputs, *scalars]
    parameters = ", ".join(a.name for a in given)
    block = _block(kernel)
    first = inputs[0].name if inputs else "x"
    passed = ", ".join("n" if a.is_integer else a.name for a in arguments)
    written = kernel.qualified_name.replace(".", "::")
    lines = [
        f'"""How {kernel.qualified_name} in {source_file.name} is judged: launch, inputs, right result."""',
        "",
        "import torch",
        "",
        "",
        f"def launches({parameters}):",
        f"    n = {first}.numel()",
        *(f"    {a.name} = torch.empty(n, dtype=torch.{a.dtype}, device={first}.device)" for a in outputs),
    ]
    if any(a.is_integer for a in arguments):
        lines.append("    # Every integer parameter is passed the number of elements: correct where that is not meant.")
    lines += [
        "    yield {",
        f'        "kernel": "{written}",  # a template needs its arguments: "{written}<float>"',
        f'        "grid": (-(-n // {block}), 1, 1),',
        f'        "block": ({block}, 1, 1),',
        '        "shared_bytes": 0,',
        f'        "arguments": [{passed}],',
        "    }",
        f"    return {', '.join(results) or 'None'}",
        "",
        "",
        "def workloads():",
        "    # The sizes that matter to you; these are placeholders.",
        "    for n in [1048576, 999983]:",
        "        yield lambda gen, device, n=n: {",
        *(f"            {_input_line(a)}" for a in given),
        "        }",
        "",
        "",
        "# Optional: the truth for one workload. Without it, today's kernel is the oracle.",
        f"# def reference({parameters}):",
        "#     return ...",
    ]
    return "\n".join(lines) + "\n"


def _argument(parameter: Parameter) -> _Argument:
    annotation = parameter.annotation
    # `in` and `lambda` are good names in C++ and none in Python.
    name = f"{parameter.name}_" if keyword.iskeyword(parameter.name) or parameter.name == "n" else parameter.name
    element = " ".join(_QUALIFIERS.sub(" ", annotation).replace("[]", " ").split())
    if "*" in annotation or "[" in annotation:
        known = element in _DTYPES
        is_const = re.search(r"\bconst\b", annotation) is not None
        return _Argument(name, _DTYPES.get(element, "float32"), is_output=not is_const, known=known)
    return _Argument(name, None, is_integer=element in _INTEGERS)


def _block(kernel: Kernel) -> int:
    """Threads per block where a launch in the file says so as a plain number."""
    for site in kernel.launches:
        for option in site.options:
            if option.keyword == "block" and option.text.isdigit() and 0 < int(option.text) <= 1024:
                return int(option.text)
    return DEFAULT_BLOCK


def _input_line(argument: _Argument) -> str:
    name, dtype = argument.name, argument.dtype
    if dtype is None:
        return f'"{name}": 1.0,  # fill in a value that occurs'
    note = "" if argument.known else "  # the source does not tell its element type"
    if dtype.startswith(("float", "bfloat")):
        suffix = "" if dtype == "float32" else f", dtype=torch.{dtype}"
        return f'"{name}": torch.randn(n, generator=gen, device=device{suffix}),{note}'
    return f'"{name}": torch.randint(0, 2, (n,), generator=gen, device=device, dtype=torch.{dtype}),{note}'
