"""Grouped program order for tiled matrix products.

*What it does.* Where a kernel splits one program id into a row and a column of output tiles by `//` and
`%`, or takes them from two grid axes, programs are renumbered: `GROUP` rows of tiles at a time, column by
column inside the group. Programs that run together then share both operands in the L2 cache instead of one.

*Why it computes the same.* The renumbering is a bijection of the grid onto itself: with R × C tiles, the
group of `GROUP` rows (fewer in the last group, by `min`) takes exactly rows × C consecutive ids, and inside
it id → (id mod rows, id div rows) hits every pair once. So every tile is still computed once, by the same
code; only the order differs, and programs of one launch have no order among them.

*When it refuses.* Kernels without `tl.dot`; ids that are used in any other way; a grid that the text does
not show to be exactly R × C (the product of two counts, one of them the divisor in the kernel, or two
axes); kernels that already reorder.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from evolve_core.propose.edits import add_arguments, add_parameters, why_not_launchable
from evolve_core.propose.flow import State, Walk
from evolve_core.propose.kernel_code import KernelCode, Launch
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import ORDERED
from evolve_core.propose.syntax import Splice, dotted, int_literal, same, splice


@dataclass(frozen=True)
class Split:
    """``outer = pid // count`` and ``inner = pid % count``, or one axis each (``pid`` and ``count`` "" then)."""

    first: ast.Assign
    second: ast.Assign
    outer: str
    inner: str
    pid: str
    count: str


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``group``: rows of tiles per group."""
    if not kernel.tl_calls("dot", "dot_scaled"):
        return Refusal("no matrix product: program order matters little")
    if kernel.tl_calls(*ORDERED, "num_programs", "swizzle2d"):
        return Refusal("the kernel uses atomics, barriers or the number of programs")
    why_not = why_not_launchable(kernel)
    if why_not:
        return Refusal(why_not)
    split = _one_axis(kernel) or _two_axes(kernel)
    if split is None:
        return Refusal("the program id is not split into a row and a column of tiles by // and %, or by two axes")
    if not all(kernel.code.owns_its_lines(s) for s in (split.first, split.second)):
        return Refusal("the statements that split the program id share a line")
    if split.pid and not all(_is_rectangle(kernel, launch, split) for launch in kernel.launches):
        return Refusal("a launch's grid is not visibly the number of tile rows times the number of tile columns")
    return _rewritten(kernel, split, settings)


def _rewritten(kernel: KernelCode, split: Split, settings: Settings) -> Rewritten | Refusal:
    tl = kernel.aliases.language
    group = kernel.fresh("GROUP")
    added = add_parameters(kernel, [(f"{group}: {tl}.constexpr", "1")])
    placed = [add_arguments(kernel, launch, [(group, settings["group"])]) for launch in kernel.launches]
    if isinstance(added, str) or any(p is None for p in placed):
        return Refusal(added if isinstance(added, str) else "a launch has no arguments")
    lines = _order(kernel, split, group)
    early, late = sorted((split.first, split.second), key=lambda s: s.lineno)
    code = kernel.code
    indent = code.indent(early)
    text = "".join(f"{indent}{line}\n" for line in lines)
    edits = [*added, *filter(None, placed), Splice(*code.lines_of(early), text), Splice(*code.lines_of(late), "")]
    return Rewritten(splice(code, edits), f"programs in groups of {settings['group']} rows of tiles")


def _order(kernel: KernelCode, split: Split, group: str) -> list[str]:
    tl = kernel.aliases.language
    names = {n: kernel.fresh(n) for n in ("program", "rows_of_tiles", "columns_of_tiles", "per_group")}
    names |= {n: kernel.fresh(n) for n in ("first_row", "group_rows")}
    if split.pid:
        pid, columns = split.pid, split.count
        head = [f"{names['rows_of_tiles']} = {tl}.num_programs(0) // {columns}"]
    else:
        pid, columns = names["program"], f"{tl}.num_programs(1)"
        head = [
            f"{pid} = {tl}.program_id(0) + {tl}.program_id(1) * {tl}.num_programs(0)",
            f"{names['rows_of_tiles']} = {tl}.num_programs(0)",
        ]
    return [
        *head,
        f"{names['per_group']} = {group} * {columns}",
        f"{names['first_row']} = {pid} // {names['per_group']} * {group}",
        f"{names['group_rows']} = {tl}.minimum({names['rows_of_tiles']} - {names['first_row']}, {group})",
        f"{split.outer} = {names['first_row']} + {pid} % {names['per_group']} % {names['group_rows']}",
        f"{split.inner} = {pid} % {names['per_group']} // {names['group_rows']}",
    ]


def _assignments(kernel: KernelCode) -> dict[str, list[ast.Assign]]:
    found: dict[str, list[ast.Assign]] = {}
    for node in (n for s in kernel.body for n in ast.walk(s)):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node)
    return found


def _one_axis(kernel: KernelCode) -> Split | None:
    """``pid = tl.program_id(0)`` used in exactly ``pid // count`` and ``pid % count``, both assigned to a name."""
    ids = kernel.program_ids()
    if len(ids) != 1 or ids[0][1] != 0:
        return None
    holder = kernel.code.parents[ids[0][0]]
    if not isinstance(holder, ast.Assign) or holder not in kernel.body or not isinstance(holder.targets[0], ast.Name):
        return None
    pid = holder.targets[0].id
    assigned = _assignments(kernel)
    if len(assigned.get(pid, [])) != 1:
        return None
    parts: dict[type[ast.operator], ast.Assign] = {}
    uses = [
        n
        for s in kernel.body
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and n.id == pid and n is not holder.targets[0]
    ]
    for use in uses:
        parent = kernel.code.parents[use]
        statement = kernel.code.parents[parent]
        if not isinstance(parent, ast.BinOp) or parent.left is not use or not isinstance(statement, ast.Assign):
            return None
        if statement not in kernel.body or not isinstance(statement.targets[0], ast.Name):
            return None
        parts[type(parent.op)] = statement
    outer, inner = parts.get(ast.FloorDiv), parts.get(ast.Mod)
    if outer is None or inner is None or len(uses) != 2:
        return None
    divided, remainder = outer.value, inner.value
    if (
        not isinstance(divided, ast.BinOp)
        or not isinstance(remainder, ast.BinOp)
        or not same(divided.right, remainder.right)
    ):
        return None
    names = [t.id for s in (outer, inner) for t in s.targets if isinstance(t, ast.Name)]
    if len(names) != 2 or _is_used_between(kernel, outer, inner, names):
        return None
    return Split(outer, inner, names[0], names[1], pid, _atom(kernel, divided.right))


