"""Counts the arithmetic of a program by wrapping the interpreter's operations.

An element of a block is one operation. Weights are instructions per element on a GPU where one operation of the
language becomes several (CUDA C++ Programming Guide, "Arithmetic Instructions"; PTX ISA for the approximations);
they are rough, and only ratios between variants of one kernel rest on them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..account.records import Counts
from . import compat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONSTANT = "kernel_evolve.constant"
_DOT = "kernel_evolve.dot"

_FP = dict.fromkeys(
    (
        "fadd", "fsub", "fmul", "fneg", "fma", "fabs", "floor", "ceil",
        "minimumf", "minnumf", "maximumf", "maxnumf", "si_to_fp", "ui_to_fp", "fp_to_si", "fp_to_ui",
        "fp_ext", "fp_trunc", "fp_to_fp",
        "fcmpOLT", "fcmpOGT", "fcmpOLE", "fcmpOGE", "fcmpOEQ", "fcmpONE",
        "fcmpULT", "fcmpUGT", "fcmpULE", "fcmpUGE", "fcmpUEQ", "fcmpUNE",
    ),
    (1.0, 0.0),
)  # fmt: skip
_FP["clampf"] = (2.0, 0.0)
# Operations with a special-function step: (plain instructions around it, special-function instructions).
_SPECIAL = {
    "exp2": (0.0, 1.0),
    "exp": (1.0, 1.0),  # a multiplication by log2(e) first
    "log2": (1.0, 1.0),
    "log": (2.0, 1.0),
    "sin": (1.0, 1.0),
    "cos": (1.0, 1.0),
    "sqrt": (0.0, 1.0),
    "rsqrt": (0.0, 1.0),
    "precise_sqrt": (6.0, 1.0),
    "fdiv": (2.0, 1.0),  # div.full: a reciprocal, a multiplication, a range correction
    "approx_divf": (1.0, 1.0),
    "precise_divf": (8.0, 1.0),
    "frem": (8.0, 1.0),
    "erf": (12.0, 1.0),
}
_INTEGER = (
    "add", "sub", "mul", "shl", "lshr", "ashr", "and", "or", "xor", "iabs", "umulhi", "int_cast", "addptr",
    "minsi", "minui", "maxsi", "maxui",
    "icmpSLE", "icmpSLT", "icmpSGE", "icmpSGT", "icmpULE", "icmpULT", "icmpUGE", "icmpUGT", "icmpEQ", "icmpNE",
)  # fmt: skip
_DIVISION = ("sdiv", "udiv", "srem", "urem")
_RUNTIME_DIVISION, _CONSTANT_DIVISION, _POWER_OF_TWO_DIVISION = 20.0, 5.0, 2.0
_CONSTANTS = (
    "get_int1", "get_int8", "get_uint8", "get_int16", "get_uint16", "get_int32", "get_uint32", "get_int64",
    "get_uint64", "get_fp16", "get_bf16", "get_fp32", "get_fp64", "get_null_value",
)  # fmt: skip
_KEEP_CONSTANT = ("create_splat", "create_broadcast", "create_expand_dims", "create_reshape")


class Counter:
    """Where the wrapped operations put their counts; ``current`` is None while nothing is to be counted."""

    def __init__(self) -> None:
        self.current: Counts | None = None
        self.waited = True
        """Something since the last load had to wait for loaded values; the next load is another trip to memory."""


def _size(result: Any) -> int:
    return int(result.data.size) if isinstance(result, compat.TensorHandle) else 0


def _mark_constant(handle: Any) -> None:
    """Remembers that the compiler knows this value; ``handle`` holds it in every element."""
    value = handle.data.flat[0] if handle.data.size else 0
    handle.attr[_CONSTANT] = int(value) if np.issubdtype(handle.data.dtype, np.integer) else 0


def _folded(args: tuple[Any, ...], result: Any) -> bool:
    """An operation on constants alone costs nothing at run time, and its result is a constant."""
    handles = [argument for argument in args if isinstance(argument, compat.TensorHandle)]
    if not handles or any(_CONSTANT not in handle.attr for handle in handles):
        return False
    if isinstance(result, compat.TensorHandle):
        _mark_constant(result)
    return True


def _arithmetic(counter: Counter, name: str, plain: str, weights: tuple[float, float]) -> Callable[..., Any]:
    original = compat.operation(f"create_{name}")
    is_add = name == "fadd"

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        counts = counter.current
        if counts is None or _folded(args, result):
            return result
        if is_add and any(_DOT in argument.attr for argument in args):
            return result  # `acc += tl.dot(a, b)` accumulates inside the matrix instruction
        elements = _size(result)
        counts.add(plain, elements * weights[0])
        counts.add("special_ops", elements * weights[1])
        return result

    return call


def _select(counter: Counter) -> Callable[..., Any]:
    original = compat.operation("create_select")

    def call(condition: Any, yes: Any, no: Any) -> Any:
        result = original(condition, yes, no)
        if counter.current is not None:
            counter.current.add("fp_ops" if no.dtype.scalar.is_floating() else "int_ops", _size(result))
        return result

    return call


def _division(counter: Counter, name: str) -> Callable[..., Any]:
    original = compat.operation(f"create_{name}")

    def call(left: Any, right: Any) -> Any:
        result = original(left, right)
        if counter.current is not None:
            constant = right.attr.get(_CONSTANT)
            weight = _RUNTIME_DIVISION
            if constant:
                weight = _CONSTANT_DIVISION if constant & (constant - 1) else _POWER_OF_TWO_DIVISION
            counter.current.add("int_ops", _size(result) * weight)
        return result

    return call


def _constant(name: str) -> Callable[..., Any]:
    original = compat.operation(name)

    def call(value: Any) -> Any:
        result = original(value)
        _mark_constant(result)
        return result

    return call


def _keeping(name: str) -> Callable[..., Any]:
    original = compat.operation(name)

    def call(*args: Any) -> Any:
        result = original(*args)
        _folded(args, result)
        return result

    return call


def _dot_kind(left: Any, precision: Any) -> tuple[str, float]:
    """The data type a target's table of peaks is asked for, and how many products are made for one."""
    kind = str(left.dtype.scalar)
    if kind == "fp32":
        text = str(precision).upper()
        passes = 3.0 if "X3" in text else 6.0 if "X6" in text else 1.0
        if "BF16" in text:
            return "bf16", passes
        return ("tf32", passes) if "TF32" in text else ("fp32", 1.0)
    return ("fp8" if kind.startswith("fp8") else kind), 1.0


