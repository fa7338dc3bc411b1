"""Handlers of ``tt.reduce`` and ``tt.scan``, whose way of combining two elements is a region of the text.

A region that is one operation numpy can reduce by is handed to numpy. Any other is run on whole halves (reduce) or on
shifted copies (scan) of the tensor at once, as associativity allows and as a GPU does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .errors import BadIr, Unsupported
from .formats import Array, name_of
from .ir import Operation, Region, element_of, shape_of
from .state import Frame
from .values import Value

Combine = Callable[[Sequence[Value], Sequence[Value]], tuple[Value, ...]]
RunRegion = Callable[[Frame, Region, Sequence[Value]], tuple[Value, ...]]

_UFUNCS = {
    "arith.addf": np.add, "arith.addi": np.add, "arith.mulf": np.multiply, "arith.muli": np.multiply,
    "arith.maxnumf": np.fmax, "arith.minnumf": np.fmin, "arith.maximumf": np.maximum, "arith.minimumf": np.minimum,
    "arith.maxsi": np.maximum, "arith.minsi": np.minimum, "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
}  # fmt: skip
_ROUNDS = frozenset(("arith.addf", "arith.mulf"))
_PURE = ("arith.", "math.", "tt.bitcast", "tt.clampf", "tt.precise_", "tt.extern_elementwise", "tt.reduce.return",
         "tt.scan.return", "tt.mulhiui", "tt.fp_to_fp")  # fmt: skip


def _axis(operation: Operation, values: list[Value]) -> int:
    axis = operation.attributes.get("axis")
    shapes = {shape_of(value.type) for value in values}
    if len(shapes) != 1 or not isinstance(axis, int) or not 0 <= axis < len(shape_of(values[0].type)):
        raise BadIr(f"{operation.name} along axis {axis}", operation.text_line)
    return axis + 1


def _region(operation: Operation, values: list[Value]) -> Region:
    """The combining region, made of operations on single elements alone. Raises BadIr or Unsupported."""
    regions = operation.regions
    if len(regions) != 1 or len(regions[0].blocks) != 1:
        raise BadIr(f"{operation.name} without its region", operation.text_line)
    block = regions[0].blocks[0]
    last = block.operations[-1] if block.operations else None
    if last is None or last.name != f"{operation.name}.return" or len(last.operands) != len(values):
        raise BadIr(f"{operation.name} whose region returns something else", operation.text_line)
    elements = tuple(element_of(value.type) for value in values)
    if tuple(kind for _, kind in block.arguments) != elements * 2 or last.operand_types != elements:
        raise BadIr(f"{operation.name} whose region combines something else", operation.text_line)
    for inner in block.operations:
        if not inner.name.startswith(_PURE) or inner.regions:
            raise Unsupported(inner.name, f"in a {operation.name} is not interpreted", inner.text_line)
    return regions[0]


def _ufunc(region: Region, values: list[Value]) -> np.ufunc | None:
    """The one that does what the region does, element by element in any order."""
    block = region.blocks[0]
    if len(values) != 1 or len(block.operations) != 2:
        return None
    combined, returned = block.operations
    names = [name for name, _ in block.arguments]
    same = combined.operands in (tuple(names), tuple(reversed(names))) and returned.operands == combined.results
    narrow = combined.name in _ROUNDS and name_of(values[0].type) not in ("f32", "f64")
    bits = name_of(values[0].type) == "i1" and combined.name not in ("arith.andi", "arith.ori", "arith.xori")
    return _UFUNCS.get(combined.name) if same and not narrow and not bits else None


def _whole(value: Value, axis: int) -> Array:
    """The array with its full length along one axis."""
    data = value.data
    length = shape_of(value.type)[axis - 1]
    if data.shape[axis] == length:
        return data
    return np.broadcast_to(data, (*data.shape[:axis], length, *data.shape[axis + 1 :]))


def _sliced(axis: int, rank: int, which: slice) -> tuple[slice, ...]:
    return tuple(which if place == axis else slice(None) for place in range(rank))


def _combiner(frame: Frame, operation: Operation, values: list[Value], run: RunRegion) -> Callable[..., list[Array]]:
    region = _region(operation, values)
    types = [kind for _, kind in region.blocks[0].arguments]

    def combine(left: list[Array], right: list[Array]) -> list[Array]:
        given = [Value(kind, data) for kind, data in zip(types, [*left, *right], strict=True)]
        # A region that gives a constant gives it for every element.
        shape = np.broadcast_shapes(*(value.data.shape for value in given))
        return [np.broadcast_to(made.data, shape) for made in run(frame, region, given)]

    return combine


def reduce(frame: Frame, operation: Operation, values: list[Value], run: RunRegion) -> tuple[Value, ...]:
    axis = _axis(operation, values)
    ufunc = _ufunc(_region(operation, values), values)
    data = [_whole(value, axis) for value in values]
    if ufunc is not None:
        data = [ufunc.reduce(data[0], axis=axis, dtype=data[0].dtype)]
    else:
        data = [part.squeeze(axis) for part in _halved(_combiner(frame, operation, values, run), data, axis)]
    return tuple(Value(kind, part) for kind, part in zip(operation.result_types, data, strict=True))


def _halved(combine: Callable[..., list[Array]], data: list[Array], axis: int) -> list[Array]:
    """Neighbours are combined, then neighbours of those: the order of the elements stays."""
    rank = data[0].ndim
    data = list(np.broadcast_arrays(*data)) if len(data) > 1 else data
    while (length := data[0].shape[axis]) > 1:
        even, odd = _sliced(axis, rank, slice(0, length - 1, 2)), _sliced(axis, rank, slice(1, None, 2))
        combined = combine([part[even] for part in data], [part[odd] for part in data])
        if length % 2:
            rest = _sliced(axis, rank, slice(length - 1, None))
            combined = [
                np.concatenate(np.broadcast_arrays(made, part[rest]), axis)
                for made, part in zip(combined, data, strict=True)
            ]
        data = combined
    return data


def scan(frame: Frame, operation: Operation, values: list[Value], run: RunRegion) -> tuple[Value, ...]:
    """Inclusive; with ``reverse`` from the last element on."""
    axis = _axis(operation, values)
    ufunc = _ufunc(_region(operation, values), values)
    data = [_whole(value, axis) for value in values]
    backwards = _sliced(axis, data[0].ndim, slice(None, None, -1))
    reverse = operation.attributes.get("reverse") is True
    if reverse:
        data = [part[backwards] for part in data]
    if ufunc is not None:
        data = [ufunc.accumulate(data[0], axis=axis, dtype=data[0].dtype)]
    else:
        data = _doubled(_combiner(frame, operation, values, run), data, axis)
    if reverse:
        data = [part[backwards] for part in data]
    return tuple(Value(kind, part) for kind, part in zip(operation.result_types, data, strict=True))


def _doubled(combine: Callable[..., list[Array]], data: list[Array], axis: int) -> list[Array]:
    """Hillis and Steele: after step k every element holds the combination of the last 2^k."""
    rank = data[0].ndim
    data = list(np.broadcast_arrays(*data)) if len(data) > 1 else data
    step = 1
    while step < data[0].shape[axis]:
        early, late = _sliced(axis, rank, slice(None, -step)), _sliced(axis, rank, slice(step, None))
        head = _sliced(axis, rank, slice(None, step))
        combined = combine([part[early] for part in data], [part[late] for part in data])
        data = [np.concatenate([part[head], made], axis) for part, made in zip(data, combined, strict=True)]
        step *= 2
    return data
