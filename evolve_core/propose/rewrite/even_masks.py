"""No masks where every size is a multiple of its tile.

*What it does.* The host passes a constexpr that says whether each length is a positive multiple of its
tile's edge; where it is, loads and stores lose the mask (and the fill value), and comparisons of lengths
drop out of masks that hold more. Accesses then need no predicates and can be as wide as the addresses
allow. Every other shape runs the masked form.

*Why it computes the same.* A comparison `index < N` is dropped only if the index is `base + tl.arange(0,
B)` and the base is a multiple of B below N: zero, the variable of a loop over `range(0, N, B)`, `k * B` in
a loop over `range(cdiv(N, B))`, or `p * B` with p below `cdiv(N, B)`, because the grid is exactly that or
because p is a remainder by it. If N > 0 is a multiple of B, such an index is below N in every lane, so the
comparison is always true. The host evaluates the same expressions that it passes as N and B.

*When it refuses.* Masks with no such comparison, launches that do not show N or B or compute them by calls
that might differ the second time, autotuned kernels, kernels that assign to N or B.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from evolve_core.propose.edits import add_arguments, add_parameters, is_repeatable, why_not_launchable
from evolve_core.propose.flow import State, Walk
from evolve_core.propose.kernel_code import KernelCode, Launch, argument
from evolve_core.propose.rewrite.bounds import Bound, bound_of, conjuncts
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.syntax import Splice, assigned_names, splice


@dataclass(frozen=True)
class Access:
    """A load or store with its mask; ``kept`` is the text of the comparisons that stay, ``bounds`` what was proved."""

    node: ast.Call
    mask: ast.expr
    kept: tuple[str, ...]
    bounds: tuple[Bound, ...]


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``bounds``: ``all``, or ``loop`` for those alone whose index a loop inside the kernel moves."""
    why_not = why_not_launchable(kernel)
    if why_not:
        return Refusal(why_not)
    accesses = _accesses(kernel, only_loops=settings["bounds"] == "loop")
    bounds = sorted({(b.length, b.edge) for a in accesses for b in a.bounds})
    if not bounds:
        return Refusal("no mask compares a tile's index with its length in a way that a multiple makes always true")
    assigned = {name for s in kernel.body for name in assigned_names(s)}
    if assigned & {name for pair in bounds for name in pair}:
        return Refusal("the kernel assigns to a length or to a tile's edge")
    flag = kernel.fresh("EVEN")
    edits: list[Splice] = []
    for launch in kernel.launches:
        test = _test(kernel, launch, bounds)
        placed = add_arguments(kernel, launch, [(flag, test)]) if test else None
        if placed is None:
            return Refusal("a launch does not show a length or a tile's edge, or computes it by a call")
        edits.append(placed)
    added = add_parameters(kernel, [(f"{flag}: {kernel.aliases.language}.constexpr", "False")])
    if isinstance(added, str):
        return Refusal(added)
    edits += [*added, *(e for access in accesses for e in _edits(kernel, access, flag))]
    names = ", ".join(sorted({length for length, _ in bounds}))
    return Rewritten(splice(kernel.code, edits), f"no masks where {names} are multiples of the tile")


def _accesses(kernel: KernelCode, only_loops: bool) -> list[Access]:
    found: dict[int, Access] = {}

    def visit(statement: ast.stmt, state: State) -> None:
        if isinstance(statement, ast.For | ast.If | ast.While):
            return
        for node in ast.walk(statement):
            name = kernel.aliases.call(node)
            if name in ("load", "store") and isinstance(node, ast.Call):
                mask = argument(node, 2 if name == "store" else 1, "mask")
                access = _access(kernel, node, mask, state, only_loops) if mask is not None else None
                if access is not None:
                    found[id(node)] = access

    Walk(kernel, visit)
    return list(found.values())


def _access(kernel: KernelCode, node: ast.Call, mask: ast.expr, state: State, only_loops: bool) -> Access | None:
    parts = conjuncts(mask)
    if len(parts) == 1:
        whole = [bound_of(kernel, part, state) for part in conjuncts(state.resolve(mask))]
        proved = [b for b in whole if b is not None and (b.in_loop or not only_loops)]
        return Access(node, mask, (), tuple(proved)) if len(proved) == len(whole) else None
    proved, kept = [], []
    for part in parts:
        bound = bound_of(kernel, part, state)
        if bound is not None and (bound.in_loop or not only_loops):
            proved.append(bound)
        else:
            kept.append(f"({kernel.code.text(part)})")
    return Access(node, mask, tuple(kept), tuple(proved)) if proved else None


def _edits(kernel: KernelCode, access: Access, flag: str) -> list[Splice]:
    text = kernel.code.text(access.mask)
    text = text if isinstance(access.mask, ast.Name) else f"({text})"
    short = " & ".join(access.kept) or "None"
    edits = [kernel.code.replace(access.mask, _choice(kernel, access.mask, short, text, flag))]
    other = argument(access.node, 2, "other") if kernel.aliases.call(access.node) == "load" else None
    if other is not None and not access.kept:
        edits.append(kernel.code.replace(other, _choice(kernel, other, "None", kernel.code.text(other), flag)))
    return edits


def _choice(kernel: KernelCode, node: ast.expr, short: str, long: str, flag: str) -> str:
    text = f"{short} if {flag} else {long}"
    return text if isinstance(kernel.code.parents[node], ast.keyword | ast.Call) else f"({text})"


def _test(kernel: KernelCode, launch: Launch, bounds: list[tuple[str, str]]) -> str:
    """What the host passes, "" where the launch does not show it."""
    tests: list[str] = []
    for length, edge in bounds:
        passed = [(launch.arguments or {}).get(name) for name in (length, edge)]
        if any(p is None or not is_repeatable(kernel, p) for p in passed):
            return ""
        one, other = (kernel.code.text(p) for p in passed if p is not None)
        one, other = (t if t.isidentifier() or t.isdecimal() else f"({t})" for t in (one, other))
        tests.append(f"{one} > 0 and {one} % {other} == 0")
    return f"({' and '.join(tests)})"


RULE = Rule("drop-redundant-mask", ({"bounds": "all"}, {"bounds": "loop"}), rewrite, __doc__)