def _count_dot(counter: Counter, kind: str, passes: float, m: int, n: int, k: int, batch: int) -> None:
    if counter.current is None:
        return
    counter.current.add_dot(kind, passes, m, n, k, batch)


def _dot(counter: Counter) -> Callable[..., Any]:
    def call(a: Any, b: Any, d: Any, precision: Any, *_: Any) -> Any:
        kind, passes = _dot_kind(a, precision)
        *batch, m, k = a.data.shape
        _count_dot(counter, kind, passes, m, b.data.shape[-1], k, int(np.prod(batch, initial=1)))
        # The product itself would cost more than everything else here, and no address depends on it.
        result = compat.TensorHandle(d.data, d.dtype.scalar)
        if not d.data.any():
            result.attr[_DOT] = True
        return result

    return call


def _dot_scaled(counter: Counter) -> Callable[..., Any]:
    def call(left: Any, left_scale: Any, left_format: Any, right: Any, *rest: Any) -> Any:
        accumulator = rest[-1]
        packed = "E2M1" in str(left_format).upper()
        m, n = accumulator.data.shape[-2:]
        k = left.data.shape[-1] * (2 if packed else 1)
        _count_dot(counter, "fp4" if packed else "fp8", 1.0, m, n, k, 1)
        return accumulator

    return call


@contextlib.contextmanager
def _counted_reductions(counter: Counter) -> Iterator[None]:
    originals = [(cls, cls.apply_impl) for cls in (compat.ReduceOps, compat.ScanOps)]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, operands: Any) -> Any:
            counts, counter.current = counter.current, None  # a custom combine function is interpreted, per element
            try:
                result = original(self, operands)
            finally:
                counter.current = counts
            counter.waited = True  # values of all warps came together; no load is moved up across that
            if counts is not None:
                counts.add("reductions", 1.0)
                for operand in operands:
                    counts.add("fp_ops" if operand.dtype.is_floating() else "int_ops", operand.handle.data.size)
            return result

        return call

    for cls, original in originals:
        cls.apply_impl = wrap(original)
    try:
        yield
    finally:
        for cls, original in originals:
            cls.apply_impl = original


@contextlib.contextmanager
def counted(counter: Counter) -> Iterator[None]:
    """While open, operations add to ``counter.current``, and matrix products are counted instead of computed."""
    replacements = {
        f"create_{name}": _arithmetic(counter, name, "fp_ops", w) for name, w in _present({**_FP, **_SPECIAL})
    }
    replacements |= {
        f"create_{name}": _arithmetic(counter, name, "int_ops", w)
        for name, w in _present(dict.fromkeys(_INTEGER, (1.0, 0.0)))
    }
    replacements |= {
        f"create_{name}": _division(counter, name) for name in _DIVISION if compat.has_operation(f"create_{name}")
    }
    replacements |= {name: _constant(name) for name in _CONSTANTS if compat.has_operation(name)}
    replacements |= {name: _keeping(name) for name in _KEEP_CONSTANT if compat.has_operation(name)}
    replacements |= {"create_select": _select(counter), "create_dot": _dot(counter)}
    replacements["create_dot_scaled"] = _dot_scaled(counter)  # left out where this Triton has none
    with compat.replaced_operations(replacements), _counted_reductions(counter):
        yield


def _present(weights: dict[str, tuple[float, float]]) -> list[tuple[str, tuple[float, float]]]:
    return [(name, weight) for name, weight in weights.items() if compat.has_operation(f"create_{name}")]
