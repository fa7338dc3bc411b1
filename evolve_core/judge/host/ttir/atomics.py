"""Atomic operations, one program after the other in the order of the grid, elements in the order of the tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import access
from .errors import Unsupported
from .formats import Array, decode, encode, is_float, rounded, stored_dtype, unsigned
from .ir import Operation, Type, shape_of
from .memory import Buffer
from .state import Frame
from .values import Held, Value

Combine = Callable[[Array, Array], Array]


def _of_unsigned(operation: Combine) -> Combine:
    return lambda old, new: operation(unsigned(old), unsigned(new)).view(old.dtype)


_COMBINE: dict[str, Combine] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "add": np.add,
    "fadd": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "umax": _of_unsigned(np.maximum),
    "umin": _of_unsigned(np.minimum),
    "exch": lambda old, new: new,
}
_SEMANTICS = frozenset(("relaxed", "acquire", "release", "acq_rel"))


def read_modify_write(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    """``tt.atomic_rmw``: gives what was there before."""
    pointers, value = _value(values[0], operation), _value(values[1], operation)
    on = _value(values[2], operation).data if len(values) > 2 else None
    kind = operation.words[0] if operation.words else ""
    return Value(value.type, combine_plain(frame, operation, kind, pointers, value, on))


def combine_plain(
    frame: Frame, operation: Operation, kind: str, pointers: Value, value: Value, on: Array | None
) -> Array:
    """The old elements; 0 where ``on`` is false."""
    combine = _COMBINE.get(kind)
    if combine is None:
        raise Unsupported(f"{operation.name} {kind}", line=operation.text_line)
    return _atomically(frame, operation, pointers, value.type, on, [value.data], combine)


def compare_and_swap(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    """``tt.atomic_cas``: compares bits."""
    pointers, expected, new = (_value(held, operation) for held in values)

    def swap(old: Array, wanted: Array, instead: Array) -> Array:
        return np.where(unsigned(encode(new.type, old)) == unsigned(encode(new.type, wanted)), instead, old)

    given = [expected.data, new.data]
    return Value(new.type, _atomically(frame, operation, pointers, new.type, None, given, swap))


def _value(held: Held, operation: Operation) -> Value:
    if not isinstance(held, Value):
        raise Unsupported(operation.name, f"of {held.type} is not interpreted", operation.text_line)
    return held


def _atomically(
    frame: Frame,
    operation: Operation,
    pointers: Value,
    kind: Type,
    on: Array | None,
    given: list[Array],
    combine: Callable[..., Array],
) -> Array:
    shape = (len(frame.ids), *shape_of(kind))
    old: Array = np.zeros(shape, given[0].dtype)
    stored = stored_dtype(kind)
    for reach in access.reaches(frame, pointers, on):
        indices, inside = access.checked(frame, operation, reach, stored.itemsize, "updates")
        access.watched(frame, "updates", reach, np.broadcast_to(indices, shape), inside, stored.itemsize)
        active = np.ones(shape, np.bool_) if inside is None else np.broadcast_to(inside, shape)
        units = np.broadcast_to(indices, shape)[active]
        programs = frame.lanes(active)[active]
        arguments = [np.broadcast_to(data, shape)[active] for data in given]
        frame.launch.work.atomics += units.size
        access.watch_initialised(frame, operation, reach.buffer, units, programs, stored.itemsize)
        before = reach.buffer.elements(stored)[units]
        old[active] = _in_rounds(kind, reach.buffer, units, arguments, combine)
        _watch(frame, operation, reach.buffer, units, programs, before)
    words = [word for word in operation.words if word in _SEMANTICS]
    frame.launch.order.atomic(frame.ids, words[0] if words else "relaxed")
    return old


def _in_rounds(
    kind: Type, buffer: Buffer, units: Array, arguments: list[Array], combine: Callable[..., Array]
) -> Array:
    """Each round takes the next operation on every element, so that no element is touched twice in one."""
    elements = buffer.elements(stored_dtype(kind))
    rank = _rank_among_equals(units)
    old: Array = np.zeros(units.shape, arguments[0].dtype)
    by_round = np.argsort(rank, kind="stable")
    for now in np.split(by_round, np.cumsum(np.bincount(rank))[:-1]) if units.size else []:
        old[now] = decode(kind, elements[units[now]])
        new = combine(old[now], *(argument[now] for argument in arguments))
        elements[units[now]] = encode(kind, rounded(kind, new) if is_float(kind) else new)
    return old


def _rank_among_equals(units: Array) -> Array:
    """For every position, how many before it are the same."""
    order = np.argsort(units, kind="stable")
    ordered = units[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if units.size else units
    lengths: Array = np.diff(np.append(starts, units.size))
    rank: Array = np.empty(units.size, np.int64)
    rank[order] = np.arange(units.size) - np.repeat(starts, lengths)
    return rank


def _watch(frame: Frame, operation: Operation, buffer: Buffer, units: Array, programs: Array, before: Array) -> None:
    shadowed = frame.launch.shadow(buffer, before.dtype.itemsize)
    if shadowed is not None and units.size:
        shadow, factor = shadowed
        covered, by = access.spread(units, programs, factor)
        changed = unsigned(buffer.elements(before.dtype)[units]) != unsigned(before)
        racing = shadow.write(covered, by, np.repeat(changed, factor), atomic=True)
        access.report_race(frame, operation, buffer, units, programs, racing // factor, "updates", "wrote plainly")


HANDLERS = {"tt.atomic_rmw": read_modify_write, "tt.atomic_cas": compare_and_swap}