def _atom(kernel: KernelCode, node: ast.expr) -> str:
    text = kernel.code.text(node)
    return text if isinstance(node, ast.Name | ast.Call) else f"({text})"


def _is_used_between(kernel: KernelCode, a: ast.stmt, b: ast.stmt, names: list[str]) -> bool:
    low, high = sorted((kernel.body.index(a), kernel.body.index(b)))
    between = kernel.body[low + 1 : high]
    return any(isinstance(n, ast.Name) and n.id in names for s in between for n in ast.walk(s))


def _two_axes(kernel: KernelCode) -> Split | None:
    """``a = tl.program_id(0)`` and ``b = tl.program_id(1)``, and no other program id."""
    ids = kernel.program_ids()
    if sorted((axis if axis is not None else -1) for _, axis in ids) != [0, 1]:
        return None
    if any(launch.grid is None or len(launch.grid) != 2 for launch in kernel.launches):
        return None
    holders = [kernel.code.parents[call] for call, _ in sorted(ids, key=lambda pair: pair[1] or 0)]
    names: list[str] = []
    for holder in holders:
        if not isinstance(holder, ast.Assign) or holder not in kernel.body or len(holder.targets) != 1:
            return None
        target = holder.targets[0]
        if not isinstance(target, ast.Name):
            return None
        names.append(target.id)
    first, second = holders
    if not isinstance(first, ast.Assign) or not isinstance(second, ast.Assign):
        return None
    if _is_used_between(kernel, first, second, names):
        return None
    return Split(first, second, names[0], names[1], "", "")


def _is_rectangle(kernel: KernelCode, launch: Launch, split: Split) -> bool:
    """The grid is ``A * B`` and the divisor in the kernel is one of the two, with the launch's arguments put in."""
    if launch.grid is None or int_literal(launch.grid[0]) is not None or len(launch.grid) != 1:
        return False
    element = launch.grid[0]
    if not isinstance(element, ast.BinOp) or not isinstance(element.op, ast.Mult):
        return False
    counted = _count_at_launch(kernel, launch, split)
    return counted is not None and any(_same_count(kernel, launch, counted, f) for f in (element.left, element.right))


def _count_at_launch(kernel: KernelCode, launch: Launch, split: Split) -> ast.expr | None:
    """The divisor as the host would write it; None where it is more than arithmetic on the kernel's parameters."""
    states: list[ast.expr] = []

    def visit(statement: ast.stmt, state: State) -> None:
        if statement is split.first and isinstance(split.first.value, ast.BinOp):
            states.append(state.resolve(split.first.value.right))

    Walk(kernel, visit)
    if len(states) != 1:
        return None
    arguments = launch.arguments or {}
    return State(dict(arguments)).resolve(states[0])


def _same_count(kernel: KernelCode, launch: Launch, count: ast.expr, factor: ast.expr) -> bool:
    """Equal, with ``triton.cdiv`` and ``tl.cdiv`` taken for one and META["X"] for what the launch passes as X."""
    if kernel.aliases.is_cdiv(count) and kernel.aliases.is_cdiv(factor):
        if not isinstance(count, ast.Call) or not isinstance(factor, ast.Call):
            return False
        return all(_same_count(kernel, launch, a, b) for a, b in zip(count.args, factor.args, strict=True))
    if isinstance(factor, ast.Subscript) and launch.meta and dotted(factor.value) == launch.meta:
        key = factor.slice.value if isinstance(factor.slice, ast.Constant) else None
        passed = (launch.arguments or {}).get(str(key))
        return passed is not None and same(passed, count)
    return same(count, factor)


RULE = Rule("l2-program-order", tuple({"group": g} for g in ("8", "4", "16")), rewrite, __doc__)
