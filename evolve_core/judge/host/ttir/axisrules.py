"""What Triton's compiler concludes about the result of an operation out of what it knows of the operands (axes.py).

The rules are those of Triton 3.6 to 3.9 (AxisInfo, lib/Analysis/AxisInfo.cpp); of an operation that is not among them
nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import gcd

from .axes import UNRESOLVED, Known, Numbers, each, joined, power_of_two_in
from .ir import Literal, Operation, shape_of
from .pointers import pointee_bytes

Rule = Callable[[Operation, Sequence[Known]], Known | None]


def concluded(operation: Operation, given: Sequence[Known]) -> Known | None:
    """What is known of the result of ``operation`` out of its operands; None where nothing is."""
    rule = _RULES.get(operation.name)
    return None if rule is None else rule(operation, given)


# -- arithmetic ------------------------------------------------------------------------------------------------------


def _product(one: int, other: int) -> int:
    return min(one * other, UNRESOLVED)


def _constant(number: int, *given: Known) -> Known:
    """``number`` wraps around at 64 bits, as the compiler's does."""
    number = (number + (1 << 63)) % (1 << 64) - (1 << 63)
    ones = (1,) * given[0].rank
    return Known(
        ones,
        (power_of_two_in(number),) * len(ones),
        each(lambda *alike: max(alike), *(one.alike for one in given)),
        number,
    )


def _both(left: Known, right: Known) -> tuple[int, int] | None:
    return None if left.constant is None or right.constant is None else (left.constant, right.constant)


def _is(known: Known, number: int) -> bool:
    return known.constant == number


def _alone(known: Known) -> Numbers:
    """What every element divides by: inside a run the first one's divisor says nothing of the others."""
    return each(lambda run, divisor: 1 if run > 1 else divisor, known.runs, known.divisor)


def _added(operation: Operation, given: Sequence[Known]) -> Known:
    left, right = given
    scale = pointee_bytes(operation.operand_types[0]) if operation.name == "tt.addptr" else 1
    if (both := _both(left, right)) is not None:
        return _constant(
            both[0] + both[1] * scale if operation.name != "arith.subi" else both[0] - both[1], left, right
        )
    forwards = each(gcd, left.runs, right.alike)
    runs = forwards if operation.name == "arith.subi" else each(max, forwards, each(gcd, left.alike, right.runs))
    divisor = each(lambda one, other: gcd(one, _product(other, scale)), left.divisor, right.divisor)
    return Known(runs, divisor, each(gcd, left.alike, right.alike))


def _multiplied(operation: Operation, given: Sequence[Known]) -> Known:
    left, right = given
    if (both := _both(left, right)) is not None:
        return _constant(both[0] * both[1], left, right)
    ones = (1,) * left.rank
    runs = left.runs if _is(right, 1) else right.runs if _is(left, 1) else ones
    mine = left.divisor if _is(right, 1) else _alone(left)
    theirs = right.divisor if _is(left, 1) else _alone(right)
    return Known(runs, each(_product, mine, theirs), each(gcd, left.alike, right.alike))


