"""Several rows per program.

*What it does.* In a kernel where each program of grid axis 0 works on one row (`row = tl.program_id(0)`,
one-dimensional tensors along the row, reductions over them), a program takes `ROWS` rows as a
two-dimensional tile: the row index becomes a column vector, `tl.arange` a row vector, each reduction runs
over axis 1 and keeps it, and the grid shrinks to `cdiv(rows, ROWS)`. Short rows then fill the lanes of a
program, and weights shared by the rows are loaded once for all.

*Why it computes the same.* Programs of one launch have no order among them, so any of them may run together
as rows of a tile. Shape inference over the whole body shows that every operation is either elementwise (it
broadcasts) or a reduction of a full tile along the row; row i of the result then depends on row i alone, by
the same operations. Rows beyond the last one are masked off in every load and store whose address depends
on the row. The order inside a reduction may change, as it does with any other number of warps.

*When it refuses.* Anything that inference does not know (calls of other functions, subscripts,
two-dimensional code, `while`, `return`), loop bounds or conditions that differ by row, stores to an address
shared by rows, atomics and barriers, reductions of a value shared by rows, `tl.num_programs(0)`, a grid
that the text does not show, and kernels without a reduction.
"""

from __future__ import annotations

import ast

from evolve_core.propose.edits import add_arguments, add_parameters, grid_in_call, why_no_grid, why_not_launchable
from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import Findings, Inference, UnsupportedError
from evolve_core.propose.syntax import Splice, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``rows``: rows per program, a power of two from 2 on."""
    why_not = why_not_launchable(kernel) or why_no_grid(kernel)
    if why_not:
        return Refusal(why_not)
    try:
        findings = Inference(kernel).run()
    except UnsupportedError as unsupported:
        return Refusal(f"the kernel is not plainly one row per program: {unsupported}")
    if not findings.reductions or not findings.program_ids:
        return Refusal("no reduction over a row that the program id selects")
    rows, total, edge = kernel.fresh("rows"), kernel.fresh("n_rows_total"), kernel.fresh("ROWS")
    edits = _launch_edits(kernel, total, edge, int(settings["rows"]))
    added = add_parameters(kernel, [(total, "1"), (f"{edge}: {kernel.aliases.language}.constexpr", "1")])
    if isinstance(edits, Refusal) or isinstance(added, str):
        return edits if isinstance(edits, Refusal) else Refusal(str(added))
    if not kernel.code.owns_its_lines(kernel.body[0]):
        return Refusal("the kernel's first statement shares its line")
    edits += [*added, *_body_edits(kernel, findings, rows, total, edge)]
    return Rewritten(splice(kernel.code, edits), f"{settings['rows']} rows per program")


def _body_edits(kernel: KernelCode, findings: Findings, rows: str, total: str, edge: str) -> list[Splice]:
    tl, code = kernel.aliases.language, kernel.code
    index = f"{rows} = {tl}.program_id(0) * {edge} + {tl}.arange(0, {edge})[:, None]"
    edits = [code.insert_lines(kernel.body[0], [index])]
    edits += [code.replace(node, rows) for node in findings.program_ids]
    edits += [code.after(node, "[None, :]") for node in findings.aranges]
    edits += [code.replace(n, f"{tl}.full([{edge}, 1], {code.text(n)}, {tl}.float32)") for n in findings.widened]
    for node in findings.filled:
        shape = argument(node, 0, "shape")
        if isinstance(shape, ast.List | ast.Tuple):
            edits.append(code.before(shape.elts[0], f"{edge}, "))
    for node in findings.reductions:
        edits += _along_axis_1(kernel, node)
    for node in findings.accesses:
        edits += _masked(kernel, node, f"({rows} < {total})")
    return edits


def _along_axis_1(kernel: KernelCode, node: ast.Call) -> list[Splice]:
    axis = argument(node, 1, "axis")
    if axis is None:
        return [kernel.code.after(_last(kernel, node), ", axis=1, keep_dims=True")]
    keep = Splice(kernel.code.end(_last(kernel, node)), kernel.code.end(_last(kernel, node)), ", keep_dims=True")
    return [kernel.code.replace(axis, "1"), keep]


def _last(kernel: KernelCode, node: ast.Call) -> ast.expr | ast.keyword:
    arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
    return max(arguments, key=kernel.code.end)


def _masked(kernel: KernelCode, node: ast.Call, inside: str) -> list[Splice]:
    position = 2 if kernel.aliases.call(node) == "store" else 1
    mask = argument(node, position, "mask")
    if mask is None or (isinstance(mask, ast.Constant) and mask.value is None):
        edits = [] if mask is None else [kernel.code.replace(mask, inside)]
        return edits or [kernel.code.after(_last(kernel, node), f", mask={inside}")]
    if isinstance(mask, ast.Name):
        return [kernel.code.after(mask, f" & {inside}")]
    return [kernel.code.before(mask, "("), kernel.code.after(mask, f") & {inside}")]


def _launch_edits(kernel: KernelCode, total: str, edge: str, rows: int) -> list[Splice] | Refusal:
    edits: list[Splice] = []
    for launch in kernel.launches:
        count = grid_in_call(kernel, launch, 0)
        arguments = add_arguments(kernel, launch, [(total, str(count)), (edge, str(rows))])
        if launch.grid is None or count is None or arguments is None:
            return Refusal("the grid's first element cannot be passed to the kernel")
        text = f"{kernel.aliases.triton}.cdiv({kernel.code.text(launch.grid[0])}, {rows})"
        edits += [kernel.code.replace(launch.grid[0], text), arguments]
    return edits


RULE = Rule("rows-per-program", tuple({"rows": r} for r in ("4", "2", "8", "16")), rewrite, __doc__)
