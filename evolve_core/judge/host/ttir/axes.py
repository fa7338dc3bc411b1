"""What Triton's compiler knows about a tensor of integers or addresses along each of its axes.

It makes accesses wider by that: by what it concludes (axisrules.py), and by what a kernel tells it in
``tl.multiple_of``, ``tl.max_contiguous`` and ``tl.max_constancy``, which it never checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import gcd

from .ir import Operation, Pointer, Tensor, Type, shape_of

UNRESOLVED = 1 << 62
"""As a number of elements, or a divisor: of what a loop carries, before anything is known of it; and of zero."""
Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """One number for each axis; a scalar has one axis.

    ``runs``: elements come in aligned groups of so many, each one more than the one before. ``divisor``: of the first
    element of every run, in bytes where they are addresses. ``alike``: elements come in aligned groups of so many equal
    ones. ``constant``: all elements are this.
    """

    runs: Numbers
    divisor: Numbers
    alike: Numbers
    constant: int | None = None

    @property
    def rank(self) -> int:
        return len(self.runs)


def nothing(kind: Type) -> Known:
    ones = (1,) * rank_of(kind)
    return Known(ones, ones, ones)


def unresolved(kind: Type) -> Known:
    most = (UNRESOLVED,) * rank_of(kind)
    return Known(most, most, most)


def rank_of(kind: Type) -> int:
    if isinstance(kind, Pointer) and isinstance(kind.pointee, Tensor):
        return len(kind.pointee.shape)
    return max(1, len(shape_of(kind)))


def joined(one: Known, other: Known) -> Known:
    """Of a value that is either."""
    if one.rank != other.rank:
        raise ValueError("of different ranks")
    return Known(
        each(gcd, one.runs, other.runs),
        _either_divisor(one, other),
        each(gcd, one.alike, other.alike),
        one.constant if one.constant == other.constant else None,
    )


def hinted(known: Known, operation: Operation) -> Known:
    """With what the kernel says of the operation's results in place of what was concluded. What it says of a value that
    a loop carries (``tt.divisibility_arg1``) the compiler does not read.
    """
    return replace(
        known,
        runs=_hint(operation, CONTIGUITY, known.rank) or known.runs,
        divisor=_hint(operation, DIVISIBILITY, known.rank) or known.divisor,
        alike=_hint(operation, CONSTANCY, known.rank) or known.alike,
    )


CONTIGUITY, DIVISIBILITY, CONSTANCY = "tt.contiguity", "tt.divisibility", "tt.constancy"


def _hint(operation: Operation, name: str, rank: int) -> Numbers | None:
    given = operation.attributes.get(name)
    numbers = given if isinstance(given, tuple) else (given,) * rank
    whole = tuple(min(one or UNRESOLVED, UNRESOLVED) for one in numbers if isinstance(one, int) and one >= 0)
    return whole if len(whole) == rank else None


def has_hints(operation: Operation) -> bool:
    return any(name in operation.attributes for name in (CONTIGUITY, DIVISIBILITY, CONSTANCY))


def power_of_two_in(number: int) -> int:
    return number & -number or UNRESOLVED


def each(function: Callable[..., int], *numbers: Numbers) -> Numbers:
    return tuple(function(*row) for row in zip(*numbers, strict=True))


def _either_divisor(one: Known, other: Known) -> Numbers:
    """Where runs become shorter, some begin in the middle of what was one."""

    def divisor(axis: int) -> int:
        both = gcd(one.divisor[axis], other.divisor[axis])
        lengths = one.runs[axis], other.runs[axis]
        if lengths[0] == lengths[1] or UNRESOLVED in lengths:
            return both
        return gcd(both, *lengths)

    return tuple(divisor(axis) for axis in range(one.rank))
