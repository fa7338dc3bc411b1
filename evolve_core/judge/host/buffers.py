"""Inputs and outputs between processes: a JSON header and raw bytes, never a pickle.

What a candidate wrote is read as bytes of a known size, nothing more. One file holds the storages one after the other,
each at a multiple of 64 bytes; the header says how tensors lie in them. Python values travel in the header.

Header entry of a tensor: ``{"kind": "tensor", "dtype", "shape", "stride", "offset", "storage": INDEX}``; of a value:
``{"kind": "value", "value"}``; of a torch dtype: ``{"kind": "dtype", "dtype"}``; of a tuple or list: ``{"kind":
"tuple"|"list", "items": [entry]}``. Header: ``{"entries": [[name, entry]], "storages": [bytes], "sha256"}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .errors import StepError

_ALIGNMENT = 64
MAX_TOTAL_BYTES = 2 << 30
"""Checked workloads are small; more than this in a spool file is a mistake or an attack on the disk."""
_MAX_INTEGER_BITS = 4096
"""Host code may count beyond 64 bits; beyond 4300 digits Python refuses to write a number down."""
_PLAIN = (int, float, bool, str, type(None))
_LARGEST_ALIGNMENT = 512
"""Bytes, of every block that torch's allocator for CUDA hands out."""


