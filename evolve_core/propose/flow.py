"""Symbolic values of a kernel's names, statement by statement: what an index expression is made of.

A name's value is the expression assigned to it, with the names inside replaced by their values in turn.
What memory, a reduction or an unknown function returned stays a symbol of its own (a name with ``#`` in it,
which no source can spell).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.syntax import assigned_names

TRANSPARENT = frozenset(
    (
        *("arange", "program_id", "num_programs", "full", "zeros"),
        *("cdiv", "minimum", "maximum", "multiple_of", "max_contiguous"),
    )
)
MAX_NODES = 300


@dataclass(frozen=True)
class Loop:
    """A ``for`` over a range. ``symbol`` is the loop variable's value inside; the bounds are resolved."""

    node: ast.For
    symbol: str
    start: ast.expr
    stop: ast.expr
    step: ast.expr


@dataclass
class State:
    """What is known in front of a statement."""

    env: dict[str, ast.expr] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()

    def resolve(self, node: ast.expr) -> ast.expr:
        """The expression with every known name replaced by its value. The original is untouched."""
        resolved = _Substitute(self.env).visit(copy.deepcopy(node))
        if not isinstance(resolved, ast.expr):
            raise AssertionError("substituting names keeps an expression an expression")
        return resolved


class _Substitute(ast.NodeTransformer):
    def __init__(self, env: dict[str, ast.expr]) -> None:
        self._env = env

    def visit_Name(self, node: ast.Name) -> ast.expr:  # the name is ast's
        value = self._env.get(node.id)
        return copy.deepcopy(value) if value is not None and isinstance(node.ctx, ast.Load) else node


Visit = Callable[[ast.stmt, State], None]


class Walk:
    """Calls ``visit`` for every statement of the body, in order, with the state in front of it.

    Bodies of branches are walked each from the same state; a name that they leave different becomes a new symbol.
    """

    def __init__(self, kernel: KernelCode, visit: Visit) -> None:
        self._kernel = kernel
        self._visit = visit
        self._count = 0
        self._block(kernel.body, State())

    def _block(self, body: list[ast.stmt], state: State) -> None:
        for statement in body:
            self._visit(statement, state)
            self._statement(statement, state)

    def _statement(self, node: ast.stmt, state: State) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self._bind(node.targets[0].id, node.value, state)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            self._bind(node.target.id, node.value, state)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            left = ast.Name(node.target.id, ast.Load())
            self._bind(node.target.id, ast.BinOp(left, node.op, node.value), state)
        elif isinstance(node, ast.For):
            self._loop(node, state)
        elif isinstance(node, ast.If):
            self._branches(node, state)
        else:
            self._forget(assigned_names(node), state)

    def _bind(self, name: str, value: ast.expr, state: State) -> None:
        resolved = state.resolve(value)
        size = sum(1 for _ in ast.walk(resolved))
        state.env[name] = self._symbol(name) if size > MAX_NODES or self._is_opaque(resolved) else resolved

    def _is_opaque(self, node: ast.expr) -> bool:
        for child in ast.walk(node):
            if isinstance(child, ast.Call):
                name = self._kernel.aliases.call(child)
                is_cast = isinstance(child.func, ast.Attribute) and child.func.attr == "to"
                if not is_cast and name not in TRANSPARENT:
                    return True
        return False

    def _symbol(self, name: str) -> ast.Name:
        self._count += 1
        return ast.Name(f"{name}#{self._count}", ast.Load())

    def _forget(self, names: frozenset[str], state: State) -> None:
        for name in sorted(names):
            state.env[name] = self._symbol(name)

    def _loop(self, node: ast.For, state: State) -> None:
        bounds = range_bounds(self._kernel, node)
        resolved = tuple(state.resolve(b) for b in bounds) if bounds else None
        self._forget(assigned_names(node), state)
        inside = State(dict(state.env), state.loops)
        if isinstance(node.target, ast.Name) and resolved is not None:
            symbol = inside.env[node.target.id]
            if isinstance(symbol, ast.Name):
                inside.loops = (*state.loops, Loop(node, symbol.id, *resolved))
        self._block(node.body, inside)
        self._forget(assigned_names(node), state)

    def _branches(self, node: ast.If, state: State) -> None:
        then, other = State(dict(state.env), state.loops), State(dict(state.env), state.loops)
        self._block(node.body, then)
        self._block(node.orelse, other)
        for name in sorted(assigned_names(node)):
            a, b = then.env.get(name), other.env.get(name)
            agree = a is not None and b is not None and ast.dump(a) == ast.dump(b)
            state.env[name] = a if agree and a is not None else self._symbol(name)


def range_bounds(kernel: KernelCode, node: ast.For) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """(start, stop, step) of ``for … in range(…)`` or ``tl.range``/``tl.static_range``; None for any other loop."""
    call = node.iter
    if not isinstance(call, ast.Call) or node.orelse:
        return None
    plain = isinstance(call.func, ast.Name) and call.func.id == "range"
    if not plain and kernel.aliases.call(call) not in ("range", "static_range"):
        return None
    if not 1 <= len(call.args) <= 3 or any(isinstance(a, ast.Starred) for a in call.args):
        return None
    if any(k.arg in (None, "arg1", "arg2", "step") for k in call.keywords):
        return None
    zero, one = ast.Constant(0), ast.Constant(1)
    start = call.args[0] if len(call.args) > 1 else zero
    stop = call.args[1] if len(call.args) > 1 else call.args[0]
    return start, stop, call.args[2] if len(call.args) > 2 else one


def index_terms(kernel: KernelCode, node: ast.expr) -> list[ast.expr]:
    """The terms of a sum, without what changes no value: added axes, casts to integers, alignment hints."""
    while True:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [*index_terms(kernel, node.left), *index_terms(kernel, node.right)]
        if isinstance(node, ast.Subscript) and _adds_axes(node.slice):
            node = node.value
        elif isinstance(node, ast.Call) and kernel.aliases.call(node) in ("multiple_of", "max_contiguous"):
            node = node.args[0]
        elif _is_wide_cast(kernel, node):
            node = node.func.value  # type: ignore[attr-defined]
        else:
            return [] if isinstance(node, ast.Constant) and node.value == 0 else [node]


def _adds_axes(node: ast.expr) -> bool:
    elements = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(e, ast.Slice) or (isinstance(e, ast.Constant) and e.value is None) for e in elements)


def _is_wide_cast(kernel: KernelCode, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "to":
        return False
    kind = node.args[0] if len(node.args) == 1 else None
    return isinstance(kind, ast.Attribute) and kind.attr in ("int32", "int64")


def product(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The two factors of ``a * b``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return node.left, node.right
    return None


def arange_edge(kernel: KernelCode, node: ast.expr) -> str:
    """NAME for ``tl.arange(0, NAME)``, "" for anything else."""
    if not isinstance(node, ast.Call) or kernel.aliases.call(node) != "arange":
        return ""
    start, end = argument(node, 0, "start"), argument(node, 1, "end")
    is_zero = isinstance(start, ast.Constant) and start.value == 0
    return end.id if is_zero and isinstance(end, ast.Name) else ""
