"""How MLIR prints the types of operations: a rule for each way of leaving some of them out.

The rules are those of TritonOps.td and of MLIR's arith, math, cf and scf dialects. A rule raises ValueError or
IndexError where the types listed cannot be the operation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .ir import I1, I32, I64, Descriptor, Pointer, Scalar, Type, element_of, like, pointee_of, shape_of


@dataclass(frozen=True, slots=True)
class Listed:
    """Types before the arrow (or ``to``, or alone) and after it; how many operands and results there are."""

    before: tuple[Type, ...]
    after: tuple[Type, ...]
    operands: int
    results: int

    def one(self) -> Type:
        return self.before[0]


Types = tuple[tuple[Type, ...], tuple[Type, ...]]
"""Of the operands, and of the results."""
Rule = Callable[[Listed], Types]


def same_rule(listed: Listed) -> Types:
    """``: T`` for all operands and results."""
    return (listed.one(),) * listed.operands, (listed.one(),) * listed.results


def compare_rule(listed: Listed) -> Types:
    """``: T`` for both operands; the result is i1 of that shape."""
    return (listed.one(), listed.one()), (like(listed.one(), I1),)


def select_rule(listed: Listed) -> Types:
    """``: C, T``, or ``: T`` where the condition is one i1."""
    condition, value = listed.before if len(listed.before) == 2 else (I1, listed.one())
    _require(condition in (I1, like(value, I1)))
    return (condition, value, value), (value,)


def convert_rule(listed: Listed) -> Types:
    """``: A -> B`` or ``: A to B``."""
    return (listed.one(),) * listed.operands, listed.after * listed.results


def listed_rule(listed: Listed) -> Types:
    """All types, in order."""
    return listed.before, listed.after


def result_only_rule(listed: Listed) -> Types:
    """``: T`` of the result; there are no operands."""
    return (), (listed.one(),)


def first_rule(listed: Listed) -> Types:
    """All operands; the result is of the first's type."""
    return listed.before, (listed.one(),)


def add_pointer_rule(listed: Listed) -> Types:
    """``: P, O``: a pointer and an integer of its shape."""
    pointer, offset = listed.before
    _require(isinstance(element_of(pointer), Pointer) and shape_of(pointer) == shape_of(offset))
    return listed.before, (pointer,)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError


def atomic_rule(listed: Listed) -> Types:
    """A pointer, one value or two, maybe a mask, and the old value."""
    pointer, value = listed.before[:2]
    _require(pointee_of(pointer) == value and listed.after == (value,))
    _require(all(kind in (value, like(value, I1)) for kind in listed.before[2:]))
    return listed.before, listed.after


def predicate_rule(listed: Listed) -> Types:
    """``: T`` of the operand; the result is i1 of that shape."""
    return (listed.one(),), (like(listed.one(), I1),)


def dot_rule(listed: Listed) -> Types:
    """``: A * B -> C``; what is added is of the result's type."""
    return listed.before + listed.after, listed.after


def _loaded(listed: Listed) -> Type:
    pointee = pointee_of(listed.one())
    if pointee is None:
        raise ValueError
    return pointee


def load_rule(listed: Listed) -> Types:
    """``: P``: mask and other follow from it."""
    pointee = _loaded(listed)
    return (listed.one(), like(pointee, I1), pointee)[: listed.operands], (pointee,)


def store_rule(listed: Listed) -> Types:
    """``: P``: value and mask follow from it."""
    pointee = _loaded(listed)
    return (listed.one(), pointee, like(pointee, I1))[: listed.operands], ()


def unsplat_rule(listed: Listed) -> Types:
    """``: T`` of the tensor."""
    element = element_of(listed.one())
    return (listed.one(),), (element,)


def assertion_rule(listed: Listed) -> Types:
    """``: T`` of the condition."""
    return (listed.one(),), ()


def condition_rule(listed: Listed) -> Types:
    """Types of what is handed on; the condition's is left out."""
    return (I1, *listed.before), ()


def carry_rule(listed: Listed) -> Types:
    """``addui_extended``: the sum, and the carry as i1."""
    carry = listed.before[1] if len(listed.before) == 2 else like(listed.one(), I1)
    return (listed.one(),) * 2, (listed.one(), carry)


def make_descriptor_rule(listed: Listed) -> Types:
    base, made = listed.before
    rank = len(made.block.shape) if isinstance(made, Descriptor) else 0
    return (base, *((I32,) * rank), *((I64,) * rank)), (made,)


def _block_pointer(kind: Type) -> Type:
    """``<tensor<…>>`` reads as a descriptor; in the operations on block pointers it is one of those."""
    return Pointer(kind.block) if isinstance(kind, Descriptor) else kind


def make_block_pointer_rule(listed: Listed) -> Types:
    made = _block_pointer(listed.one())
    block = made.pointee if isinstance(made, Pointer) else None
    rank = len(getattr(block, "shape", ()))
    element = element_of(block) if block is not None else None
    if not isinstance(element, Scalar | Pointer):
        raise ValueError
    return (Pointer(element), *((I64,) * (2 * rank)), *((I32,) * rank)), (made,)


def move_rule(listed: Listed) -> Types:
    moved = _block_pointer(listed.one())
    return (moved, *((I32,) * (listed.operands - 1))), (moved,)


def descriptor_load_rule(listed: Listed) -> Types:
    return (listed.one(), *((I32,) * (listed.operands - 1))), listed.after


def descriptor_store_rule(listed: Listed) -> Types:
    descriptor, source = listed.before
    return (descriptor, *((I32,) * (listed.operands - 2)), source), ()


def histogram_rule(listed: Listed) -> Types:
    return (listed.one(), like(listed.one(), I1))[: listed.operands], listed.after
