"""Accesses that the compiler makes several elements wide because a kernel told it something, made as the device makes
them.

``tl.multiple_of``, ``tl.max_contiguous`` and ``tl.max_constancy`` are never checked by the compiler. A vector is one
access at the first element's address, under the first element's mask. Where the others are no neighbours of that, or
are masked otherwise, the kernel reads and writes other places than it says: these are what is read and written here,
and bounds, races and outputs show whether it matters. An address that divides by less than the vector's size is a fault
on the device, and a finding. An access that is as wide without the hints is none of their doing, and stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .axes import Known, has_hints
from .covering import COVERS
from .errors import Unsupported
from .findings import Kind
from .formats import Array
from .ir import Function, Module, Operation, Pointer, Tensor, element_of, shape_of, size_of
from .knowing import known_values
from .plan import operations_of
from .pointers import pointee_bytes
from .state import Frame
from .values import Held, Value

_MOST_BYTES = 16
"""Of one vector: PTX has none wider before sm_100, and Triton makes none."""
_WARP = 32
_MASKS = {"tt.load": 1, "tt.store": 2, "tt.atomic_rmw": 2, COVERS: 1}
"""Which operand is the mask; pointers come first."""
_VERBS = {"tt.load": "reads", "tt.store": "writes", "tt.atomic_rmw": "updates"}


@dataclass(frozen=True, slots=True)
class Wide:
    """``elements`` along ``axis`` are one access."""

    axis: int
    elements: int


def wide_accesses(module: Module) -> dict[int, Wide]:
    """By the identity of each access that hints make wider; empty for a module without hints.

    Raises Unsupported where hints and calls are in one module: the compiler carries what it knows into a function.
    """
    operations = {
        function: list(operations_of(function.body)) for function in module.functions.values() if function.body.blocks
    }
    everything = [one for listed in operations.values() for one in listed]
    if not any(has_hints(one) for one in everything):
        return {}
    if any(one.name == "tt.call" for one in everything):
        raise Unsupported("tt.call", "beside hints to the compiler is not followed")
    found: dict[int, Wide] = {}
    for function, listed in operations.items():
        found.update(_in_function(function, listed))
    return found


def _in_function(function: Function, operations: list[Operation]) -> dict[int, Wide]:
    told, untold = (known_values(function, with_hints=hints) for hints in (True, False))
    found = {}
    for operation in operations:
        if operation.name in _MASKS and _is_access(operation):
            wide, plain = _width(operation, told), _width(operation, untold)
            if wide.elements > 1 and (wide.elements > plain.elements or wide.axis != plain.axis):
                found[id(operation)] = wide
    return found


def _is_access(operation: Operation) -> bool:
    kind = operation.operand_types[0]
    element = element_of(kind)
    plain = isinstance(kind, Tensor) and isinstance(element, Pointer) and not isinstance(element.pointee, Tensor)
    return plain and (operation.name != COVERS or operation.words[0] in _VERBS)


def _width(operation: Operation, values: dict[str, Known]) -> Wide:
    """Along the axis of the longest runs, of which the compiler gives a thread several elements; no thread of a warp
    has more than its share.
    """
    pointers, kind = values[operation.operands[0]], operation.operand_types[0]
    size, shape = pointee_bytes(kind), shape_of(kind)
    axis = max(range(pointers.rank), key=lambda one: (pointers.runs[one], one))
    most = min(pointers.runs[axis], max(1, pointers.divisor[axis] // size), shape[axis], max(1, size_of(kind) // _WARP))
    place = _MASKS[operation.name]
    if place < len(operation.operands):
        most = min(most, max(1, values[operation.operands[place]].alike[axis]))
    return Wide(axis, min(1 << (most.bit_length() - 1), max(1, _MOST_BYTES // size)))


def as_made(frame: Frame, operation: Operation, wide: Wide, held: list[Held]) -> list[Held]:
    """``held``, the operands of an access, with the addresses and the mask that the device goes by."""
    pointers, place = held[0], _MASKS[operation.name]
    mask = held[place] if place < len(held) else None
    if not isinstance(pointers, Value) or not isinstance(mask, Value | None):
        return held
    addresses, size = _grouped(pointers.full(), wide), pointee_bytes(pointers.type)
    first = addresses[..., :1]
    used: Array = np.ones((1,) * first.ndim, np.bool_) if mask is None else _grouped(mask.full(), wide)[..., :1]
    _report_crooked(frame, operation, wide, used & (first % (wide.elements * size) != 0))
    steps: Array = np.arange(wide.elements, dtype=np.int64) * size
    made = list(held)
    made[0] = replace(pointers, data=_ungrouped(first + steps, pointers, wide))
    if mask is not None:
        made[place] = replace(
            mask, data=_ungrouped(np.broadcast_to(used, (*used.shape[:-1], wide.elements)), mask, wide)
        )
    return made


def _grouped(full: Array, wide: Wide) -> Array:
    """``(programs or 1, …, groups, elements)``: the axis last, in vectors."""
    moved = np.moveaxis(full, 1 + wide.axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, wide.elements)


def _ungrouped(groups: Array, like: Value, wide: Wide) -> Array:
    length = shape_of(like.type)[wide.axis]
    return np.moveaxis(groups.reshape(*groups.shape[:-2], length), -1, 1 + wide.axis)


def _report_crooked(frame: Frame, operation: Operation, wide: Wide, wrong: Array) -> None:
    if not wrong.any():
        return
    full = np.broadcast_to(wrong, (len(frame.ids), *wrong.shape[1:]))
    program = int(frame.lanes(full).flat[int(np.argmax(full))])
    size = pointee_bytes(operation.operand_types[0]) * wide.elements
    verb = _VERBS.get(operation.name) or _VERBS[operation.words[0]]
    message = (
        f"{verb} {wide.elements} elements at once, as multiple_of and max_contiguous let the compiler do, "
        f"at an address that is no multiple of {size} bytes"
    )
    frame.launch.findings.add(Kind.BROKEN_PROMISE, operation, message, program, count=int(full.sum()))
