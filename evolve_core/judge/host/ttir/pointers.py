"""Handlers of pointer arithmetic, plain loads and stores, and of views: tensor descriptors and block pointers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import access
from .atomics import combine_plain
from .errors import BadIr, Unsupported
from .formats import Array, bits_of, decode, encode, held_dtype, is_float, stored_dtype
from .ir import Descriptor, Operation, Pointer, Tensor, Type, element_of, size_of
from .state import Frame
from .values import Held, Value, View

Handler = Callable[[Frame, Operation, list[Held]], Held | None]


def _value(held: Held, operation: Operation) -> Value:
    if not isinstance(held, Value):
        raise Unsupported(operation.name, f"of {held.type} is not interpreted", operation.text_line)
    return held


def pointee_bytes(kind: Type) -> int:
    element = element_of(kind)
    if not isinstance(element, Pointer):
        raise ValueError(kind)
    return max(1, bits_of(element.pointee) // 8)


def add_pointer(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    pointer, offset = (_value(held, operation) for held in values)
    step = np.int64(pointee_bytes(pointer.type))
    return Value(operation.result_types[0], pointer.data + offset.data.astype(np.int64) * step, pointer.origin)


def _bytes(frame: Frame, kind: Type, on: Array | None) -> int:
    """What a masked access of ``kind`` moves, over the programs that run."""
    lanes = size_of(kind) * len(frame.ids)
    if on is not None:
        lanes = int(np.count_nonzero(on) * (lanes / max(1, on.size)))
    return lanes * stored_dtype(kind).itemsize


def load(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    """Masked-off elements without an ``other`` are 0; the language leaves them open."""
    kind = operation.result_types[0]
    if isinstance(values[0], View):
        return _load_view(frame, operation, values[0], values[0].offsets, kind)
    pointers = _value(values[0], operation)
    on = _value(values[1], operation).data if len(values) > 1 else None
    raw = access.fetch(frame, operation, pointers, on, stored_dtype(kind))
    frame.launch.work.bytes_loaded += _bytes(frame, kind, on)
    data = decode(kind, raw)
    if len(values) > 2 and on is not None:
        data = np.where(on, data, _value(values[2], operation).data)
    return Value(kind, data)


def store(frame: Frame, operation: Operation, values: list[Held]) -> None:
    if isinstance(values[0], View):
        _store_view(frame, operation, values[0], values[0].offsets, _value(values[1], operation))
        return
    pointers, value = _value(values[0], operation), _value(values[1], operation)
    on = _value(values[2], operation).data if len(values) > 2 else None
    frame.launch.work.bytes_stored += _bytes(frame, value.type, on)
    access.put(frame, operation, pointers, on, encode(value.type, value.data))


# ── views ──


def make_view(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    """``tt.make_tensor_descriptor`` and ``tt.make_tensor_ptr``: base, sizes, strides, and offsets of the latter."""
    given = [_value(held, operation) for held in values]
    kind = operation.result_types[0]
    rank = len(_block(kind, operation).shape)
    padding = "nan" if operation.attributes.get("padding") in ("nan", 2) else "zero"
    return View(
        kind, given[0], tuple(given[1 : 1 + rank]), tuple(given[1 + rank : 1 + 2 * rank]),
        tuple(given[1 + 2 * rank :]), padding,
    )  # fmt: skip


def _block(kind: Type, operation: Operation) -> Tensor:
    if isinstance(kind, Descriptor):
        return kind.block
    if isinstance(kind, Pointer) and isinstance(kind.pointee, Tensor):
        return kind.pointee
    raise BadIr(f"{operation.name} of {kind}", operation.text_line)


def advance(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    view = values[0]
    if not isinstance(view, View) or len(values) != 1 + len(view.offsets):
        raise BadIr("tt.advance of what is no block pointer", operation.text_line)
    moved = tuple(
        Value(old.type, old.data + _value(step, operation).data)
        for old, step in zip(view.offsets, values[1:], strict=True)
    )
    return View(view.type, view.base, view.shape, view.strides, moved, view.padding)


def _addresses(
    view: View, offsets: tuple[Value, ...], block: Tensor, checked: tuple[int, ...]
) -> tuple[Value, Array | None]:
    """Where each element of the block lies, and which are inside along the ``checked`` dimensions."""
    rank = len(block.shape)
    element = block.element
    pointers = view.base.data.reshape(-1, *(1,) * rank)
    inside: Array | None = None
    width = np.int64(max(1, bits_of(element) // 8))
    for axis, size in enumerate(block.shape):
        line = np.arange(size).reshape(1, *(1,) * axis, size, *(1,) * (rank - axis - 1))
        position = offsets[axis].data.astype(np.int64).reshape(-1, *(1,) * rank) + line
        pointers = pointers + position * view.strides[axis].data.astype(np.int64).reshape(-1, *(1,) * rank) * width
        if axis in checked:
            within = (position >= 0) & (position < view.shape[axis].data.reshape(-1, *(1,) * rank))
            inside = within if inside is None else inside & within
    origin = None if view.base.origin is None else view.base.origin.reshape(-1, *(1,) * rank)
    return Value(Tensor(block.shape, Pointer(element)), pointers, origin), inside


def _boundaries(view: View, operation: Operation) -> tuple[int, ...]:
    """A descriptor checks every edge, a block pointer those that the access names."""
    if isinstance(view.type, Descriptor):
        return tuple(range(len(view.shape)))
    named = operation.attributes.get("boundaryCheck", ())
    return tuple(axis for axis in named if isinstance(axis, int)) if isinstance(named, tuple) else ()


def places_of(view: View, given: tuple[Value, ...], operation: Operation) -> tuple[Value, Array | None]:
    """Where the block lies that a descriptor has at the offsets ``given``, or that a block pointer stands at; and what
    of it is inside.
    """
    offsets = _all(view, given, operation) if isinstance(view.type, Descriptor) else view.offsets
    return _addresses(view, offsets, _block(view.type, operation), _boundaries(view, operation))


def _load_view(frame: Frame, operation: Operation, view: View, offsets: tuple[Value, ...], kind: Type) -> Value:
    block = _block(view.type, operation)
    pointers, inside = _addresses(view, offsets, block, _boundaries(view, operation))
    raw = access.fetch(frame, operation, pointers, inside, stored_dtype(block))
    frame.launch.work.bytes_loaded += _bytes(frame, block, inside)
    data = decode(block, raw)
    nan = view.padding == "nan" or operation.attributes.get("padding") in (2, "nan")
    if inside is not None and nan and is_float(block):
        data = np.where(inside, data, held_dtype(block).type(np.nan))
    if size_of(kind) != size_of(block):
        raise Unsupported(operation.name, f"of {kind} out of {block} is not interpreted", operation.text_line)
    if isinstance(kind, Tensor) and kind.shape != block.shape:
        data = np.broadcast_to(data, (data.shape[0], *block.shape)).reshape(data.shape[0], *kind.shape)
    return Value(kind, data)


def _store_view(frame: Frame, operation: Operation, view: View, offsets: tuple[Value, ...], value: Value) -> None:
    block = _block(view.type, operation)
    pointers, inside = _addresses(view, offsets, block, _boundaries(view, operation))
    frame.launch.work.bytes_stored += _bytes(frame, block, inside)
    access.put(frame, operation, pointers, inside, encode(value.type, _shaped(value, block)))


def _shaped(value: Value, block: Tensor) -> Array:
    if isinstance(value.type, Tensor) and value.type.shape == block.shape:
        return value.data
    full = value.full()
    return full.reshape(full.shape[0], *block.shape)


def _view(held: Held, operation: Operation) -> View:
    if not isinstance(held, View):
        raise BadIr(f"{operation.name} of what is no descriptor", operation.text_line)
    return held


def descriptor_load(frame: Frame, operation: Operation, values: list[Held]) -> Held:
    view = _view(values[0], operation)
    offsets = tuple(_value(held, operation) for held in values[1:])
    return _load_view(frame, operation, view, _all(view, offsets, operation), operation.result_types[0])


def descriptor_store(frame: Frame, operation: Operation, values: list[Held]) -> None:
    view = _view(values[0], operation)
    offsets = tuple(_value(held, operation) for held in values[1:-1])
    _store_view(frame, operation, view, _all(view, offsets, operation), _value(values[-1], operation))


def descriptor_reduce(frame: Frame, operation: Operation, values: list[Held]) -> None:
    """An atomic operation on every element inside."""
    view, value = _view(values[0], operation), _value(values[-1], operation)
    offsets = _all(view, tuple(_value(held, operation) for held in values[1:-1]), operation)
    block = _block(view.type, operation)
    pointers, inside = _addresses(view, offsets, block, _boundaries(view, operation))
    kind = operation.words[0] if operation.words else ""
    if kind == "add" and is_float(block):
        kind = "fadd"
    combine_plain(frame, operation, kind, pointers, Value(block, _shaped(value, block)), inside)


def _all(view: View, offsets: tuple[Value, ...], operation: Operation) -> tuple[Value, ...]:
    if len(offsets) != len(view.shape):
        raise BadIr(f"{operation.name} with {len(offsets)} of {len(view.shape)} offsets", operation.text_line)
    return offsets


HANDLERS: dict[str, Handler] = {
    "tt.addptr": add_pointer,
    "tt.load": load,
    "tt.store": store,
    "tt.make_tensor_descriptor": make_view,
    "tt.make_tensor_ptr": make_view,
    "tt.advance": advance,
    "tt.descriptor_load": descriptor_load,
    "tt.descriptor_store": descriptor_store,
    "tt.descriptor_reduce": descriptor_reduce,
}
