"""What a kernel's constexprs are for, and what kind of kernel it is: read off its text, never off a name."""

from __future__ import annotations

import ast
import functools
from enum import StrEnum

from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.syntax import assigned_names, int_literal, names_in

REDUCTIONS = ("sum", "max", "min", "reduce", "argmax", "argmin", "xor_sum")


class KernelKind(StrEnum):
    DOT = "dot"
    ROW = "row"
    ELEMENTWISE = "elementwise"


class Role(StrEnum):
    TILE = "tile"
    """A tile's edge that the program id strides by: changing it changes the grid."""
    LOOP_TILE = "loop tile"
    """A tile's edge that a loop inside the kernel strides by."""
    ROWS = "rows"
    """Rows per program of a two-dimensional tile whose other edge is a whole row or a loop's chunk."""
    GROUP = "group"
    """Programs per group of a grouped order: changes the order of programs and nothing else."""
    FIXED = "fixed"
    """Anything else: part of what the kernel means."""


def kernel_kind(kernel: KernelCode) -> KernelKind:
    if kernel.tl_calls("dot", "dot_scaled"):
        return KernelKind.DOT
    return KernelKind.ROW if kernel.tl_calls(*REDUCTIONS) else KernelKind.ELEMENTWISE


def has_loading_loop(kernel: KernelCode) -> bool:
    """Whether a loop loads from memory: without one, the number of pipeline stages changes nothing."""
    loops = [n for s in kernel.body for n in ast.walk(s) if isinstance(n, ast.For | ast.While)]
    return any(kernel.aliases.call(n) == "load" for loop in loops for n in ast.walk(loop))


def derived_names(kernel: KernelCode, is_root: frozenset[str] | None, roots: list[ast.Call]) -> frozenset[str]:
    """Names whose value follows from ``roots`` (calls) or from the names in ``is_root`` by index arithmetic."""
    names = set(is_root or ())
    wanted = {id(call) for call in roots}
    while True:
        before = len(names)
        for node in (n for s in kernel.body for n in ast.walk(s)):
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or node.value is None:
                continue
            if reads_memory(kernel, node.value):
                continue
            inside = names_in(node.value) & names or any(id(n) in wanted for n in ast.walk(node.value))
            if inside:
                names |= assigned_names(node)
        if len(names) == before:
            return frozenset(names)


def reads_memory(kernel: KernelCode, node: ast.AST) -> bool:
    """Whether a load, a product or a reduction is inside: then the value is data and no index."""
    return any(kernel.aliases.call(n) in ("load", "dot", *REDUCTIONS) for n in ast.walk(node))


def loop_names(kernel: KernelCode) -> frozenset[str]:
    loops = (n for s in kernel.body for n in ast.walk(s) if isinstance(n, ast.For))
    return frozenset(name for loop in loops for name in assigned_names(loop.target))


def role(kernel: KernelCode, name: str) -> Role:
    """The role of the constexpr ``name``."""
    aranges = [c for c in kernel.tl_calls("arange") if _is_name(argument(c, 1, "end"), name)]
    by_program, by_loop = _strides(kernel, name)
    if aranges and by_program:
        return Role.ROWS if _is_row_edge(kernel, aranges) else Role.TILE
    if aranges and by_loop:
        return Role.LOOP_TILE
    if not aranges and _orders_programs(kernel, name):
        return Role.GROUP
    return Role.FIXED


def _is_name(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@functools.lru_cache(maxsize=64)
def _program_names(kernel: KernelCode) -> frozenset[str]:
    return derived_names(kernel, None, [call for call, _ in kernel.program_ids()])


def _strides(kernel: KernelCode, name: str) -> tuple[bool, bool]:
    """Whether the program id, and whether a loop, strides by ``name``."""
    programs, loops = _program_names(kernel), loop_names(kernel)
    by_program = by_loop = False
    for node in (n for s in kernel.body for n in ast.walk(s)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if _is_name(one, name):
                    held = names_in(other)
                    has_call = any(kernel.aliases.call(n) == "program_id" for n in ast.walk(other))
                    by_program = by_program or bool(held & programs) or has_call
                    by_loop = by_loop or bool(held & loops)
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Call) and _is_range(kernel, node.iter):
            by_loop = by_loop or name in {n for a in node.iter.args for n in names_in(a)}
    return by_program, by_loop


def _is_range(kernel: KernelCode, call: ast.Call) -> bool:
    plain = isinstance(call.func, ast.Name) and call.func.id == "range"
    return plain or kernel.aliases.call(call) == "range"


def _is_row_edge(kernel: KernelCode, aranges: list[ast.Call]) -> bool:
    """``tl.arange(0, R)[:, None]`` outside a matrix product, beside another tile edge."""
    if kernel.tl_calls("dot", "dot_scaled") or len(kernel.tl_calls("arange")) == len(aranges):
        return False
    return all(_is_column(kernel.code.parents.get(call)) for call in aranges)


def _is_column(node: ast.AST | None) -> bool:
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return False
    last = node.slice.elts[-1]
    return len(node.slice.elts) == 2 and isinstance(last, ast.Constant) and last.value is None


def _orders_programs(kernel: KernelCode, name: str) -> bool:
    """Used in ``min(…, NAME)`` beside program arithmetic, or as the group of ``tl.swizzle2d``; in no shape."""
    uses = [n for s in kernel.body for n in ast.walk(s) if _is_name(n, name)]
    if any(isinstance(kernel.code.parents.get(n), ast.List | ast.Tuple | ast.keyword) for n in uses):
        return False
    for use in uses:
        parent = kernel.code.parents.get(use)
        if not isinstance(parent, ast.Call):
            continue
        called = kernel.aliases.call(parent)
        is_min = called == "minimum" or (isinstance(parent.func, ast.Name) and parent.func.id == "min")
        if is_min or (called == "swizzle2d" and len(parent.args) == 5 and parent.args[4] is use):
            return True
    return False


def bounds_of(kernel: KernelCode, name: str) -> frozenset[str]:
    """Kernel parameters that bound an index made of ``tl.arange(0, name)``, or that ``tl.cdiv`` divides by ``name``."""
    parameters = frozenset(kernel.parameters)
    aranges = [c for c in kernel.tl_calls("arange") if _is_name(argument(c, 1, "end"), name)]
    indices = derived_names(kernel, None, aranges)
    found: set[str] = set()
    for node in (n for s in kernel.body for n in ast.walk(s)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = names_in(node.left), names_in(node.comparators[0])
            direct = any(n in aranges for n in ast.walk(node.left))
            if left & indices or direct:
                found |= right & parameters
        elif isinstance(node, ast.Call) and kernel.aliases.is_cdiv(node) and _is_name(node.args[1], name):
            found |= names_in(node.args[0]) & parameters
    return frozenset(found)


def pipelined_loops(kernel: KernelCode) -> list[ast.Constant]:
    """The literals in ``tl.range(…, num_stages=LITERAL)``."""
    values = [argument(c, None, "num_stages") for c in kernel.tl_calls("range")]
    return [v for v in values if isinstance(v, ast.Constant) and int_literal(v) is not None]
