"""Reads and writes through pointers, with every check: bounds, alignment, initialisation, races."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .findings import Kind
from .formats import Array, unsigned
from .ir import Operation
from .memory import Buffer
from .state import Frame
from .values import ANYWHERE, Value


@dataclass(frozen=True, slots=True)
class Reach:
    """What of an access goes to one buffer. ``offsets``: bytes from its start; ``on``: None where all elements do.

    Both have the programs as their first axis (or 1) and broadcast against each other.
    """

    buffer: Buffer
    offsets: Array
    on: Array | None


def reaches(frame: Frame, pointers: Value, on: Array | None) -> Iterator[Reach]:
    """An access by buffer. Nearly always there is one."""
    memory, addresses, origin = frame.launch.memory, pointers.data, pointers.origin
    if origin is None:
        origin = np.full((1,) * addresses.ndim, ANYWHERE, np.int64)
    if origin.size > 1 or origin.flat[0] == ANYWHERE:
        origin = np.where(origin == ANYWHERE, memory.around(addresses), origin)
    numbers = np.unique(origin)
    for number in numbers:
        buffer = memory.buffers[number]
        here = on
        if numbers.size > 1:
            here = origin == number if on is None else on & (origin == number)
        yield Reach(buffer, addresses - buffer.base, here)


def checked(frame: Frame, operation: Operation, reach: Reach, width: int, verb: str) -> tuple[Array, Array | None]:
    """Indices in elements of ``width`` bytes, those out of bounds set to 0; and which elements are on and in bounds."""
    units = reach.buffer.raw.size // width
    if width > 1:
        indices = reach.offsets >> (width.bit_length() - 1)
        if (reach.offsets & (width - 1)).any():
            _report_misaligned(frame, operation, reach, width, verb)
    else:
        indices = reach.offsets
    if not indices.size or (indices.min() >= 0 and indices.max() < units):
        return indices, reach.on
    inside = (indices >= 0) & (indices < units)
    wrong = ~inside if reach.on is None else reach.on & ~inside
    count = np.count_nonzero(wrong)
    if count:
        wrong = np.broadcast_to(wrong, (len(frame.ids), *wrong.shape[1:]))
        first = int(np.argmax(wrong))
        program, index = _at(frame, wrong, first), int(np.broadcast_to(indices, wrong.shape).flat[first])
        message = f"{verb} element {index} of {reach.buffer.name}, which has {units}"
        _report(frame, Kind.OUT_OF_BOUNDS, operation, message, program, reach.buffer, index, int(count))
    return np.where(inside, indices, 0), inside if reach.on is None else reach.on & inside


def _report_misaligned(frame: Frame, operation: Operation, reach: Reach, width: int, verb: str) -> None:
    odd = (reach.offsets & (width - 1)) != 0
    if reach.on is not None:
        odd = odd & reach.on
    if odd.any():
        odd = np.broadcast_to(odd, (len(frame.ids), *odd.shape[1:]))
        first = int(np.argmax(odd))
        byte = int(np.broadcast_to(reach.offsets, odd.shape).flat[first])
        message = f"{verb} {width} bytes at byte {byte} of {reach.buffer.name}, no multiple of {width}"
        _report(frame, Kind.MISALIGNED, operation, message, _at(frame, odd, first), reach.buffer, byte, int(odd.sum()))


def _report(
    frame: Frame, kind: Kind, operation: Operation, message: str, program: int, buffer: Buffer, index: int, count: int
) -> None:
    frame.launch.findings.add(kind, operation, message, program, buffer=buffer.name, index=index, count=int(count))


def _at(frame: Frame, full: Array, position: int) -> int:
    return int(frame.ids[position // max(1, full.size // len(frame.ids))])


def watched(frame: Frame, verb: str, reach: Reach, indices: Array, on: Array | None, width: int) -> None:
    if frame.launch.watcher is not None:
        frame.launch.watcher.access(verb, reach.buffer, indices, on, width)


def fetch(frame: Frame, operation: Operation, pointers: Value, on: Array | None, dtype: np.dtype) -> Array:
    """Elements as they lie in memory, ``dtype``; 0 where ``on`` is false, and out of bounds."""
    result: Array | None = None
    for reach in reaches(frame, pointers, on):
        indices, inside = checked(frame, operation, reach, dtype.itemsize, "reads")
        watched(frame, "reads", reach, indices, inside, dtype.itemsize)
        elements = reach.buffer.elements(dtype)
        values = elements.take(indices) if elements.size else np.zeros(indices.shape, dtype)
        if inside is not None:
            values = np.where(inside, values, np.zeros((), dtype))
        _watch_read(frame, operation, reach.buffer, indices, inside, dtype.itemsize)
        result = values if result is None or inside is None else np.where(inside, values, result)
    return result if result is not None else np.zeros(pointers.data.shape, dtype)


def _flat(frame: Frame, indices: Array, on: Array | None) -> tuple[Array, Array]:
    """Indices and programs of the elements that are on, in program order."""
    tail = indices.shape[1:] if on is None else np.broadcast_shapes(indices.shape[1:], on.shape[1:])
    shape = (len(frame.ids), *tail)
    full = np.broadcast_to(indices, shape)
    programs = frame.lanes(full)
    if on is None:
        return full.ravel(), programs.ravel()
    on = np.broadcast_to(on, shape)
    return full[on], programs[on]


def _watch_read(
    frame: Frame, operation: Operation, buffer: Buffer, indices: Array, on: Array | None, width: int
) -> None:
    shadowed = frame.launch.shadow(buffer, width)
    if shadowed is None and (buffer.initialised is None or buffer.initialised.all()):
        return
    units, programs = _flat(frame, indices, on)
    if not units.size:
        return
    watch_initialised(frame, operation, buffer, units, programs, width)
    if shadowed is not None:
        shadow, factor = shadowed
        racing = shadow.read(*spread(units, programs, factor))
        report_race(frame, operation, buffer, units, programs, racing // factor, "reads", "wrote")


def watch_initialised(
    frame: Frame, operation: Operation, buffer: Buffer, units: Array, programs: Array, width: int
) -> None:
    """Reports reads of what nothing wrote."""
    if buffer.initialised is None:
        return
    bad = ~buffer.initialised[units * width // buffer.unit]
    if bad.any():
        first = int(np.argmax(bad))
        index = int(units[first])
        message = f"reads element {index} of {buffer.name}, which nothing wrote"
        _report(frame, Kind.UNINITIALISED, operation, message, int(programs[first]), buffer, index, bad.sum())


def spread(units: Array, programs: Array, factor: int) -> tuple[Array, Array]:
    """An access that covers several units of the shadow is one to each."""
    if factor == 1:
        return units, programs
    return (units[:, None] * factor + np.arange(factor)).ravel(), np.repeat(programs, factor)


def report_race(
    frame: Frame,
    operation: Operation,
    buffer: Buffer,
    units: Array,
    programs: Array,
    racing: Array,
    verb: str,
    other: str,
) -> None:
    if racing.size:
        first = int(racing[0])
        index = int(units[first])
        message = f"{verb} element {index} of {buffer.name}, which another program {other} in this launch"
        _report(frame, Kind.RACE, operation, message, int(programs[first]), buffer, index, racing.size)


def put(frame: Frame, operation: Operation, pointers: Value, on: Array | None, values: Array) -> None:
    """Writes elements as they lie in memory. Of several to one place the last in program order stays, and is reported
    where they differ.
    """
    width = values.dtype.itemsize
    for reach in reaches(frame, pointers, on):
        indices, inside = checked(frame, operation, reach, width, "writes")
        watched(frame, "writes", reach, indices, inside, width)
        tail = np.broadcast_shapes(indices.shape[1:], values.shape[1:], () if inside is None else inside.shape[1:])
        units, programs = _flat(frame, np.broadcast_to(indices, (indices.shape[0], *tail)), inside)
        if not units.size:
            continue
        shape = (len(frame.ids), *tail)
        full = np.broadcast_to(values, shape)
        given = full.ravel() if inside is None else full[np.broadcast_to(inside, shape)]
        write(frame, operation, reach.buffer, units, programs, np.ascontiguousarray(given))


def write(frame: Frame, operation: Operation, buffer: Buffer, units: Array, programs: Array, given: Array) -> None:
    """Plain writes of ``given`` to elements ``units`` of its width, in program order."""
    width = given.dtype.itemsize
    elements = unsigned(buffer.elements(given.dtype))
    bits = unsigned(given)
    changed = elements[units] != bits
    if buffer.initialised is not None:
        places: Array = units * width // buffer.unit
        changed |= ~buffer.initialised[places]
        buffer.initialised[places] = True
    elements[units] = bits
    clash = np.flatnonzero(elements[units] != bits)
    report_race(frame, operation, buffer, units, programs, clash, "writes", "(or element of this one) writes otherwise")
    shadowed = frame.launch.shadow(buffer, width)
    if shadowed is not None:
        shadow, factor = shadowed
        covered, by = spread(units, programs, factor)
        racing = shadow.write(covered, by, np.repeat(changed, factor), atomic=False)
        report_race(frame, operation, buffer, units, programs, racing // factor, "writes", "read or wrote")
