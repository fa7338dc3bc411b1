"""Integer operations of the arith dialect on signed numpy arrays that wrap around, and i1 on bool arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .formats import Array, held_dtype, name_of, unsigned
from .ir import Type

Binary = Callable[[Array, Array], Array]


def _signed(values: Array, like: Array) -> Array:
    return values.view(like.dtype)


def _as_unsigned(operation: Binary) -> Binary:
    """An operation on the bits read as unsigned. On i1 signed and unsigned differ for order alone, and False < True is
    the unsigned one."""

    def run(left: Array, right: Array) -> Array:
        if left.dtype == np.bool_:
            return operation(left.view(np.uint8), right.view(np.uint8)).view(np.bool_)
        return _signed(operation(unsigned(left), unsigned(right)), left)

    return run


def _compared_unsigned(operation: Binary) -> Binary:
    def run(left: Array, right: Array) -> Array:
        return operation(unsigned(left), unsigned(right))

    return run


def _signed_bits(values: Array) -> Array:
    """i1 as signed: True is −1."""
    return -values.view(np.int8) if values.dtype == np.bool_ else values


def _compared_signed(operation: Binary) -> Binary:
    def run(left: Array, right: Array) -> Array:
        return operation(_signed_bits(left), _signed_bits(right))

    return run


def _through_bytes(operation: Binary) -> Binary:
    """Addition, subtraction and multiplication of i1 are modulo 2."""

    def run(left: Array, right: Array) -> Array:
        if left.dtype == np.bool_:
            return (operation(left.view(np.uint8), right.view(np.uint8)) & np.uint8(1)).view(np.bool_)
        return operation(left, right)

    return run


def _divide(left: Array, right: Array) -> Array:
    """Towards zero. ``right`` has no zero: division reports and replaces them."""
    quotient = left // right
    if (left.min(initial=0) >= 0) and (right.min(initial=0) >= 0):
        return quotient
    inexact = quotient * right != left
    return quotient + (inexact & ((left < 0) != (right < 0))).astype(left.dtype)


def _remainder(left: Array, right: Array) -> Array:
    return np.fmod(left, right)


def _floor_divide(left: Array, right: Array) -> Array:
    return left // right


def _ceil_divide(left: Array, right: Array) -> Array:
    quotient = left // right
    return quotient + (quotient * right != left).astype(left.dtype)


def _extremum(operation: Binary) -> Binary:
    def run(left: Array, right: Array) -> Array:
        if left.dtype == np.bool_:
            return operation(_signed_bits(left), _signed_bits(right)) != 0
        return operation(left, right)

    return run


def high_half(left: Array, right: Array) -> Array:
    """The upper half of the unsigned double-width product, as the operands' own type."""
    return _signed(_unsigned_high(unsigned(left), unsigned(right)), left)


def _unsigned_high(left: Array, right: Array) -> Array:
    width = left.dtype.itemsize * 8
    if width < 64:
        wide = left.astype(np.uint64) * right.astype(np.uint64)
        return (wide >> np.uint64(width)).astype(left.dtype)
    half, low_bits = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b, c, d = left >> half, left & low_bits, right >> half, right & low_bits
    middle = a * d + (b * d >> half)
    other = b * c + (middle & low_bits)
    return a * c + (middle >> half) + (other >> half)


def signed_high_half(left: Array, right: Array) -> Array:
    """The upper half of the signed double-width product."""
    return high_half(left, right) - np.where(left < 0, right, 0) - np.where(right < 0, left, 0)


def shifted(operation: Binary) -> Binary:
    """A shift by the width or more gives 0 (or the sign): LLVM leaves it open, GPUs clamp the amount."""

    def run(left: Array, right: Array) -> Array:
        top = left.dtype.itemsize * 8
        amount = unsigned(right)
        return operation(left, np.minimum(amount, amount.dtype.type(top)).astype(left.dtype))

    return run


def _shift_left(left: Array, right: Array) -> Array:
    whole = left.dtype.itemsize * 8
    return np.where(right >= whole, left.dtype.type(0), np.left_shift(left, np.minimum(right, whole - 1)))


def _shift_right(left: Array, right: Array) -> Array:
    return np.right_shift(left, np.minimum(right, left.dtype.itemsize * 8 - 1))


def _shift_right_unsigned(left: Array, right: Array) -> Array:
    whole = left.dtype.itemsize * 8
    moved = _signed(np.right_shift(unsigned(left), unsigned(np.minimum(right, whole - 1))), left)
    return np.where(right >= whole, left.dtype.type(0), moved)


BINARY: dict[str, Binary] = {
    "arith.addi": _through_bytes(np.add),
    "arith.subi": _through_bytes(np.subtract),
    "arith.muli": _through_bytes(np.multiply),
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.minsi": _extremum(np.minimum),
    "arith.maxsi": _extremum(np.maximum),
    "arith.minui": _as_unsigned(np.minimum),
    "arith.maxui": _as_unsigned(np.maximum),
    "arith.shli": shifted(_shift_left),
    "arith.shrsi": shifted(_shift_right),
    "arith.shrui": shifted(_shift_right_unsigned),
    "tt.mulhiui": high_half,
}
DIVISIONS: dict[str, Binary] = {
    "arith.divsi": _divide,
    "arith.remsi": _remainder,
    "arith.floordivsi": _floor_divide,
    "arith.ceildivsi": _ceil_divide,
    "arith.divui": _as_unsigned(np.floor_divide),
    "arith.remui": _as_unsigned(np.remainder),
    "arith.ceildivui": _as_unsigned(lambda left, right: left // right + (left % right != 0)),
}
COMPARISONS: dict[str, Binary] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "slt": _compared_signed(np.less),
    "sle": _compared_signed(np.less_equal),
    "sgt": _compared_signed(np.greater),
    "sge": _compared_signed(np.greater_equal),
    "ult": _compared_unsigned(np.less),
    "ule": _compared_unsigned(np.less_equal),
    "ugt": _compared_unsigned(np.greater),
    "uge": _compared_unsigned(np.greater_equal),
}


def resized(target: Type, values: Array, *, signed: bool) -> Array:
    """An integer in another width: cut off, or extended by its sign or by zeros."""
    if name_of(target) == "i1":
        return (values & 1).astype(np.bool_)
    if values.dtype == np.bool_:
        wide = values.astype(held_dtype(target))
        return -wide if signed else wide
    return (values if signed else unsigned(values)).astype(held_dtype(target))


def _ones(bits: Array) -> Array:
    """Set bits of each element. (``numpy.bitwise_count`` came with numpy 2.)"""
    single = np.ascontiguousarray(bits)[..., None].view(np.uint8)
    return np.unpackbits(single, axis=-1).sum(axis=-1, dtype=np.int64)


def counted(name: str, values: Array) -> Array:
    """``math.ctpop``, ``ctlz``, ``cttz``."""
    bits = unsigned(values)
    width = bits.dtype.itemsize * 8
    if name == "math.cttz":
        low = bits & (~bits + bits.dtype.type(1))
        ones = _ones(low - bits.dtype.type(1))
    elif name == "math.ctlz":
        filled = bits
        for step in (1, 2, 4, 8, 16, 32):
            if step < width:
                filled = filled | (filled >> bits.dtype.type(step))
        ones = width - _ones(filled)
    else:
        ones = _ones(bits)
    return ones.astype(values.dtype)
