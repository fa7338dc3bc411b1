"""``tt.extern_elementwise``: functions of libdevice (NVIDIA) and ocml (AMD) by their symbols.

A ``fast_`` or ``native_`` function is computed as the precise one.
"""

from __future__ import annotations

import inspect

import numpy as np

from . import floats
from .errors import Unsupported
from .formats import held_dtype, is_float, rounded
from .ir import Operation
from .state import Frame
from .values import Value

_LIBRARY: dict[str, floats.Function] = {
    **{name.partition(".")[2]: function for name, function in floats.UNARY.items() if name.startswith("math.")},
    "abs": np.abs, "fabs": np.abs, "rint": np.rint, "nearbyint": np.rint,
    "exp10": lambda x: np.power(x.dtype.type(10), x),
    "pow": np.power, "fmod": np.fmod, "atan2": np.arctan2, "hypot": np.hypot, "copysign": np.copysign,
    "fmax": np.fmax, "fmin": np.fmin, "fma": floats.TERNARY["math.fma"], "fdim": lambda x, y: np.maximum(x - y, 0),
    "max": np.maximum, "min": np.minimum, "ldexp": np.ldexp,
    "div_rn": np.divide, "fdivide": np.divide, "sqrt_rn": np.sqrt, "add_rn": np.add, "mul_rn": np.multiply,
    "isnan": np.isnan, "isinf": np.isinf, "isfinited": np.isfinite, "finite": np.isfinite, "signbit": np.signbit,
    "llrint": np.rint, "llround": floats.UNARY["math.round"], "rcp_rn": np.reciprocal, "frcp_rn": np.reciprocal,
    "fsqrt_rn": np.sqrt, "fdiv_rn": np.divide, "fadd_rn": np.add, "fmul_rn": np.multiply,
    "saturate": lambda x: np.fmin(np.fmax(x, x.dtype.type(0)), x.dtype.type(1)),
}  # fmt: skip


def function_named(symbol: str) -> floats.Function | None:
    """``__nv_fast_expf`` → exp, ``__ocml_tanh_f32`` → tanh; None for a function that is not known."""
    if symbol.startswith("__nv_"):
        name = symbol.removeprefix("__nv_").removeprefix("fast_")
        return _LIBRARY.get(name) or _LIBRARY.get(name.removesuffix("f"))
    if symbol.startswith("__ocml_"):
        name = symbol.removeprefix("__ocml_").removeprefix("native_")
        return _LIBRARY.get(name.rpartition("_")[0])
    return None


def _operands(function: floats.Function) -> int:
    if isinstance(function, np.ufunc):
        return int(function.nin)
    return len(inspect.signature(function).parameters)


def call(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``tt.extern_elementwise``: a function of libdevice (NVIDIA) or ocml (AMD) by its symbol."""
    function = function_named(str(operation.attributes.get("symbol", "")))
    if function is None or _operands(function) != len(values):
        name = f"{operation.name} {operation.attributes.get('symbol')}"
        raise Unsupported(name, line=operation.text_line)
    kind = operation.result_types[0]
    data = function(*(value.data for value in values))
    if is_float(kind):
        return Value(kind, rounded(kind, data))
    return Value(kind, data.astype(held_dtype(kind)))
