"""Tensors across a process border as raw bytes in shared memory, with a layout that is checked before it is believed.

A slot is an anonymous shared mapping made before the fork: no name, no disk, gone with its processes. It is larger than
anything that should pass through it; only the pages that are touched exist. What lies on a device stays there where the
system lets processes share device memory (device_memory.py): the layout then carries a handle.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import torch

from .device_memory import Exporter, Importer, copy_on_device
from .driver import DriverError

_ALIGNMENT_BYTES = 256
_PIN_STEP_BYTES = 2 << 20
_DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
        torch.complex64, torch.complex128,
    )
}  # fmt: skip


class SlotTooSmall(Exception):
    """The tensors of one workload do not fit into the memory set aside for passing them on."""


class BadLayout(Exception):
    """A layout that describes no tensor inside the slot; only a broken or hostile peer writes one."""


class Slot:
    """Shared memory for the tensors of one call. ``bytes_`` is the capacity; by default a quarter of the machine's
    memory.
    """

    def __init__(self, bytes_: int | None = None) -> None:
        size = bytes_ or _quarter_of_memory()
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._map = mmap.mmap(-1, size, flags=flags)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self._pinned = 0
        self._exporter, self._importer = Exporter(), Importer()

    @property
    def capacity_bytes(self) -> int:
        return len(self._map)

    @property
    def path(self) -> str:
        """ "device" where tensors that were written stayed on it, "host" where they went through its memory."""
        return "device" if self._exporter.in_use else "host"

    def offer(self, device: str) -> str:
        """A handle of this side's device memory, for the other side to try; "" where there is none to share."""
        return self._exporter.reserve(1) if device == "cuda" else ""

    def can_open(self, offer: str) -> bool:
        """Whether the other side's ``offer`` can be read here; an empty one needs no reading."""
        try:
            return not offer or bool(self._importer.open(offer))
        except (DriverError, ValueError):
            return False

    def stay_on_host(self) -> None:
        """From now on what is written goes through the host's memory."""
        self._exporter.refuse()

    def write(self, tensors: list[torch.Tensor], start: int = 0) -> list[dict[str, Any]]:
        """Copy ``tensors`` in from byte ``start`` on. The layout keeps shape, strides and the base address's
        alignment.
        """
        layout, end = _layout(tensors, start)
        if end > self.capacity_bytes:
            raise SlotTooSmall(
                f"this workload's tensors take more than {self.capacity_bytes >> 20} MiB; use smaller workloads"
            )
        on_device = bool(tensors) and all(tensor.device.type == "cuda" for tensor in tensors)
        handle = self._exporter.reserve(end) if on_device else ""
        for tensor, entry in zip(tensors, layout, strict=True):
            entry["handle"] = handle
            content = _as_bytes(_flat(tensor))
            if handle:
                self._exporter.write(entry["offset"], content)
            else:
                self._pin(end, tensor.device)
                self._bytes[entry["offset"] : entry["offset"] + entry["bytes"]].copy_(content, non_blocking=True)
        wait_for_device()
        return layout

    def read(self, layout: list[dict[str, Any]], device: str) -> list[torch.Tensor]:
        """The tensors that ``layout`` describes, in new memory on ``device``. Raises ``BadLayout``."""
        tensors = [self._read_one(entry, device) for entry in layout]
        wait_for_device()
        return tensors

    def close(self) -> None:
        # The tensor exports the mapping's buffer; it must go first.
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._map.close()

    def _read_one(self, entry: dict[str, Any], device: str) -> torch.Tensor:
        address, capacity = self._opened(entry)
        dtype, shape, stride, offset, extent, shift = _checked(entry, capacity)
        size = torch.empty(0, dtype=dtype).element_size()
        memory = torch.empty(shift + extent, dtype=dtype, device=device)
        if address:
            copy_on_device(memory[shift:].data_ptr(), address + offset, extent * size)
        else:
            self._pin(offset + extent * size, memory.device)
            source = self._bytes[offset : offset + extent * size]
            _as_bytes(memory[shift:]).copy_(source, non_blocking=True)
        return torch.as_strided(memory, shape, stride, shift)

    def _opened(self, entry: Any) -> tuple[int, int]:
        """Address (0: the mapping) and capacity of the memory that ``entry`` lies in."""
        handle = entry.get("handle") if isinstance(entry, dict) else None
        if not handle:
            return 0, self.capacity_bytes
        try:
            return self._importer.open(str(handle))
        except (DriverError, ValueError) as broken:
            raise BadLayout("a tensor in device memory that cannot be opened") from broken

    def _pin(self, up_to: int, device: torch.device) -> None:
        """Page-lock what is in use: copies to and from the device run several times faster, and do not block the
        host.
        """
        if device.type != "cuda" or up_to <= self._pinned:
            return
        runtime = torch.cuda.cudart()
        address = self._bytes.data_ptr()
        if self._pinned:
            torch.cuda.synchronize()
            runtime.cudaHostUnregister(address)
        wanted = min(-(-up_to // _PIN_STEP_BYTES) * _PIN_STEP_BYTES, self.capacity_bytes)
        # A refusal (a memory-lock limit, say) costs speed only: ordinary pages work as well.
        self._pinned = wanted if int(runtime.cudaHostRegister(address, wanted, 0)) == 0 else 0
        if not self._pinned:
            self._pinned = self.capacity_bytes


def _layout(tensors: list[torch.Tensor], start: int) -> tuple[list[dict[str, Any]], int]:
    """Where each tensor lies from byte ``start`` on, and where the last one ends."""
    layout, offset, end = [], start, start
    for tensor in tensors:
        count = span_bytes(tensor)
        end = offset + count
        layout.append(
            {
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": list(tensor.shape),
                "stride": list(tensor.stride()),
                "offset": offset,
                "bytes": count,
                "shift": (tensor.data_ptr() % _ALIGNMENT_BYTES) // tensor.element_size(),
            }
        )
        offset = -(-end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return layout, end


def _checked(entry: Any, capacity: int) -> tuple[torch.dtype, list[int], list[int], int, int, int]:
    try:
        dtype = _DTYPES[entry["dtype"]]
        shape, stride = [int(n) for n in entry["shape"]], [int(n) for n in entry["stride"]]
        offset, count, shift = int(entry["offset"]), int(entry["bytes"]), int(entry["shift"])
    except (KeyError, TypeError, ValueError) as broken:
        raise BadLayout("a tensor without a readable dtype, shape, stride or place") from broken
    if len(shape) != len(stride) or any(n < 0 for n in (*shape, *stride, offset, count)):
        raise BadLayout("a tensor with a negative or incomplete shape")
    extent = _extent(shape, stride)
    size = torch.empty(0, dtype=dtype).element_size()
    if extent * size != count or offset + count > capacity or not 0 <= shift < _ALIGNMENT_BYTES:
        raise BadLayout("a tensor outside the memory it was passed in")
    return dtype, shape, stride, offset, extent, shift


def _extent(shape: list[int], stride: list[int]) -> int:
    if any(n == 0 for n in shape):
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))


def span_bytes(tensor: torch.Tensor) -> int:
    """From the first byte of ``tensor`` to behind its last, gaps included."""
    return _extent(list(tensor.shape), list(tensor.stride())) * tensor.element_size()


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """The memory a tensor spans, gaps included, as one dimension: the only copy that keeps any strides as they are."""
    extent = _extent(list(tensor.shape), list(tensor.stride()))
    return torch.as_strided(tensor.detach(), (extent,), (1,), tensor.storage_offset())


def _as_bytes(flat: torch.Tensor) -> torch.Tensor:
    return flat.view(torch.uint8)


def wait_for_device() -> None:
    """Until everything queued on the device is done; nothing to wait for where this process has not used one."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * (os.sysconf("SC_PHYS_PAGES") // 4)
