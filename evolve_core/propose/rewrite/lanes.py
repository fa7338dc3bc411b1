"""What lanes beyond the end of a row can do to a loop's results: nothing, or the block size would matter.

A kernel may rely on rows that are a multiple of its block (`sum(exp(x))` with masked lanes loaded as 0 adds
exp(0) for each of them). Such a loop gives another result with another block; this finds out, and anything
unclear counts as such.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.rewrite.shapes import REDUCED
from evolve_core.propose.syntax import assigned_names

KEEPS_ZERO = frozenset({"abs", "sqrt", "sin", "erf", "floor", "ceil"})


class Fill(StrEnum):
    """What a value holds in the lanes beyond the row's end."""

    NONE = "no such lanes"
    ZERO = "zero"
    MINUS_INFINITY = "minus infinity"
    UNKNOWN = "unknown"


class LaneError(Exception):
    """A lane beyond the row's end may reach a result. Never leaves the rule that asked."""


@dataclass
class Lanes:
    """Checks one loop's body. ``is_bound`` recognises the comparison that tells a row's lanes from those beyond."""

    kernel: KernelCode
    is_bound: Callable[[ast.expr], bool]

    def check(self, loop: ast.For) -> str:
        """Why the loop's results may depend on lanes beyond the row's end; "" where they do not."""
        carried = carried_names(loop)
        fills = dict.fromkeys(carried, Fill.NONE)
        try:
            for statement in loop.body:
                self._statement(statement, fills, carried)
        except LaneError as found:
            return str(found)
        return ""

    def _statement(self, node: ast.stmt, fills: dict[str, Fill], carried: frozenset[str]) -> None:
        match node:
            case ast.Expr(value=ast.Call() as call) if self.kernel.aliases.call(call) == "store":
                for value in [*call.args, *(k.value for k in call.keywords)]:
                    self._fill(value, fills)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                added = self._fill(value, fills)
                if name in carried and not (isinstance(op, ast.Add) and added in (Fill.NONE, Fill.ZERO)):
                    raise LaneError(f"line {node.lineno}: {name} may take in lanes beyond the row's end")
                if name not in carried:
                    fills[name] = Fill.UNKNOWN
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                fill = self._update(name, value, fills) if name in carried else self._fill(value, fills)
                if name in carried and fill is not Fill.NONE:
                    raise LaneError(f"line {node.lineno}: {name} may take in lanes beyond the row's end")
                fills[name] = fill
            case _:
                raise LaneError(f"line {node.lineno}: a statement other than an assignment or a store")

    def _update(self, name: str, value: ast.expr, fills: dict[str, Fill]) -> Fill:
        """``acc = acc + lanes of zero`` and ``acc = maximum(acc, lanes of minus infinity)`` change nothing either."""
        parts: list[ast.expr] = []
        neutral = Fill.ZERO
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            parts = [value.left, value.right]
        elif isinstance(value, ast.Call) and self.kernel.aliases.call(value) == "maximum":
            parts, neutral = value.args, Fill.MINUS_INFINITY
        found = [self._fill(p, fills) for p in parts if not (isinstance(p, ast.Name) and p.id == name)]
        if len(parts) == 2 and len(found) == 1 and found[0] is neutral:
            return Fill.NONE
        return self._fill(value, fills)

    def _fill(self, node: ast.expr, fills: dict[str, Fill]) -> Fill:
        match node:
            case ast.Name(id=name):
                return fills.get(name, Fill.NONE)
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(op, self._fill(left, fills), self._fill(right, fills))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                fill = self._fill(operand, fills)
                return Fill.UNKNOWN if fill is Fill.MINUS_INFINITY else fill
            case ast.Call():
                return self._call(node, fills)
            case _:
                parts = [self._fill(c, fills) for c in ast.iter_child_nodes(node) if isinstance(c, ast.expr)]
                return Fill.NONE if all(p is Fill.NONE for p in parts) else Fill.UNKNOWN

    def _call(self, node: ast.Call, fills: dict[str, Fill]) -> Fill:
        name = self.kernel.aliases.call(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "to" and not name:
            return self._fill(node.func.value, fills)
        if name == "arange":
            return Fill.UNKNOWN
        values = [self._fill(v, fills) for v in [*node.args, *(k.value for k in node.keywords)]]
        if name == "load":
            other = argument(node, 2, "other")
            return Fill.NONE if all(v is Fill.NONE for v in values) else _constant_fill(other)
        if name in REDUCED:
            return self._reduced(node, name, values)
        if name == "where" and len(node.args) == 3 and self.is_bound(node.args[0]):
            fill = _constant_fill(node.args[2])
            return fill if fill is not Fill.UNKNOWN else values[2] if values[2] is not Fill.NONE else Fill.UNKNOWN
        if name in ("exp", "exp2") and values == [Fill.MINUS_INFINITY]:
            return Fill.ZERO
        if name in KEEPS_ZERO and values == [Fill.ZERO]:
            return Fill.ZERO
        return Fill.NONE if all(v is Fill.NONE for v in values) else Fill.UNKNOWN

    def _reduced(self, node: ast.Call, name: str, values: list[Fill]) -> Fill:
        neutral = {"sum": Fill.ZERO, "xor_sum": Fill.ZERO, "max": Fill.MINUS_INFINITY}.get(name)
        if values[0] not in (Fill.NONE, neutral):
            raise LaneError(f"line {node.lineno}: a reduction takes in lanes beyond the row's end ({values[0]})")
        return Fill.NONE


def _combined(op: ast.operator, left: Fill, right: Fill) -> Fill:
    if left is right and left in (Fill.NONE, Fill.ZERO):
        return Fill.UNKNOWN if left is Fill.ZERO and not isinstance(op, ast.Add | ast.Sub | ast.Mult) else left
    if isinstance(op, ast.Mult) and Fill.ZERO in (left, right):
        return Fill.ZERO if Fill.NONE in (left, right) else Fill.UNKNOWN
    if isinstance(op, ast.Div) and left is Fill.ZERO and right is Fill.NONE:
        return Fill.ZERO
    if isinstance(op, ast.Add | ast.Sub) and left is Fill.MINUS_INFINITY and right is Fill.NONE:
        return Fill.MINUS_INFINITY
    return Fill.UNKNOWN


def _constant_fill(node: ast.expr | None) -> Fill:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == 0:
        return Fill.ZERO
    if node is not None and ast.unparse(node) in ("-float('inf')", "float('-inf')"):
        return Fill.MINUS_INFINITY
    return Fill.UNKNOWN


def carried_names(loop: ast.For) -> frozenset[str]:
    """Names that one iteration hands to the next: read before they are assigned, or augmented."""
    assigned: set[str] = set()
    carried: set[str] = set()
    for statement in loop.body:
        reads = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            reads.add(statement.target.id)
        carried |= reads - assigned
        assigned |= assigned_names(statement)
    return frozenset(carried & assigned)


def leaked_names(body: list[ast.stmt], loop: ast.For) -> frozenset[str]:
    """Names of the loop's last iteration that later statements read before they assign them again."""
    local = set(assigned_names(loop)) - carried_names(loop)
    leaked: set[str] = set()
    for statement in body[body.index(loop) + 1 :]:
        parts = [statement, *statement.body] if isinstance(statement, ast.For) else [statement]
        for part in parts:
            looked_at: ast.AST = part.iter if isinstance(part, ast.For) else part
            reads = {n.id for n in ast.walk(looked_at) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            leaked |= reads & local
            local -= assigned_names(part.target) if isinstance(part, ast.For) else assigned_names(part)
    return frozenset(leaked)
