"""The types of an operation's operands and results, out of the types that its text lists.

MLIR prints no more types than an operation's definition needs: ``arith.addi %a, %b : T`` means three of ``T``. The
rules are those of TritonOps.td and of MLIR's arith, math, cf and scf dialects. What the text claims is compared with
how the operands were defined, so an operation that gets this far is well typed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import BadIr, Unsupported
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


def _same(listed: Listed) -> Types:
    return (listed.one(),) * listed.operands, (listed.one(),) * listed.results


def _compare(listed: Listed) -> Types:
    return (listed.one(), listed.one()), (like(listed.one(), I1),)


def _select(listed: Listed) -> Types:
    condition, value = listed.before if len(listed.before) == 2 else (I1, listed.one())
    _require(condition in (I1, like(value, I1)))
    return (condition, value, value), (value,)


def _convert(listed: Listed) -> Types:
    return (listed.one(),) * listed.operands, listed.after * listed.results


def _listed(listed: Listed) -> Types:
    return listed.before, listed.after


def _result_only(listed: Listed) -> Types:
    return (), (listed.one(),)


def _first(listed: Listed) -> Types:
    return listed.before, (listed.one(),)


def _add_pointer(listed: Listed) -> Types:
    pointer, offset = listed.before
    _require(isinstance(element_of(pointer), Pointer) and shape_of(pointer) == shape_of(offset))
    return listed.before, (pointer,)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError


def _atomic(listed: Listed) -> Types:
    """A pointer, one value or two, maybe a mask, and the old value."""
    pointer, value = listed.before[:2]
    _require(pointee_of(pointer) == value and listed.after == (value,))
    _require(all(kind in (value, like(value, I1)) for kind in listed.before[2:]))
    return listed.before, listed.after


def _predicate(listed: Listed) -> Types:
    return (listed.one(),), (like(listed.one(), I1),)


def _dot(listed: Listed) -> Types:
    return listed.before + listed.after, listed.after


def _pointee(listed: Listed) -> Type:
    pointee = pointee_of(listed.one())
    if pointee is None:
        raise ValueError
    return pointee


def _load(listed: Listed) -> Types:
    pointee = _pointee(listed)
    return (listed.one(), like(pointee, I1), pointee)[: listed.operands], (pointee,)


def _store(listed: Listed) -> Types:
    pointee = _pointee(listed)
    return (listed.one(), pointee, like(pointee, I1))[: listed.operands], ()


def _unsplat(listed: Listed) -> Types:
    element = element_of(listed.one())
    return (listed.one(),), (element,)


def _assertion(listed: Listed) -> Types:
    return (listed.one(),), ()


def _condition(listed: Listed) -> Types:
    return (I1, *listed.before), ()


def _carry(listed: Listed) -> Types:
    """``addui_extended``: the sum, and the carry as i1."""
    carry = listed.before[1] if len(listed.before) == 2 else like(listed.one(), I1)
    return (listed.one(),) * 2, (listed.one(), carry)


def _make_descriptor(listed: Listed) -> Types:
    base, made = listed.before
    rank = len(made.block.shape) if isinstance(made, Descriptor) else 0
    return (base, *((I32,) * rank), *((I64,) * rank)), (made,)


def _make_block_pointer(listed: Listed) -> Types:
    made = listed.one()
    block = made.pointee if isinstance(made, Pointer) else None
    rank = len(getattr(block, "shape", ()))
    element = element_of(block) if block is not None else None
    if not isinstance(element, Scalar | Pointer):
        raise ValueError
    return (Pointer(element), *((I64,) * (2 * rank)), *((I32,) * rank)), (made,)


def _move(listed: Listed) -> Types:
    return (listed.one(), *((I32,) * (listed.operands - 1))), (listed.one(),)


def _descriptor_load(listed: Listed) -> Types:
    return (listed.one(), *((I32,) * (listed.operands - 1))), listed.after


def _descriptor_store(listed: Listed) -> Types:
    descriptor, source = listed.before
    return (descriptor, *((I32,) * (listed.operands - 2)), source), ()


_RULES: dict[str, Rule] = {
    "arith.cmpi": _compare,
    "arith.cmpf": _compare,
    "arith.select": _select,
    "arith.addui_extended": _carry,
    "tt.addptr": _add_pointer,
    "tt.atomic_rmw": _atomic,
    "tt.atomic_cas": _atomic,
    "tt.dot": _dot,
    "math.fpowi": _first,
    "math.isnan": _predicate,
    "math.isinf": _predicate,
    "math.isfinite": _predicate,
    "tt.load": _load,
    "tt.store": _store,
    "tt.atomic_store": _store,
    "scf.condition": _condition,
    "tt.unsplat": _unsplat,
    "tt.assert": _assertion,
    "tt.make_range": _result_only,
    "tt.get_program_id": _result_only,
    "tt.get_num_programs": _result_only,
    "tt.make_tensor_descriptor": _make_descriptor,
    "tt.descriptor_load": _descriptor_load,
    "tt.descriptor_store": _descriptor_store,
    "tt.descriptor_reduce": _descriptor_store,
    "tt.make_tensor_ptr": _make_block_pointer,
    "tt.advance": _move,
    "ub.poison": _result_only,
}
_CONVERSIONS = frozenset(
    (
        "arith.extf",
        "arith.truncf",
        "arith.extsi",
        "arith.extui",
        "arith.trunci",
        "arith.sitofp",
        "arith.uitofp",
        "arith.fptosi",
        "arith.fptoui",
        "arith.bitcast",
        "arith.index_cast",
        "arith.index_castui",
        "tt.bitcast",
        "tt.fp_to_fp",
        "tt.int_to_ptr",
        "tt.ptr_to_int",
        "tt.splat",
        "tt.broadcast",
        "tt.expand_dims",
        "tt.reshape",
        "tt.trans",
        "tt.join",
        "tt.split",
        "tt.cat",
    )
)
_LISTED = frozenset(
    (
        "tt.call",
        "tt.reduce",
        "tt.scan",
        "tt.gather",
        "tt.return",
        "tt.reduce.return",
        "tt.scan.return",
        "scf.yield",
        "tt.print",
        "llvm.intr.assume",
        "tt.extern_elementwise",
        "tt.elementwise_inline_asm",
        "tt.descriptor_gather",
        "tt.descriptor_scatter",
        "ttg.barrier",
        "gpu.barrier",
        "tt.grid_dependency_wait",
        "tt.grid_dependency_launch_dependents",
    )
)
_RULES |= dict.fromkeys(_CONVERSIONS, _convert)
_RULES |= dict.fromkeys(_LISTED, _listed)


def _histogram(listed: Listed) -> Types:
    return (listed.one(), like(listed.one(), I1))[: listed.operands], listed.after


_RULES["tt.histogram"] = _histogram
_SAME = ("arith.", "math.", "tt.clampf", "tt.precise_", "tt.approx_divf", "tt.mulhiui")


_OPERANDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("arith.negf", "tt.precise_sqrt"), (1, 1)),
    **dict.fromkeys(("math.powf", "math.atan2", "math.copysign", "math.fpowi", "tt.join", "tt.cat"), (2, 2)),
    **dict.fromkeys(("math.fma", "tt.clampf", "arith.select", "tt.atomic_cas"), (3, 3)),
    "tt.load": (1, 3),
    "tt.store": (2, 3),
    "tt.atomic_rmw": (2, 3),
    "tt.histogram": (1, 2),
    "tt.gather": (2, 2),
    "tt.reduce": (1, 64),
    "tt.scan": (1, 64),
    "tt.advance": (1, 8),
    "tt.descriptor_load": (1, 8),
    "tt.descriptor_store": (2, 8),
    "tt.descriptor_reduce": (2, 8),
}
"""Fewest and most, where the types listed do not say it themselves."""


def _operands(name: str) -> tuple[int, int]:
    if name in _OPERANDS:
        return _OPERANDS[name]
    if name in _CONVERSIONS or name.startswith("math."):
        return 1, 1
    return (2, 2) if name.startswith(_SAME) else (0, 64)


def types_of(name: str, listed: Listed, line: int) -> Types:
    """Types of operands and results. Raises BadIr where the text's do not fit, Unsupported for an unknown operation."""
    rule = _RULES.get(name)
    if rule is None:
        if not name.startswith(_SAME):
            raise Unsupported(name, line=line)
        rule = _same
    try:
        operands, results = rule(listed)
    except (IndexError, ValueError):
        raise BadIr(f"the types of {name} do not fit it", line) from None
    fewest, most = _operands(name)
    if not fewest <= listed.operands <= most or len(operands) != listed.operands or len(results) != listed.results:
        raise BadIr(
            f"{name} has {listed.operands} operands and {listed.results} results, which its types do not fit", line
        )
    return operands, results
