"""When a mask is true in every lane: what a host would have to check so that a kernel needs no mask."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from evolve_core.propose.flow import Loop, State, arange_edge, index_terms, product
from evolve_core.propose.kernel_code import KernelCode, Launch, argument
from evolve_core.propose.syntax import dotted, int_literal, same


@dataclass(frozen=True)
class Bound:
    """``index < length`` holds in every lane if ``length`` > 0 is a multiple of ``edge``; both are kernel parameters.

    ``in_loop`` says that a loop inside the kernel moves the index.
    """

    length: str
    edge: str
    in_loop: bool


def conjuncts(mask: ast.expr) -> list[ast.expr]:
    if isinstance(mask, ast.BinOp) and isinstance(mask.op, ast.BitAnd):
        return [*conjuncts(mask.left), *conjuncts(mask.right)]
    return [mask]


def bound_of(kernel: KernelCode, condition: ast.expr, state: State) -> Bound | None:
    """The bound behind one comparison; None where nothing is known to make it true in every lane.

    Understood are ``index < N`` and ``index < N - offset`` with the index ``base + tl.arange(0, B)`` and the base 0, a
    loop over range(0, N, B), ``k * B`` in a loop over range(cdiv(N, B)), or ``p * B`` with p < cdiv(N, B) by the
    grid or by ``%``.
    """
    resolved = state.resolve(condition)
    if not isinstance(resolved, ast.Compare) or len(resolved.ops) != 1 or not isinstance(resolved.ops[0], ast.Lt):
        return None
    terms, length = index_terms(kernel, resolved.left), resolved.comparators[0]
    while isinstance(length, ast.BinOp) and isinstance(length.op, ast.Sub):
        terms, length = [*terms, *index_terms(kernel, length.right)], length.left
    edges = [edge for t in terms if (edge := arange_edge(kernel, t))]
    bases = [t for t in terms if not arange_edge(kernel, t)]
    is_runtime = isinstance(length, ast.Name) and length.id in kernel.parameters and length.id not in kernel.constexprs
    if not isinstance(length, ast.Name) or not is_runtime or len(edges) != 1 or len(bases) > 1:
        return None
    if not bases:
        return Bound(length.id, edges[0], False)
    loop = _loop_of(kernel, bases[0], state, length.id, edges[0])
    if loop or _is_program_base(kernel, bases[0], length, edges[0]):
        return Bound(length.id, edges[0], loop)
    return None


def _loop_of(kernel: KernelCode, base: ast.expr, state: State, length: str, edge: str) -> bool:
    for loop in state.loops:
        if int_literal(loop.start) != 0:
            continue
        if isinstance(base, ast.Name) and base.id == loop.symbol and _is_name(loop.step, edge):
            return _is_name(loop.stop, length)
        if _is_scaled(base, loop, edge) and int_literal(loop.step) == 1:
            return _is_count(kernel, loop.stop, length, edge)
    return False


def _is_scaled(base: ast.expr, loop: Loop, edge: str) -> bool:
    factors = product(base)
    return factors is not None and any(
        _is_name(a, loop.symbol) and _is_name(b, edge) for a, b in (factors, factors[::-1])
    )


def _is_program_base(kernel: KernelCode, base: ast.expr, length: ast.Name, edge: str) -> bool:
    factors = product(base)
    for program, scale in (factors, factors[::-1]) if factors else ():
        if not _is_name(scale, edge):
            continue
        if isinstance(program, ast.BinOp) and isinstance(program.op, ast.Mod):
            return _is_count(kernel, program.right, length.id, edge)
        if kernel.aliases.call(program) == "program_id" and isinstance(program, ast.Call):
            axis = int_literal(argument(program, 0, "axis"))
            return axis is not None and all(_grid_counts(kernel, x, axis, length.id, edge) for x in kernel.launches)
    return False


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_count(kernel: KernelCode, node: ast.expr, length: str, edge: str) -> bool:
    if not kernel.aliases.is_cdiv(node) or not isinstance(node, ast.Call):
        return False
    return _is_name(node.args[0], length) and _is_name(node.args[1], edge)


def _grid_counts(kernel: KernelCode, launch: Launch, axis: int, length: str, edge: str) -> bool:
    """Whether the grid's element is exactly ``cdiv`` of what the launch passes as length and edge."""
    arguments = launch.arguments or {}
    if launch.grid is None or axis >= len(launch.grid) or length not in arguments or edge not in arguments:
        return False
    element, edge_passed = launch.grid[axis], arguments[edge]
    if isinstance(element, ast.BinOp):
        return _rounds_up(element, arguments[length], edge_passed)
    if not kernel.aliases.is_cdiv(element) or not isinstance(element, ast.Call):
        return False
    counted, divisor = element.args
    return same(counted, arguments[length]) and (same(divisor, edge_passed) or is_meta(launch, divisor, edge))


def _rounds_up(element: ast.BinOp, length: ast.expr, edge: ast.expr) -> bool:
    """``(n + B - 1) // B``, or ``(n + 255) // 256``."""
    if not isinstance(element.op, ast.FloorDiv) or not same(element.right, edge):
        return False
    whole = ast.BinOp(ast.BinOp(length, ast.Add(), edge), ast.Sub(), ast.Constant(1))
    value = int_literal(edge)
    less = ast.BinOp(length, ast.Add(), ast.Constant(value - 1)) if value is not None else whole
    return same(element.left, whole) or same(element.left, less)


def is_meta(launch: Launch, node: ast.expr, name: str) -> bool:
    """``META["NAME"]`` in a lambda grid."""
    if not isinstance(node, ast.Subscript) or not launch.meta or dotted(node.value) != launch.meta:
        return False
    return isinstance(node.slice, ast.Constant) and node.slice.value == name