@dataclass
class _Storages:
    """Each distinct storage once, so that tensors that share memory still share it on the other side."""

    data: list[torch.Tensor] = field(default_factory=list)
    index: dict[int, int] = field(default_factory=dict)

    def add(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        key = storage.data_ptr() if storage.nbytes() else -1 - len(self.data)
        if key not in self.index:
            self.index[key] = len(self.data)
            self.data.append(torch.empty(0, dtype=torch.uint8).set_(storage))
        return self.index[key]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def dtype_named(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise StepError("host-failure", f"unknown dtype {name!r} in a buffer")
    return found


def write_values(values: list[tuple[str, Any]], file: Path) -> dict[str, Any]:
    """Write named values; the header comes back. Raises StepError ``task-error`` for a value that cannot travel."""
    storages = _Storages()
    entries = [[name, _entry(name, value, storages)] for name, value in values]
    digest = hashlib.sha256()
    sizes = [int(storage.numel()) for storage in storages.data]
    if sum(sizes) > MAX_TOTAL_BYTES:
        raise StepError(
            "out-of-memory", f"{sum(sizes) >> 20} MiB of data is too much for a check; use smaller workloads"
        )
    with file.open("wb") as out:
        for storage in storages.data:
            padded = bytes(-int(storage.numel()) % _ALIGNMENT)
            for part in (memoryview(storage.numpy()), padded):
                out.write(part)
                digest.update(part)
    return {"entries": entries, "storages": sizes, "sha256": digest.hexdigest()}


def _entry(name: str, value: Any, storages: _Storages) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        return _tensor_entry(name, value, storages)
    if isinstance(value, torch.dtype):
        return {"kind": "dtype", "dtype": dtype_name(value)}
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"kind": kind, "items": [_entry(name, item, storages) for item in value]}
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise StepError(
            "task-error",
            f"{name.removeprefix('out:')!r} is an integer of {value.bit_length()} bits, more than any kernel takes; "
            "use a smaller one",
        )
    if isinstance(value, _PLAIN):
        return {"kind": "value", "value": value}
    raise StepError(
        "task-error",
        f"{name.removeprefix('out:')!r} is a {type(value).__name__}: "
        "use tensors, numbers, strings, None, dtypes or lists of them",
    )


def _tensor_entry(name: str, value: torch.Tensor, storages: _Storages) -> dict[str, Any]:
    if value.layout is not torch.strided or value.device.type != "cpu":
        raise StepError(
            "task-error",
            f"{name!r} is a {value.layout} tensor on {value.device}; dense tensors on the given device are needed",
        )
    plain = value.detach().resolve_conj().resolve_neg()
    return {
        "kind": "tensor",
        "dtype": dtype_name(plain.dtype),
        "shape": list(plain.shape),
        "stride": list(plain.stride()),
        "offset": int(plain.storage_offset()),
        "storage": storages.add(plain),
    }


def describe(entries: list[list[Any]]) -> list[dict[str, Any]]:
    """The protocol's ``inputs`` of a workload: name, dtype, shape and stride; values as they are."""
    described = []
    for name, entry in entries:
        if entry["kind"] == "tensor":
            described.append(
                {"name": name, "dtype": entry["dtype"], "shape": entry["shape"], "stride": entry["stride"]}
            )
        else:
            described.append(
                {"name": name, "dtype": entry["kind"], "shape": [], "stride": [], "value": entry.get("value")}
            )
    return described


def read_values(file: Path, header: dict[str, Any], *, trusted: bool) -> list[tuple[str, Any]]:
    """Read named values. ``trusted``: the header came from our own process, so the bytes must match its hash."""
    storages = _read_storages(file, header, trusted=trusted)
    return [(str(name), _restore(entry, lambda e: _view(e, storages))) for name, entry in header["entries"]]


def _read_storages(file: Path, header: dict[str, Any], *, trusted: bool) -> list[torch.Tensor]:
    sizes = [int(size) for size in header["storages"]]
    padded = [size + (-size % _ALIGNMENT) for size in sizes]
    if any(size < 0 for size in sizes) or sum(padded) > MAX_TOTAL_BYTES:
        raise StepError("crash", "the outputs' header does not describe a buffer")
    if file.stat().st_size != sum(padded):
        raise StepError("crash", "the outputs' file does not have the size that its header says")
    data = bytearray(file.read_bytes())
    if trusted and hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise StepError(
            "cheating", f"{file.name} was changed after it was written: something tampered with the spool folder"
        )
    whole = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    # Clones give every storage its own allocation, as in a real call, and torch's own alignment.
    return [part[:size].clone() for part, size in zip(whole.split(padded), sizes, strict=True)] if padded else []


def _view(entry: dict[str, Any], storages: list[torch.Tensor]) -> torch.Tensor:
    dtype = dtype_named(str(entry["dtype"]))
    shape, stride = [int(n) for n in entry["shape"]], [int(n) for n in entry["stride"]]
    offset, storage = int(entry["offset"]), storages[int(entry["storage"])]
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if all(shape) else offset
    item = torch.empty(0, dtype=dtype).element_size()
    if min([offset, *shape, *stride], default=0) < 0 or (all(shape) and (last + 1) * item > storage.numel()):
        raise StepError("crash", "a tensor's header points outside its storage")
    return torch.empty(0, dtype=dtype).set_(storage.untyped_storage(), offset, shape, stride)


def _restore(entry: dict[str, Any], tensor: Callable[[dict[str, Any]], Any]) -> Any:
    kind = entry["kind"]
    if kind == "tensor":
        return tensor(entry)
    if kind == "dtype":
        return dtype_named(str(entry["dtype"]))
    if kind in ("tuple", "list"):
        items = [_restore(item, tensor) for item in entry["items"]]
        return tuple(items) if kind == "tuple" else items
    return entry["value"]


def plain_value(value: Any) -> Any:
    """An input that is no tensor, in a form that JSON keeps and that can be compared."""
    if isinstance(value, torch.dtype):
        return f"torch.{dtype_name(value)}"
    if isinstance(value, (tuple, list)):
        return tuple(plain_value(item) for item in value)
    return value


def shaped_inputs(
    entries: list[list[Any]], make: Callable[[torch.dtype, list[int], list[int]], torch.Tensor]
) -> dict[str, Any]:
    """Inputs of the described shapes whose contents ``make(dtype, shape, stride)`` decides.

    One that starts inside its memory keeps its alignment: compilers specialise on that.
    """

    def tensor(entry: dict[str, Any]) -> torch.Tensor:
        dtype, shape, stride = dtype_named(entry["dtype"]), entry["shape"], entry["stride"]
        lead = int(entry["offset"]) % (_LARGEST_ALIGNMENT // torch.empty(0, dtype=dtype).element_size())
        if not lead or not all(shape):
            return make(dtype, shape, stride)
        span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        return make(dtype, [lead + span], [1]).as_strided(shape, stride, lead)

    return {str(name): _restore(entry, tensor) for name, entry in entries}


def flatten_outputs(result: Any, inputs: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name the outputs of an entry: ``out``, ``out[1]``, ``out['key']``; for None, the tensors handed in."""
    if result is None:
        return [(name, value) for name, value in inputs.items() if isinstance(value, torch.Tensor)]
    flat: list[tuple[str, Any]] = []
    _flatten("out", result, flat)
    return flat


def _flatten(name: str, value: Any, into: list[tuple[str, Any]]) -> None:
    if isinstance(value, dict):
        for key in value:
            _flatten(f"{name}[{key!r}]", value[key], into)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            _flatten(f"{name}[{index}]", item, into)
    else:
        into.append((name, value))
