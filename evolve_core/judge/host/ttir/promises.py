"""What a kernel promises the compiler about values, and whether the values keep it.

``tl.multiple_of`` and ``tl.max_constancy`` become attributes of the operation that makes the value, one number for each
dimension. The compiler widens accesses by them and never looks at a value: a broken promise reads and writes other
places than the kernel says, on some inputs. ``tl.max_contiguous`` is not held against values: tiles that wrap around
at an edge break it in kernels that are right, and what it makes wider is what ``tl.multiple_of`` allows.

A divisor speaks of the first element of every run of consecutive ones, in bytes where the value is a pointer
(``AxisInfo`` of Triton's Analysis/AxisInfo.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .covering import UNDEFINED
from .errors import BadIr
from .findings import Kind
from .formats import Array, name_of
from .ir import Operation, Pointer, Scalar, Tensor, Type, element_of, shape_of
from .pointers import pointee_bytes
from .state import Frame
from .values import Value

_DIVISIBILITY, _CONSTANCY = "tt.divisibility", "tt.constancy"
_MOST = 1 << 31
"""Larger numbers than that promise nothing about a GPU's accesses."""


@dataclass(frozen=True, slots=True)
class Promise:
    """``divisor``: of the first element of each run along ``axis`` (0 is the first of the tensor, or the number itself
    where it is none). ``alike``: how many neighbours along it are equal. 1 promises nothing.
    """

    axis: int
    divisor: int
    alike: int


def promises_of(operation: Operation) -> tuple[Promise, ...]:
    """Of the one result of ``operation``; empty where there are none that are held against values. Raises BadIr."""
    if len(operation.results) != 1 or operation.name == UNDEFINED or not _speaks_of(operation.result_types[0]):
        return ()
    rank = max(1, len(shape_of(operation.result_types[0])))
    divisors, alike = (_numbers(operation, name, rank) for name in (_DIVISIBILITY, _CONSTANCY))
    found = [Promise(axis, divisors[axis], alike[axis]) for axis in range(rank)]
    return tuple(one for one in found if one.divisor > 1 or one.alike > 1)


def _speaks_of(kind: Type) -> bool:
    """Integers, truth values and addresses: what accesses are made of."""
    element = element_of(kind)
    if isinstance(element, Pointer):
        return not isinstance(element.pointee, Tensor)
    return isinstance(element, Scalar) and element.name.startswith("i")


def _numbers(operation: Operation, name: str, rank: int) -> tuple[int, ...]:
    given = operation.attributes.get(name, 1)
    numbers = given if isinstance(given, tuple) else (given,) * rank
    whole = tuple(one for one in numbers if isinstance(one, int) and 0 < one <= _MOST)
    if len(whole) != rank:
        raise BadIr(f"{name} of {operation.name} is not {rank} positive whole numbers", operation.text_line)
    return whole


def check_promises(frame: Frame, operation: Operation, promises: tuple[Promise, ...], value: Value) -> None:
    """Every promise that some program's value breaks becomes a finding."""
    for promise in promises:
        for words, wrong in _broken(promise, value):
            if not wrong.any():
                continue
            full = np.broadcast_to(wrong, (len(frame.ids), *wrong.shape[1:]))
            first = int(np.argmax(full))
            program = int(frame.lanes(full).flat[first])
            # An address says nothing to people, and differs from run to run.
            seen = "" if name_of(value.type) == "ptr" else f", and is {_at(value.data, full, first)}"
            message = f"the kernel promises {words}{seen}"
            frame.launch.findings.add(Kind.BROKEN_PROMISE, operation, message, program, count=int(full.sum()))


def _broken(promise: Promise, value: Value) -> Iterator[tuple[str, Array]]:
    """What was promised, in words, and where it does not hold."""
    rank = len(shape_of(value.type))
    along = 1 + promise.axis if rank else None
    where = f" along axis {promise.axis}" if rank > 1 else ""
    if promise.divisor > 1 and value.data.dtype != np.bool_:
        unit = " bytes" if name_of(value.type) == "ptr" else ""
        wrong = (value.data.astype(np.int64) % promise.divisor != 0) & _starts_run(value, along)
        yield f"a multiple of {promise.divisor}{unit}{where}", wrong
    if promise.alike > 1 and along is not None:
        length = value.data.shape[along]
        first: Array = np.arange(length) // promise.alike * promise.alike
        yield f"{promise.alike} equal neighbours{where}", value.data != np.take(value.data, first, axis=along)


def _starts_run(value: Value, along: int | None) -> Array:
    """Which elements do not follow the one before them along the axis."""
    starts: Array = np.ones(value.data.shape, np.bool_)
    if along is None or value.data.shape[along] == 1:
        return starts
    step = pointee_bytes(value.type) if name_of(value.type) == "ptr" else 1
    later = [slice(None)] * value.data.ndim
    later[along] = slice(1, None)
    starts[tuple(later)] = np.diff(value.data.astype(np.int64), axis=along) != step
    return starts


def _at(data: Array, full: Array, position: int) -> int:
    return int(np.broadcast_to(data, full.shape).flat[position])
