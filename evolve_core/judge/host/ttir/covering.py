"""Where a launch writes, without what: the operations that an address slice has in place of others (slicing.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import access
from .formats import Array, held_dtype
from .ir import Descriptor, Operation, Pointer, Scalar, Tensor, Type, element_of, shape_of
from .memory import Buffer
from .pointers import places_of, pointee_bytes
from .state import Frame
from .values import Held, Value, View, number

COVERS, UNDEFINED = "covers", "undefined"
"""Names without a dot, which no text can have. ``words`` of either: the operation that was there."""
CARRIED_OUT = "carried out"
"""Attribute of a ``COVERS`` beside the operation itself: what the elements hold is known."""
_UPDATES = ("tt.atomic_rmw", "tt.atomic_cas", "tt.descriptor_reduce")


def covers(frame: Frame, operation: Operation, values: list[Held]) -> None:
    """Marks the elements as their programs' own. Nobody knows what they hold from now on, unless it is carried out."""
    target, given = values[0], [number(one) for one in values[1:]]
    if isinstance(target, View):
        pointers, on = places_of(target, tuple(given), operation)
    else:
        pointers, on = target, given[0].data if given else None
    if on is not None and on.all():
        on = None
    width = pointee_bytes(pointers.type)
    verb = "updates" if operation.words[0] in _UPDATES else "writes"
    for reach in access.reaches(frame, pointers, on):
        indices, inside = access.checked(frame, operation, reach, width, verb)
        units = _mark(frame, reach.buffer, indices, inside, width)
        if reach.buffer.initialised is not None and CARRIED_OUT not in operation.attributes:
            reach.buffer.initialised[units[units < reach.buffer.initialised.size]] = False
        reach.buffer.covered_at = operation.location


def _mark(frame: Frame, buffer: Buffer, indices: Array, on: Array | None, width: int) -> Array:
    """The units that belong to the programs now; one past the end for those that are off."""
    owners = buffer.owners
    nowhere = owners.size - 1
    units, on = _units(indices, on, width, buffer.unit)
    if on is not None:
        units = np.where(on, units, nowhere)
    ids: Array = (frame.ids + frame.launch.memory.first_owner).astype(np.int32)
    if units.shape[0] == 1:
        ids = ids[-1:]
    owners[units] = ids.reshape(-1, *(1,) * (units.ndim - 1))
    return units


def _units(indices: Array, on: Array | None, width: int, unit: int) -> tuple[Array, Array | None]:
    """Accesses of ``width`` bytes as ones to the buffer's own units: several of them, or a part of one."""
    if width <= unit:
        return indices if width == unit else indices * width // unit, on
    factor = width // unit
    return indices[..., None] * factor + np.arange(factor), None if on is None else on[..., None]


def undefined(frame: Frame, operation: Operation, values: list[Held]) -> tuple[Held, ...]:
    """Something of the right types, for places that nothing reads."""
    return tuple(_anything(kind) for kind in operation.result_types)


def _anything(kind: Type) -> Held:
    block = kind.block if isinstance(kind, Descriptor) else kind.pointee if isinstance(kind, Pointer) else None
    if not isinstance(block, Tensor):
        return _zero(kind)
    rank = len(block.shape)
    sizes, offsets = (_zero(Scalar("i64")),) * rank, (_zero(Scalar("i32")),) * rank
    element = element_of(block)
    base = _zero(Pointer(element if isinstance(element, Scalar | Pointer) else Scalar("i8")))
    return View(kind, base, sizes, sizes, () if isinstance(kind, Descriptor) else offsets)


def _zero(kind: Type) -> Value:
    return Value(kind, np.zeros((1,) * (1 + len(shape_of(kind))), held_dtype(kind)))


HANDLERS: dict[str, Callable[[Frame, Operation, list[Held]], object]] = {COVERS: covers, UNDEFINED: undefined}
