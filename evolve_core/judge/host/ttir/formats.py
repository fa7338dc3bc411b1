"""Number formats: how elements lie in memory, how they are held while computing, and exact rounding between the two.

Integers are held as signed numpy integers, i1 as bool. f32 and f64 are numpy's own. The narrow floats (f16, bf16 and
the 8-bit ones) are held as float32 whose values the format has: every result is rounded to nearest even before it is
seen, which for +, −, ×, ÷ and √ is the correctly rounded result of the format (float32 has more than 2p+2 bits for each
of them; Figueroa, "When is double rounding innocuous?", 1995). The payload of a NaN is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .ir import Pointer, Scalar, Type, element_of

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Small:
    """An 8-bit float: exponent and mantissa bits, bias, and the flavour of its special values.

    ``fn``: no infinity, one NaN of each sign (OCP FP8 E4M3); ``fnuz``: no infinity, no negative zero, one NaN; neither:
    IEEE (OCP FP8 E5M2). Source: OCP 8-bit Floating Point Specification 1.0; MLIR's FloatType documentation for fnuz.
    """

    exponent: int
    mantissa: int
    bias: int
    flavour: str

    def decoded(self) -> Array:
        """The 256 values as float32, by code."""
        codes = np.arange(256)
        sign = np.where(codes >> 7, -1.0, 1.0)
        exponent = (codes >> self.mantissa) & ((1 << self.exponent) - 1)
        fraction = (codes & ((1 << self.mantissa) - 1)) / (1 << self.mantissa)
        normal = (1 + fraction) * 2.0 ** (exponent - self.bias)
        values = sign * np.where(exponent > 0, normal, fraction * 2.0 ** (1 - self.bias))
        if self.flavour == "fnuz":
            values[0x80] = np.nan
        elif self.flavour == "fn":
            values[[0x7F, 0xFF]] = np.nan
        else:
            top = exponent == (1 << self.exponent) - 1
            values = np.where(top, np.where(fraction == 0, sign * np.inf, np.nan), values)
        return values.astype(np.float32)


_SMALL = {
    "f8E4M3FN": Small(4, 3, 7, "fn"),
    "f8E5M2": Small(5, 2, 15, "ieee"),
    "f8E4M3FNUZ": Small(4, 3, 8, "fnuz"),
    "f8E5M2FNUZ": Small(5, 2, 16, "fnuz"),
    "f8E4M3B11FNUZ": Small(4, 3, 11, "fnuz"),
}
_DECODED = {name: small.decoded() for name, small in _SMALL.items()}
# Finite values in rising order with their codes: what rounding chooses between. −0 is left to the sign.
_POSITIVE = {name: table[:128][np.isfinite(table[:128])].astype(np.float64) for name, table in _DECODED.items()}

_STORED = {
    "i1": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "index": np.int64,
    "f16": np.float16, "bf16": np.uint16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
_NARROW = frozenset(("f16", "bf16", *_SMALL))
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def name_of(kind: Type) -> str:
    """The element's name; ``ptr`` for pointers."""
    element = element_of(kind)
    return element.name if isinstance(element, Scalar) else "ptr"


def stored_dtype(kind: Type) -> np.dtype:
    """How an element lies in memory. Pointers are 64-bit addresses, i1 is a byte."""
    element = element_of(kind)
    if isinstance(element, Pointer):
        return np.dtype(np.int64)
    return np.dtype(_STORED.get(name_of(element), np.uint8))


def held_dtype(kind: Type) -> np.dtype:
    """How an element is held while computing."""
    name = name_of(kind)
    if name == "i1":
        return np.dtype(np.bool_)
    return np.dtype(np.float32) if name in _NARROW else stored_dtype(kind)


def is_float(kind: Type) -> bool:
    name = name_of(kind)
    return name in _NARROW or name in ("f32", "f64")


def bits_of(kind: Type) -> int:
    """Width; 1 for i1."""
    return 1 if name_of(kind) == "i1" else 8 * stored_dtype(kind).itemsize


def unsigned(values: Array) -> Array:
    """The same bits read as unsigned integers."""
    return values.view(_UNSIGNED[values.dtype.itemsize])


