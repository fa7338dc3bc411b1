"""Float operations of the arith and math dialects, and the functions of libdevice, on float32 and float64 arrays.

Functions are numpy's in the operand's width: float32 ``exp``, ``log``, ``sin``, ``cos`` are within 4 units in the last
place there (numpy's own bound for its vector code), as they are in CUDA's ``ex2.approx``-based ones (CUDA C++
Programming Guide, "Mathematical Functions"). A ``fast_`` function of libdevice is computed as the precise one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .formats import Array

Function = Callable[..., Array]


def _fused(left: Array, right: Array, added: Array) -> Array:
    """One rounding. The product of two float32 is exact in float64; the sum's second rounding differs from a true
    fused operation in fewer than one case in 2^28. In float64 itself the product is rounded."""
    if left.dtype == np.float32:
        wide = left.astype(np.float64) * right.astype(np.float64) + added.astype(np.float64)
        return wide.astype(np.float32)
    return left * right + added


def _reciprocal_root(values: Array) -> Array:
    return (1.0 / np.sqrt(values.astype(np.float64))).astype(values.dtype)


# Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969); the coefficients are those of
# his CALERF (netlib specfun/erf), relative error below 1.2e-16.
_NEAR_P = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
           3.20937758913846947e3)  # fmt: skip
_NEAR_Q = (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MIDDLE_P = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
             2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
             1.23033935479799725e3)  # fmt: skip
_MIDDLE_Q = (1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
             3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_FAR_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
          1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_FAR_Q = (2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
          2.33520497626869185e-3)  # fmt: skip


def _ratio(argument: Array, upper: tuple[float, ...], lower: tuple[float, ...]) -> Array:
    """Cody's evaluation: the leading coefficient stands first, and the denominator's leading one is 1."""
    above, below = upper[0] * argument, argument
    for p, q in zip(upper[1:-1], lower[:-1], strict=True):
        above, below = (above + p) * argument, (below + q) * argument
    return (above + upper[-1]) / (below + lower[-1])


def error_function_complement(values: Array) -> Array:
    """erfc in float64, elementwise."""
    x = np.abs(values.astype(np.float64))
    square = x * x
    near = 1 - x * _ratio(square, _NEAR_P, _NEAR_Q)
    # exp(−x²) in two factors: the rounding of x² alone would cost x² units in the last place.
    coarse = np.trunc(np.minimum(x, 1e6) * 16) / 16
    falling = np.exp(-coarse * coarse) * np.exp(-(x - coarse) * (x + coarse))
    middle = falling * _ratio(x, _MIDDLE_P, _MIDDLE_Q)
    inverse = 1 / np.maximum(square, 1e-300)
    tail = inverse * _ratio(inverse, _FAR_P, _FAR_Q)
    far = falling * (0.56418958354775628695 - tail) / np.maximum(x, 1e-300)
    positive = np.where(x <= 0.46875, near, np.where(x <= 4.0, middle, far))
    positive = np.where(np.isinf(x), 0.0, positive)
    return np.where(np.signbit(values), 2 - positive, positive)


def error_function(values: Array) -> Array:
    """erf, elementwise."""
    x: Array = values.astype(np.float64)
    small = x * _ratio(x * x, _NEAR_P, _NEAR_Q)
    return np.where(np.abs(x) <= 0.46875, small, 1 - error_function_complement(x)).astype(values.dtype)


def _complement(values: Array) -> Array:
    return error_function_complement(values).astype(values.dtype)


def _rounded_away(values: Array) -> Array:
    return np.copysign(np.floor(np.abs(values) + values.dtype.type(0.5)), values)


def _power(base: Array, exponent: Array) -> Array:
    return np.power(base, exponent)


def _exponential_base_2(values: Array) -> Array:
    return np.exp2(values)


BINARY: dict[str, Function] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "tt.precise_divf": np.divide,
    "tt.approx_divf": np.divide,
    "arith.remf": np.fmod,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "math.powf": _power,
    "math.atan2": np.arctan2,
    "math.copysign": np.copysign,
}
UNARY: dict[str, Function] = {
    "arith.negf": np.negative,
    "math.absf": np.abs,
    "math.floor": np.floor,
    "math.ceil": np.ceil,
    "math.trunc": np.trunc,
    "math.round": _rounded_away,
    "math.roundeven": np.rint,
    "math.exp": np.exp,
    "math.exp2": _exponential_base_2,
    "math.expm1": np.expm1,
    "math.log": np.log,
    "math.log2": np.log2,
    "math.log10": np.log10,
    "math.log1p": np.log1p,
    "math.sqrt": np.sqrt,
    "tt.precise_sqrt": np.sqrt,
    "math.rsqrt": _reciprocal_root,
    "math.cbrt": np.cbrt,
    "math.sin": np.sin,
    "math.cos": np.cos,
    "math.tan": np.tan,
    "math.asin": np.arcsin,
    "math.acos": np.arccos,
    "math.atan": np.arctan,
    "math.sinh": np.sinh,
    "math.cosh": np.cosh,
    "math.tanh": np.tanh,
    "math.asinh": np.arcsinh,
    "math.acosh": np.arccosh,
    "math.atanh": np.arctanh,
    "math.erf": error_function,
    "math.erfc": _complement,
}
TERNARY: dict[str, Function] = {"math.fma": _fused}
EXACT = frozenset(
    (
        "arith.maximumf", "arith.minimumf", "arith.maxnumf", "arith.minnumf", "math.copysign", "arith.negf",
        "math.absf", "math.floor", "math.ceil", "math.trunc", "math.round", "math.roundeven",
    )
)  # fmt: skip
"""What no rounding can change: the result is an operand, or an integer no larger than one."""
PLAIN = EXACT | frozenset(("arith.addf", "arith.subf", "arith.mulf", "math.fma", "arith.select"))
"""One instruction of the plain float pipes; every other function is counted as special."""

COMPARISONS: dict[str, Function] = {
    "oeq": np.equal,
    "ogt": np.greater,
    "oge": np.greater_equal,
    "olt": np.less,
    "ole": np.less_equal,
    "one": lambda left, right: (left < right) | (left > right),
    "ord": lambda left, right: ~(np.isnan(left) | np.isnan(right)),
    "uno": lambda left, right: np.isnan(left) | np.isnan(right),
    "ueq": lambda left, right: ~((left < right) | (left > right)),
    "ugt": lambda left, right: ~(left <= right),
    "uge": lambda left, right: ~(left < right),
    "ult": lambda left, right: ~(left >= right),
    "ule": lambda left, right: ~(left > right),
    "une": np.not_equal,
    "false": lambda left, right: np.zeros(np.broadcast_shapes(left.shape, right.shape), np.bool_),
    "true": lambda left, right: np.ones(np.broadcast_shapes(left.shape, right.shape), np.bool_),
}


def to_integer(values: Array, target: np.dtype, *, signed: bool, bits: int) -> Array:
    """Towards zero; out of range to the nearest end, NaN to 0, as ``cvt.rzi`` does (PTX ISA, "cvt"). LLVM leaves those
    open. ``bits``: the width; ``target``: how the integer is held."""
    wide = np.trunc(values.astype(np.float64))
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1)) if signed else (0.0, 2.0**bits)
    inside = (wide >= low) & (wide < high)
    safe = np.where(inside, wide, 0.0)
    if signed or bits < 64:
        exact = safe.astype(np.int64)
    else:
        exact = safe.astype(np.uint64).view(np.int64)
    top = np.int64((1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 if bits < 64 else -1)
    bottom = np.int64(-(1 << (bits - 1)) if signed else 0)
    result = np.where(inside, exact, np.where(wide >= high, top, np.where(wide < low, bottom, np.int64(0))))
    return (result & 1).astype(np.bool_) if bits == 1 else result.astype(target)