def _divided(operation: Operation, given: Sequence[Known]) -> Known:
    left, right = given
    both = _both(left, right)
    if both is not None and both[1]:
        return _constant(_quotient(*both), left, right)
    ones = (1,) * left.rank
    by = right.constant
    if by == 1:
        divisor = left.divisor
    elif by is not None and by and by & (by - 1) == 0:
        divisor = each(lambda run, known: max(1, known // by) if run == 1 else 1, left.runs, left.divisor)
    else:
        divisor = ones
    alike = each(gcd, left.alike, right.alike)
    return Known(left.runs if by == 1 else ones, divisor, each(max, alike, _steps(operation, left, right)))


def _quotient(whole: int, by: int) -> int:
    """Towards zero."""
    quotient = abs(whole) // abs(by)
    return quotient if (whole < 0) == (by < 0) else -quotient


def _remainder(operation: Operation, given: Sequence[Known]) -> Known:
    left, right = given
    both = _both(left, right)
    if both is not None and both[1]:
        return _constant(both[0] - _quotient(*both) * both[1], left, right)
    if _is(right, 1):
        return _constant(0, left, right)
    divisor = each(lambda alike, a, b: gcd(a, b) if alike > 1 else 1, right.alike, left.divisor, right.divisor)
    return Known(_steps(operation, left, right), divisor, each(gcd, left.alike, right.alike))


def _steps(operation: Operation, whole: Known, other: Known) -> Numbers:
    """Per axis that is one run in ``whole`` and one value in ``other``: how many elements go by before ``whole`` passes
    a multiple of both; 1 along any other axis.
    """
    shape = shape_of(operation.result_types[0])
    if not shape:
        return (1,)
    return tuple(
        gcd(whole.runs[axis], whole.divisor[axis], other.divisor[axis])
        if whole.runs[axis] == size and other.alike[axis] == size
        else 1
        for axis, size in enumerate(shape)
    )


def _compared(operation: Operation, given: Sequence[Known]) -> Known | None:
    if not shape_of(operation.result_types[0]):
        return None
    left, right = given
    ones = (1,) * left.rank
    if (both := _both(left, right)) is not None and operation.words:
        return Known(ones, ones, left.alike, int(_COMPARISONS[operation.words[0]](*both)))
    alike = each(gcd, left.alike, right.alike)
    word = operation.words[0][1:] if operation.words else ""
    if word in ("gt", "le"):
        alike = each(max, alike, _turns(operation, right, left))
    elif word in ("lt", "ge"):
        alike = each(max, alike, _turns(operation, left, right))
    return Known(ones, ones, alike)


def _turns(operation: Operation, running: Known, still: Known) -> Numbers:
    """Per axis that is one value in ``still``: within how many elements of ``running`` a comparison cannot change."""
    return tuple(
        gcd(running.runs[axis], running.divisor[axis], still.divisor[axis]) if still.alike[axis] == size else 1
        for axis, size in enumerate(shape_of(operation.result_types[0]))
    )


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    **dict.fromkeys(("slt", "ult"), lambda a, b: a < b),
    **dict.fromkeys(("sle", "ule"), lambda a, b: a <= b),
    **dict.fromkeys(("sgt", "ugt"), lambda a, b: a > b),
    **dict.fromkeys(("sge", "uge"), lambda a, b: a >= b),
}


def _selected(operation: Operation, given: Sequence[Known]) -> Known:
    condition, yes, no = given
    if condition.constant is not None:
        return yes if condition.constant else no
    either = joined(yes, no)
    if not shape_of(operation.operand_types[0]):
        return either
    return replace(either, runs=each(gcd, either.runs, condition.alike), alike=each(gcd, either.alike, condition.alike))


def _limited(operation: Operation, given: Sequence[Known]) -> Known:
    if (both := _both(*given)) is not None:
        ones = (1,) * given[0].rank
        return Known(ones, ones, ones, max(both) if operation.name.startswith("arith.max") else min(both))
    return replace(joined(*given), constant=None)


def _bitwise(function: Callable[[int, int], int]) -> Rule:
    def rule(operation: Operation, given: Sequence[Known]) -> Known:
        left, right = given
        if (both := _both(left, right)) is not None:
            return _constant(function(*both), left, right)
        ones = (1,) * left.rank
        return Known(ones, ones, each(gcd, left.alike, right.alike))

    return rule


def _shifted(operation: Operation, given: Sequence[Known]) -> Known:
    left, right = given
    by = right.constant
    is_left = operation.name == "arith.shli"
    ones = (1,) * left.rank
    if by is not None and not 0 <= by < 64:
        return Known(ones, ones, ones)
    if (both := _both(left, right)) is not None:
        return _constant(both[0] << both[1] if is_left else both[0] >> both[1], left, right)
    divisor = left.divisor if by == 0 else _alone(left)
    if is_left:
        divisor = each(lambda one: _product(one, 1 << (by or 0)), left.divisor if by is None else divisor)
    elif by is None:
        divisor = ones
    else:
        divisor = each(lambda one: max(1, one >> by), divisor)
    return Known(left.runs if by == 0 else ones, divisor, each(gcd, left.alike, right.alike))


# -- shapes and memory -----------------------------------------------------------------------------------------------


def _range(operation: Operation, given: Sequence[Known]) -> Known | None:
    start, end = operation.attributes.get("start"), operation.attributes.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    return Known((end - start,), (power_of_two_in(start),), (1,))


def _literal(operation: Operation, given: Sequence[Known]) -> Known | None:
    literal, kind = operation.attributes.get("value"), operation.result_types[0]
    if not isinstance(literal, Literal) or len(literal.texts) != 1:
        return None
    text = {"true": "1", "false": "0"}.get(literal.texts[0], literal.texts[0])
    try:
        number = int(text, 0)
    except ValueError:
        return None
    shape = shape_of(kind) or (1,)
    return _constant(number, Known((1,) * len(shape), shape, shape))


def _splat(operation: Operation, given: Sequence[Known]) -> Known:
    shape = shape_of(operation.result_types[0])
    return Known((1,) * len(shape), given[0].divisor[:1] * len(shape), shape, given[0].constant)


def _expanded(operation: Operation, given: Sequence[Known]) -> Known | None:
    axis, known = operation.attributes.get("axis"), given[0]
    if not isinstance(axis, int):
        return None
    new = power_of_two_in(known.constant) if known.constant is not None else gcd(*_alone(known))

    def inserted(numbers: Numbers, one: int) -> Numbers:
        return (*numbers[:axis], one, *numbers[axis:])

    return Known(inserted(known.runs, 1), inserted(known.divisor, new), inserted(known.alike, 1), known.constant)


def _broadcast(operation: Operation, given: Sequence[Known]) -> Known:
    known, before, after = given[0], shape_of(operation.operand_types[0]), shape_of(operation.result_types[0])
    runs = each(lambda size, run: 1 if size == 1 else run, before, known.runs)
    alike = each(lambda size, new, old: new if size == 1 else old, before, after, known.alike)
    return Known(runs, known.divisor, alike, known.constant)


def _loaded(operation: Operation, given: Sequence[Known]) -> Known:
    pointers, *mask = given
    ones = (1,) * pointers.rank
    return Known(ones, ones, each(gcd, pointers.alike, mask[0].alike) if mask else pointers.alike)


def _as_it_was(operation: Operation, given: Sequence[Known]) -> Known:
    return given[0]


def _table() -> Iterator[tuple[str, Rule]]:
    for name in ("arith.extsi", "arith.extui", "arith.trunci", "tt.bitcast"):
        yield name, _as_it_was
    for name in ("tt.addptr", "arith.addi", "arith.subi"):
        yield name, _added
    for name in ("arith.divsi", "arith.divui"):
        yield name, _divided
    for name in ("arith.remsi", "arith.remui"):
        yield name, _remainder
    for name in ("arith.shli", "arith.shrui", "arith.shrsi"):
        yield name, _shifted
    for name in ("arith.maxsi", "arith.maxui", "arith.minsi", "arith.minui"):
        yield name, _limited
    yield "arith.andi", _bitwise(lambda a, b: a & b)
    yield "arith.ori", _bitwise(lambda a, b: a | b)
    yield "arith.xori", _bitwise(lambda a, b: a ^ b)
    yield from (
        ("arith.muli", _multiplied),
        ("arith.cmpi", _compared),
        ("arith.select", _selected),
        ("arith.constant", _literal),
        ("tt.make_range", _range),
        ("tt.splat", _splat),
        ("tt.expand_dims", _expanded),
        ("tt.broadcast", _broadcast),
        ("tt.load", _loaded),
    )


_RULES: dict[str, Rule] = dict(_table())