def decode(kind: Type, raw: Array) -> Array:
    """What is held, out of elements as they lie in memory (dtype ``stored_dtype``)."""
    name = name_of(kind)
    if name == "f16":
        return raw.astype(np.float32)
    if name == "bf16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if name == "i1":
        return raw != 0
    return _DECODED[name][raw] if name in _SMALL else raw


def encode(kind: Type, held: Array) -> Array:
    """The opposite of ``decode``, for values that the format has."""
    name = name_of(kind)
    if name == "f16":
        return held.astype(np.float16)
    if name == "bf16":
        return (np.ascontiguousarray(held).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    if name in _SMALL:
        return _small_codes(name, held)
    return held.astype(stored_dtype(kind), copy=False)


def rounded(kind: Type, values: Array, *, to_zero: bool = False) -> Array:
    """float32 or float64 to the nearest value (ties to even) that ``kind`` has, as it is held.

    8-bit formats saturate at their largest finite value, infinities included, as ``cvt.rn.satfinite`` does on NVIDIA
    GPUs (PTX ISA, "cvt"); the others overflow to infinity. ``to_zero`` drops the bits instead (Triton's ``rtz``).
    """
    name = name_of(kind)
    if name == "f64":
        return values.astype(np.float64, copy=False)
    if to_zero and name in ("f16", "bf16", "f32"):
        return _towards_zero(name, values)
    if name == "f16":
        return values.astype(np.float16).astype(np.float32)
    if name == "f32":
        return values.astype(np.float32, copy=False)
    if values.dtype == np.float64 and name == "bf16":
        values = _round_to_odd(values)
    if name == "bf16":
        return _bfloat16(values)
    return _DECODED[name][_small_codes(name, values)]


def _bfloat16(values: Array) -> Array:
    bits = np.ascontiguousarray(values).view(np.uint32)
    result = bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))
    result &= np.uint32(0xFFFF0000)
    nan = np.isnan(values)
    if nan.any():
        # The carry may have run through a NaN's mantissa into its sign.
        result[nan] = np.uint32(0x7FC00000)
    return result.view(np.float32)


def _round_to_odd(values: Array) -> Array:
    """float64 to float32 so that a second rounding is exact: inexact results get an odd last bit.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
    """
    near: Array = values.astype(np.float32)
    back: Array = near.astype(np.float64)
    inexact = (back != values) & np.isfinite(values)
    overshot = inexact & (np.abs(back) > np.abs(values))
    bits = np.ascontiguousarray(near).view(np.uint32).copy()
    bits[overshot] -= np.uint32(1)
    bits[inexact] |= np.uint32(1)
    return bits.view(np.float32)


def _towards_zero(name: str, values: Array) -> Array:
    if name == "bf16":
        odd = _round_to_odd(values) if values.dtype == np.float64 else values
        bits = np.ascontiguousarray(odd).view(np.uint32) & np.uint32(0xFFFF0000)
        return np.where(np.isnan(values), np.float32(np.nan), bits.view(np.float32))
    stored = np.float16 if name == "f16" else np.float32
    near: Array = values.astype(stored)
    overshot = np.abs(near.astype(np.float64)) > np.abs(values)
    return np.where(overshot & np.isfinite(values), np.nextafter(near, stored(0)), near).astype(np.float32)


def _small_codes(name: str, values: Array) -> Array:
    """Codes of the nearest values of an 8-bit format, ties to the even code, saturating."""
    table = _POSITIVE[name]
    magnitude = np.minimum(np.abs(values.astype(np.float64)), table[-1])
    above = np.searchsorted(table, magnitude).clip(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    # Neighbouring codes alternate in parity, and the code of a positive value is its place in the table.
    up = (magnitude - low > high - magnitude) | ((magnitude - low == high - magnitude) & (above % 2 == 0))
    codes = np.where(up, above, above - 1).astype(np.uint8)
    negative = np.signbit(values)
    if _SMALL[name].flavour == "fnuz":
        negative &= codes != 0
    codes = np.where(negative, codes | np.uint8(0x80), codes)
    return np.where(np.isnan(values), np.uint8(0x80 if _SMALL[name].flavour == "fnuz" else 0x7F), codes)
