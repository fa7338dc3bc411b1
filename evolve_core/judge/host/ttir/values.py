"""What operations compute with: one numpy array for all programs that run together.

The first axis of a value's array is the programs'; it has length 1 where all programs hold the same. Every further axis
is one of the tensor's, of its full length or of length 1 where the elements along it are equal. A splat or a broadcast
therefore costs nothing, and what depends on no program is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import BadIr
from .formats import Array, held_dtype
from .ir import Type, shape_of

ANYWHERE = -1
"""Origin of an address that was made out of an integer: it is looked up among all buffers."""


@dataclass(frozen=True, slots=True)
class Value:
    """``data``: ``(programs or 1, *shape)`` with axes of length 1 as above; dtype ``formats.held_dtype``.

    ``origin``, for pointers: the buffer that each address was derived from, int64, of a shape that broadcasts against
    ``data``'s.
    """

    type: Type
    data: Array
    origin: Array | None = None

    def full(self, programs: int | None = None) -> Array:
        """All axes at full length, the first only where ``programs`` is given. A read-only view."""
        lead = self.data.shape[0] if programs is None else programs
        return np.broadcast_to(self.data, (lead, *shape_of(self.type)))


@dataclass(frozen=True, slots=True)
class View:
    """A tensor descriptor or a block pointer: a part of memory seen as a strided tensor.

    ``shape``, ``strides`` (elements) and ``offsets`` (block pointers only) are scalars, one of each a dimension.
    ``padding``: ``zero`` or ``nan``, what a load gives beyond the edge.
    """

    type: Type
    base: Value
    shape: tuple[Value, ...]
    strides: tuple[Value, ...]
    offsets: tuple[Value, ...] = ()
    padding: str = "zero"


Held = Value | View


def number(held: Held) -> Value:
    """For operations on numbers and pointers. Raises BadIr for a descriptor or a block pointer."""
    if not isinstance(held, Value):
        raise BadIr(f"a {held.type} where a number or a pointer is needed", 0)
    return held


def uniform(held: Held) -> bool:
    """Whether all programs hold the same by construction."""
    return all(part.data.shape[0] == 1 for part in parts(held))


def parts(held: Held) -> tuple[Value, ...]:
    if isinstance(held, Value):
        return (held,)
    return (held.base, *held.shape, *held.strides, *held.offsets)


def rebuilt(held: Held, made: list[Value]) -> Held:
    """``held`` with other parts, in the order of ``parts``."""
    if isinstance(held, Value):
        return made[0]
    rank = len(held.shape)
    strides_end = 1 + 2 * rank
    return View(
        held.type,
        made[0],
        tuple(made[1 : 1 + rank]),
        tuple(made[1 + rank : strides_end]),
        tuple(made[strides_end:]),
        held.padding,
    )


def taken(held: Held, index: Array) -> Held:
    """The value for some of the programs: ``index`` are positions among those that run now."""
    return held if uniform(held) else rebuilt(held, [_taken(part, index) for part in parts(held)])


def _taken(value: Value, index: Array) -> Value:
    data = value.data if value.data.shape[0] == 1 else value.data[index]
    origin = value.origin
    if origin is not None and origin.shape[0] != 1:
        origin = origin[index]
    return Value(value.type, data, origin)


def merged(count: int, pieces: list[tuple[Array, Held]]) -> Held:
    """Puts together what groups of programs computed: ``(positions, value)`` each, of ``count`` programs in all."""
    if len(pieces) == 1:
        return pieces[0][1]
    columns = [parts(held) for _, held in pieces]
    made = [
        _merged(count, [(positions, column[place]) for (positions, _), column in zip(pieces, columns, strict=True)])
        for place in range(len(columns[0]))
    ]
    return rebuilt(pieces[0][1], made)


def _merged(count: int, pieces: list[tuple[Array, Value]]) -> Value:
    first = pieces[0][1]
    data = _scattered(count, [(positions, value.data) for positions, value in pieces], held_dtype(first.type))
    origin = None
    if first.origin is not None:
        origins = [(positions, value.origin) for positions, value in pieces if value.origin is not None]
        origin = _scattered(count, origins, np.dtype(np.int64))
    return Value(first.type, data, origin)


def _scattered(count: int, pieces: list[tuple[Array, Array]], dtype: np.dtype) -> Array:
    shape = np.broadcast_shapes(*(data.shape[1:] for _, data in pieces))
    result = np.zeros((count, *shape), dtype)
    for positions, data in pieces:
        result[positions] = data
    return result
