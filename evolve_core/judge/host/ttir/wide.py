"""Accesses that the compiler makes several elements wide because a kernel told it something: do the values allow it?

``tl.multiple_of``, ``tl.max_contiguous`` and ``tl.max_constancy`` are never checked by the compiler. A vector is one
access at the first element's address, under the first element's mask: where the others are no neighbours of that, where
the address divides by less, or where their masks differ, the compiled kernel reads and writes other places than the
kernel says. An access that is as wide without the hints is none of their doing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .axes import Known, has_hints
from .covering import COVERS
from .findings import Kind
from .formats import Array
from .ir import Function, Module, Operation, Pointer, Tensor, element_of, shape_of
from .knowing import known_values
from .plan import operations_of
from .pointers import pointee_bytes
from .state import Frame
from .values import Held, Value

_MOST_BYTES = 16
"""Of one vector: PTX has none wider before sm_100, and Triton makes none."""
_MASKS = {"tt.load": 1, "tt.store": 2, COVERS: 1}
"""Which operand is the mask; pointers come first."""
_VERBS = {"tt.load": "reads", "tt.store": "writes", COVERS: "writes"}


@dataclass(frozen=True, slots=True)
class Wide:
    """``elements`` along ``axis`` are one access."""

    axis: int
    elements: int


def wide_accesses(module: Module) -> dict[int, Wide]:
    """By the identity of each load and store that hints make wider; empty for a module without hints."""
    found: dict[int, Wide] = {}
    for function in module.functions.values():
        operations = list(operations_of(function.body))
        if any(has_hints(one) for one in operations):
            found.update(_in_function(function, operations))
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
    return plain and (operation.name != COVERS or operation.words[:1] == ("tt.store",))


def _width(operation: Operation, values: dict[str, Known]) -> Wide:
    """Along the axis of the longest runs, which is the one that the compiler gives a thread several elements of."""
    pointers, size = values[operation.operands[0]], pointee_bytes(operation.operand_types[0])
    axis = max(range(pointers.rank), key=lambda one: (min(pointers.runs[one], _length(operation, one)), one))
    most = min(pointers.runs[axis], max(1, pointers.divisor[axis] // size), _length(operation, axis))
    place = _MASKS[operation.name]
    if place < len(operation.operands):
        most = min(most, max(1, values[operation.operands[place]].alike[axis]))
    return Wide(axis, min(_power_of_two_below(most), max(1, _MOST_BYTES // size)))


def _length(operation: Operation, axis: int) -> int:
    return shape_of(operation.operand_types[0])[axis]


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def check_wide(frame: Frame, operation: Operation, wide: Wide, held: list[Held]) -> None:
    """A finding where an access that ``wide`` speaks of cannot be made like that."""
    pointers, place = held[0], _MASKS[operation.name]
    mask = held[place] if place < len(held) else None
    if not isinstance(pointers, Value) or not isinstance(mask, Value | None):
        return
    addresses = _grouped(pointers.full(), wide)
    on = None if mask is None else _grouped(mask.full(), wide)
    size = pointee_bytes(pointers.type)
    steps: Array = np.arange(wide.elements, dtype=np.int64) * size
    apart: Array = (addresses != addresses[..., :1] + steps).any(axis=-1)
    crooked: Array = addresses[..., 0] % (wide.elements * size) != 0
    if on is not None:
        used: Array = np.asarray(on.any(axis=-1))
        apart, crooked = apart & used, crooked & used
        _report(frame, operation, wide, "are not all masked alike", used & ~np.asarray(on.all(axis=-1)))
    _report(frame, operation, wide, "are no neighbours", apart)
    _report(frame, operation, wide, f"begin at no multiple of {wide.elements * size} bytes", crooked)


def _grouped(full: Array, wide: Wide) -> Array:
    """``(programs or 1, …, groups, elements)``: the axis last, in vectors."""
    moved = np.moveaxis(full, 1 + wide.axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, wide.elements)


def _report(frame: Frame, operation: Operation, wide: Wide, words: str, wrong: Array) -> None:
    if not wrong.any():
        return
    full = np.broadcast_to(wrong, (len(frame.ids), *wrong.shape[1:]))
    program = int(frame.lanes(full).flat[int(np.argmax(full))])
    verb = _VERBS[operation.name]
    message = (
        f"{verb} {wide.elements} elements at once, by what multiple_of, max_contiguous or max_constancy say, and they "
        f"{words}"
    )
    frame.launch.findings.add(Kind.BROKEN_PROMISE, operation, message, program, count=int(full.sum()))
