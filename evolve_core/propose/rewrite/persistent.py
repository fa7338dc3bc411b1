"""A fixed number of programs, each of which works through several tiles.

*What it does.* The whole body runs inside `for tile in range(tl.program_id(0), tiles, tl.num_programs(0))`,
the first grid axis is cut to at most `programs`, and `tile` takes the program id's place. Many tiny
programs then cost fewer launches of blocks, and a program's set-up overlaps with its neighbour's work.

*Why it computes the same.* The loops of all programs together visit each of the original ids exactly once
(a program starts at its own id and strides by the number of programs), and each visit runs the original
body. Programs of one launch have no order among them, so running some one after another in one program is
one of the orders allowed. No value passes from one visit to the next: the body starts inside the loop, and
kernels that assign to a parameter are refused.

*When it refuses.* Assignments to parameters, `return`, `while`, atomics and barriers (programs might wait
for each other), uses of `tl.num_programs(0)`, kernels that already loop over programs, local constexpr
declarations, and grids that the text does not show.
"""

from __future__ import annotations

import ast
import textwrap

from evolve_core.propose.edits import add_arguments, add_parameters, grid_in_call, why_no_grid, why_not_launchable
from evolve_core.propose.kernel_code import KernelCode
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import ORDERED
from evolve_core.propose.syntax import Splice, assigned_names, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``programs``: the largest number of programs on grid axis 0."""
    why_not = why_not_launchable(kernel) or why_no_grid(kernel) or _why_not_repeatable(kernel)
    if why_not:
        return Refusal(why_not)
    tile, total = kernel.fresh("tile"), kernel.fresh("n_tiles")
    edits: list[Splice] = []
    for launch in kernel.launches:
        count = grid_in_call(kernel, launch, 0)
        placed = add_arguments(kernel, launch, [(total, count)]) if count is not None else None
        if launch.grid is None or placed is None:
            return Refusal("the grid's first element cannot be passed to the kernel")
        text = f"min({kernel.code.text(launch.grid[0])}, {settings['programs']})"
        edits += [kernel.code.replace(launch.grid[0], text), placed]
    added = add_parameters(kernel, [(total, "1")])
    if isinstance(added, str):
        return Refusal(added)
    edits += [*added, _looped(kernel, tile, total)]
    return Rewritten(splice(kernel.code, edits), f"at most {settings['programs']} programs, several tiles each")


def _why_not_repeatable(kernel: KernelCode) -> str:
    if not any(axis == 0 for _, axis in kernel.program_ids()) or any(axis is None for _, axis in kernel.program_ids()):
        return "the program id of axis 0 is not used, or an axis is no literal"
    if kernel.tl_calls(*ORDERED, "num_programs", "inline_asm_elementwise", "device_print"):
        return "the kernel has atomics or barriers, uses the number of programs, or holds inline assembly"
    for statement in kernel.body:
        if assigned_names(statement) & set(kernel.parameters):
            return f"line {statement.lineno}: the kernel assigns to a parameter, which the next tile would see"
        for node in ast.walk(statement):
            if isinstance(node, ast.Return | ast.While | ast.AnnAssign | ast.Global | ast.FunctionDef):
                return f"line {node.lineno}: {type(node).__name__} inside the kernel"
    if not all(kernel.code.owns_its_lines(s) for s in (kernel.body[0], kernel.body[-1])):
        return "the kernel's first or last statement shares its line"
    return ""


def _looped(kernel: KernelCode, tile: str, total: str) -> Splice:
    code, tl = kernel.code, kernel.aliases.language
    start, end = code.lines_of(kernel.body[0])[0], code.lines_of(kernel.body[-1])[1]
    data, position, parts = code.data, start, []
    for call, axis in kernel.program_ids():
        if axis == 0:
            # A loop's variable is a plain integer to the interpreter, and the body may ask the id for its methods.
            value = f"{tl}.cast({tile}, {tl}.int32)"
            parts += [data[position : code.start(call)], value.encode()]
            position = code.end(call)
    body = b"".join([*parts, data[position:end]]).decode()
    indent = code.indent(kernel.body[0])
    inside = textwrap.indent(textwrap.dedent(body), indent + "    ")
    ending = "" if inside.endswith("\n") else "\n"
    head = f"{indent}for {tile} in range({tl}.program_id(0), {total}, {tl}.num_programs(0)):\n"
    return Splice(start, end, f"{head}{inside}{ending}")


RULE = Rule("persistent-programs", tuple({"programs": p} for p in ("1056", "2112", "528")), rewrite, __doc__)
