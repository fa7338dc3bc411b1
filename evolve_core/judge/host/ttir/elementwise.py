"""Handlers of operations that go element by element: arithmetic, comparison, choice, conversion, library functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import floats, integers, library
from .errors import Unsupported
from .findings import Kind
from .formats import Array, bits_of, decode, encode, held_dtype, name_of, rounded, stored_dtype, unsigned
from .ir import Operation
from .state import Frame
from .values import Value

Handler = Callable[[Frame, Operation, list[Value]], Value | tuple[Value, ...]]


def _result(operation: Operation, data: Array) -> Value:
    return Value(operation.result_types[0], data)


def float_function(name: str, function: floats.Function) -> Handler:
    """``function`` on floats, rounded to the result's format."""
    exact = name in floats.EXACT

    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        kind = operation.result_types[0]
        data = function(*(value.data for value in values))
        return Value(kind, data if exact else rounded(kind, data))

    return run


def integer_function(function: integers.Binary) -> Handler:
    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        left, right = values
        return _result(operation, function(left.data, right.data))

    return run


def division(function: integers.Binary) -> Handler:
    """Division by zero is reported, and gives all ones (the remainder: the dividend), as on NVIDIA GPUs."""

    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        left, right = (value.data for value in values)
        zero = right == 0
        if not zero.any():
            return _result(operation, function(left, right))
        data = function(left, np.where(zero, right.dtype.type(1), right))
        instead = left if operation.name.startswith("arith.rem") else data.dtype.type(-1)
        full = np.broadcast_to(zero, (len(frame.ids), *zero.shape[1:]))
        program = int(frame.lanes(full).flat[int(np.argmax(full))])
        message = "divides an integer by zero"
        frame.launch.findings.add(Kind.DIVISION_BY_ZERO, operation, message, program, count=int(full.sum()))
        return _result(operation, np.where(zero, instead, data))

    return run


def compare(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``arith.cmpi`` and ``arith.cmpf``."""
    table = floats.COMPARISONS if operation.name == "arith.cmpf" else integers.COMPARISONS
    predicate = operation.words[0] if operation.words else ""
    if predicate not in table:
        raise Unsupported(f"{operation.name} {predicate}", line=operation.text_line)
    return _result(operation, table[predicate](values[0].data, values[1].data))


def select(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    condition, yes, no = values
    chosen = condition.data
    if chosen.ndim < yes.data.ndim:
        chosen = chosen.reshape(chosen.shape[0], *(1,) * (yes.data.ndim - 1))
    origin = None
    if yes.origin is not None and no.origin is not None:
        origin = yes.origin
        if not (yes.origin.size == no.origin.size == 1 and (yes.origin == no.origin).all()):
            origin = np.where(chosen, yes.origin, no.origin)
    return Value(operation.result_types[0], np.where(chosen, yes.data, no.data), origin)


def clamp(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``tt.clampf``: NaN gives NaN with ``propagateNan = all``, else the lower bound (TritonOps.td)."""
    x, low, high = (value.data for value in values)
    if operation.attributes.get("propagateNan") == "all":
        return _result(operation, np.minimum(np.maximum(x, low), high))
    return _result(operation, np.fmin(np.fmax(x, low), high))


def resize(*, signed: bool) -> Handler:
    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        return _result(operation, integers.resized(operation.result_types[0], values[0].data, signed=signed))

    return run


def convert_float(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``arith.extf``, ``arith.truncf``, ``tt.fp_to_fp``."""
    to_zero = operation.attributes.get("rounding") == "rtz"
    return _result(operation, rounded(operation.result_types[0], values[0].data, to_zero=to_zero))


def to_float(*, signed: bool) -> Handler:
    """An integer, rounded once where 53 bits hold it."""

    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        kind, data = operation.result_types[0], values[0].data
        if data.dtype == np.bool_:
            data = -data.astype(np.int8) if signed else data.astype(np.int8)
        elif not signed:
            data = unsigned(data)
        direct = held_dtype(kind) if name_of(kind) in ("f32", "f64") else np.dtype(np.float64)
        return _result(operation, rounded(kind, data.astype(direct)))

    return run


def from_float(*, signed: bool) -> Handler:
    def run(frame: Frame, operation: Operation, values: list[Value]) -> Value:
        kind = operation.result_types[0]
        data = floats.to_integer(values[0].data, held_dtype(kind), signed=signed, bits=bits_of(kind))
        return _result(operation, data)

    return run


def bitcast(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    source, kind = values[0], operation.result_types[0]
    if stored_dtype(source.type).itemsize != stored_dtype(kind).itemsize:
        raise Unsupported(operation.name, f"from {source.type} to {kind}", operation.text_line)
    if name_of(kind) == "ptr":
        return Value(kind, source.data, source.origin)
    raw = np.ascontiguousarray(encode(source.type, source.data)).view(stored_dtype(kind))
    return _result(operation, decode(kind, raw))


def integer_and_pointer(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``tt.ptr_to_int`` and ``tt.int_to_ptr``: an address that comes out of an integer belongs to no buffer yet."""
    return Value(operation.result_types[0], values[0].data)


def absolute_integer(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    return _result(operation, np.abs(values[0].data))


def count_bits(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    return _result(operation, integers.counted(operation.name, values[0].data))


def classify(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    tests = {"math.isnan": np.isnan, "math.isinf": np.isinf, "math.isfinite": np.isfinite}
    return _result(operation, tests[operation.name](values[0].data))


def extended(frame: Frame, operation: Operation, values: list[Value]) -> tuple[Value, ...]:
    """Sum and carry, or the lower and the upper half of a product."""
    left, right = (value.data for value in values)
    low = left + right if operation.name == "arith.addui_extended" else left * right
    if operation.name == "arith.addui_extended":
        high = unsigned(low) < unsigned(left)
    elif operation.name == "arith.mulsi_extended":
        high = integers.signed_high_half(left, right)
    else:
        high = integers.high_half(left, right)
    return tuple(Value(kind, data) for kind, data in zip(operation.result_types, (low, high), strict=True))


HANDLERS: dict[str, Handler] = {
    **{
        name: float_function(name, function)
        for table in (floats.BINARY, floats.UNARY, floats.TERNARY)
        for name, function in table.items()
    },
    **{name: integer_function(function) for name, function in integers.BINARY.items()},
    **{name: division(function) for name, function in integers.DIVISIONS.items()},
    "arith.cmpi": compare,
    "arith.cmpf": compare,
    "arith.select": select,
    "tt.clampf": clamp,
    "arith.extsi": resize(signed=True),
    "arith.extui": resize(signed=False),
    "arith.trunci": resize(signed=True),
    "arith.index_cast": resize(signed=True),
    "arith.index_castui": resize(signed=False),
    "arith.extf": convert_float,
    "arith.truncf": convert_float,
    "tt.fp_to_fp": convert_float,
    "arith.sitofp": to_float(signed=True),
    "arith.uitofp": to_float(signed=False),
    "arith.fptosi": from_float(signed=True),
    "arith.fptoui": from_float(signed=False),
    "arith.bitcast": bitcast,
    "tt.bitcast": bitcast,
    "tt.ptr_to_int": integer_and_pointer,
    "tt.int_to_ptr": integer_and_pointer,
    "math.absi": absolute_integer,
    "math.ctpop": count_bits,
    "math.ctlz": count_bits,
    "math.cttz": count_bits,
    "math.isnan": classify,
    "math.isinf": classify,
    "math.isfinite": classify,
    "arith.addui_extended": extended,
    "arith.mulsi_extended": extended,
    "arith.mului_extended": extended,
    "tt.extern_elementwise": library.call,
}
