"""Handlers of operations that make, move or rearrange elements and compute nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .errors import BadIr, Unsupported
from .findings import Kind
from .formats import Array, held_dtype, rounded
from .ir import Operation, Scalar, Tensor, shape_of, size_of
from .state import Frame
from .values import Value

Handler = Callable[[Frame, Operation, list[Value]], Value | tuple[Value, ...]]

_AXES = {"x": 0, "y": 1, "z": 2}


def _moved(operation: Operation, value: Value, move: Callable[[Array], Array], place: int = 0) -> Value:
    """The same movement of addresses and of their origins."""
    origin = None if value.origin is None else move(value.origin)
    return Value(operation.result_types[place], move(value.data), origin)


def _axis(operation: Operation, rank: int) -> int:
    """The axis in the array, whose first is the programs'. Raises BadIr."""
    axis = operation.attributes.get("axis")
    if not isinstance(axis, int) or not 0 <= axis < rank:
        raise BadIr(f"{operation.name} along axis {axis} of {rank}", operation.text_line)
    return axis + 1


def splat(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    rank = len(shape_of(operation.result_types[0]))
    if isinstance(values[0].type, Tensor) or isinstance(operation.result_types[0], Scalar):
        raise BadIr(f"splat of {values[0].type}", operation.text_line)
    return _moved(operation, values[0], lambda data: data.reshape(data.shape[0], *(1,) * rank))


def unsplat(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    if size_of(values[0].type) != 1:
        raise BadIr(f"unsplat of {values[0].type}", operation.text_line)
    return _moved(operation, values[0], lambda data: data.reshape(data.shape[0]))


def broadcast(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Nothing to do: axes of length 1 stand for any length (values)."""
    source, target = shape_of(values[0].type), shape_of(operation.result_types[0])
    if len(source) != len(target) or any(old not in (1, new) for old, new in zip(source, target, strict=True)):
        raise BadIr(f"{values[0].type} cannot be broadcast to {operation.result_types[0]}", operation.text_line)
    return _moved(operation, values[0], lambda data: data)


def expand_dims(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    axis = _axis(operation, len(shape_of(values[0].type)) + 1)
    return _moved(operation, values[0], lambda data: np.expand_dims(data, axis))


def reshape(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Row-major, also where ``allow_reorder`` lets the compiler choose."""
    source, target = shape_of(values[0].type), shape_of(operation.result_types[0])
    if size_of(values[0].type) != size_of(operation.result_types[0]):
        raise BadIr(f"{values[0].type} reshaped to {operation.result_types[0]}", operation.text_line)

    def move(data: Array) -> Array:
        if data.size == data.shape[0]:
            return data.reshape(data.shape[0], *(1,) * len(target))
        return np.broadcast_to(data, (data.shape[0], *source)).reshape(data.shape[0], *target)

    return _moved(operation, values[0], move)


def transpose(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    order = operation.attributes.get("order")
    rank = len(shape_of(values[0].type))
    if not isinstance(order, tuple) or sorted(order) != list(range(rank)):
        raise BadIr(f"{operation.name} in the order {order}", operation.text_line)
    axes = (0, *(axis + 1 for axis in order))
    return _moved(operation, values[0], lambda data: data.transpose(axes))


def join(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Along a new last axis."""
    left, right = values
    data = np.stack(np.broadcast_arrays(left.data, right.data), axis=-1)
    origin = None
    if left.origin is not None and right.origin is not None:
        origin = np.stack(np.broadcast_arrays(left.origin, right.origin), axis=-1)
    return Value(operation.result_types[0], data, origin)


def split(frame: Frame, operation: Operation, values: list[Value]) -> tuple[Value, ...]:
    if shape_of(values[0].type)[-1:] != (2,):
        raise BadIr(f"split of {values[0].type}", operation.text_line)
    return (
        _moved(operation, values[0], lambda data: data[..., 0], 0),
        _moved(operation, values[0], lambda data: data[..., -1], 1),
    )


def concatenate(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``tt.cat`` along the first axis."""
    left, right = values
    lead = max(left.data.shape[0], right.data.shape[0])
    if left.origin is not None:
        raise Unsupported(operation.name, "of pointers is not interpreted", operation.text_line)
    return Value(operation.result_types[0], np.concatenate([left.full(lead), right.full(lead)], axis=1))


def make_range(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    start, end = operation.attributes.get("start"), operation.attributes.get("end")
    kind = operation.result_types[0]
    if not isinstance(start, int) or not isinstance(end, int) or shape_of(kind) != (end - start,):
        raise BadIr(f"a range from {start} to {end} as {kind}", operation.text_line)
    return Value(kind, np.arange(start, end, dtype=held_dtype(kind))[None])


def program_id(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    axis, grid = _grid_axis(operation), frame.launch.grid
    before = int(np.prod(grid[:axis], dtype=np.int64))
    data: Array = frame.ids // before % grid[axis] if grid[axis] > 1 else np.zeros(1, np.int64)
    return Value(operation.result_types[0], data.astype(np.int32))


def number_of_programs(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    return Value(operation.result_types[0], np.array([frame.launch.grid[_grid_axis(operation)]], np.int32))


def _grid_axis(operation: Operation) -> int:
    word = operation.words[0] if operation.words else ""
    if word not in _AXES:
        raise BadIr(f"{operation.name} of axis {word!r}", operation.text_line)
    return _AXES[word]


def poison(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Any value would do: zero."""
    kind = operation.result_types[0]
    return Value(kind, np.zeros((1,) * (1 + len(shape_of(kind))), held_dtype(kind)))


def gather(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Elements of the first operand along an axis; an index outside is reported, and reads the nearest."""
    source, chosen = values
    axis = _axis(operation, len(shape_of(source.type)))
    shape = shape_of(chosen.type)
    length = shape_of(source.type)[axis - 1]
    index: Array = chosen.full().astype(np.int64)
    outside = (index < 0) | (index >= length)
    if outside.any():
        full = np.broadcast_to(outside, (len(frame.ids), *shape))
        first = int(np.argmax(full))
        wrong = int(np.broadcast_to(index, full.shape).flat[first])
        message = f"gathers element {wrong} of {length}"
        program = int(frame.lanes(full).flat[first])
        frame.launch.findings.add(
            Kind.BAD_INDEX, operation, message, program, index=wrong, count=int(np.count_nonzero(full))
        )
        index = index.clip(0, length - 1)
    cut = tuple(slice(None) if place == axis else slice(size) for place, size in enumerate((None, *shape)))
    elements = source.full()[cut]
    lead = max(elements.shape[0], index.shape[0])
    elements = np.broadcast_to(elements, (lead, *elements.shape[1:]))
    index = np.broadcast_to(index, (lead, *index.shape[1:]))
    return Value(operation.result_types[0], np.take_along_axis(elements, index, axis))


def histogram(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Counts of 0 … bins−1; what lies outside is not counted (Triton leaves it open)."""
    kind = operation.result_types[0]
    lead = max(value.data.shape[0] for value in values)
    numbers: Array = values[0].full(lead).astype(np.int64)
    if numbers.ndim != 2 or len(shape_of(kind)) != 1:
        raise BadIr(f"histogram of {values[0].type} into {kind}", operation.text_line)
    (bins,) = shape_of(kind)
    counted = (numbers >= 0) & (numbers < bins)
    if len(values) == 2:
        counted &= values[1].full(lead)
    rows = np.broadcast_to(np.arange(lead)[:, None] * bins, numbers.shape)
    counts = np.bincount((numbers + rows)[counted], minlength=lead * bins)
    return Value(kind, counts.reshape(lead, bins).astype(held_dtype(kind)))


def dot(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """``a·b + c``. Floats are multiplied and added in float32 (float64 for f64), whatever ``inputPrecision`` says: tf32
    and bf16x3 would round the operands first. Integers are exact, modulo 2^32."""
    left, right, added = values
    kind = operation.result_types[0]
    rows, columns, inner = shape_of(left.type)[-2:], shape_of(right.type)[-2:], shape_of(left.type)[-1]
    if len(rows) != 2 or len(columns) != 2 or inner != columns[0] or (rows[0], columns[1]) != shape_of(kind)[-2:]:
        raise BadIr(f"a product of {left.type} and {right.type}", operation.text_line)
    a, b = (np.ascontiguousarray(value.full()) for value in (left, right))
    held = held_dtype(kind)
    if held.kind == "f":
        product = np.matmul(a.astype(held, copy=False), b.astype(held, copy=False))
    else:
        product = np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64).astype(held)
    frame.launch.work.dot_flops += 2 * size_of(kind) * inner * len(frame.ids)
    data = product + added.data
    return Value(kind, rounded(kind, data) if held.kind == "f" else data)


def assertion(frame: Frame, operation: Operation, values: list[Value]) -> tuple[Value, ...]:
    """``tt.assert``: a false condition is a finding; the program goes on."""
    _hold(frame, operation, values[0], Kind.ASSERTION, "fails its assertion: " + " ".join(operation.words))
    return ()


def assumption(frame: Frame, operation: Operation, values: list[Value]) -> tuple[Value, ...]:
    """``tl.assume``: the compiler leaves out whatever a false condition would have needed, masks as well."""
    _hold(frame, operation, values[0], Kind.BROKEN_PROMISE, "has the compiler assume what is not so")
    return ()


def _hold(frame: Frame, operation: Operation, condition: Value, kind: Kind, message: str) -> None:
    failed = ~condition.data
    if failed.any():
        full = np.broadcast_to(failed, (len(frame.ids), *failed.shape[1:]))
        program = int(frame.lanes(full).flat[int(np.argmax(full))])
        frame.launch.findings.add(kind, operation, message, program, count=int(np.count_nonzero(full)))


HANDLERS: dict[str, Handler] = {
    "tt.splat": splat,
    "tt.unsplat": unsplat,
    "tt.broadcast": broadcast,
    "tt.expand_dims": expand_dims,
    "tt.reshape": reshape,
    "tt.trans": transpose,
    "tt.join": join,
    "tt.split": split,
    "tt.cat": concatenate,
    "tt.make_range": make_range,
    "tt.get_program_id": program_id,
    "tt.get_num_programs": number_of_programs,
    "ub.poison": poison,
    "tt.gather": gather,
    "tt.histogram": histogram,
    "tt.dot": dot,
    "tt.assert": assertion,
    "llvm.intr.assume": assumption,
}
