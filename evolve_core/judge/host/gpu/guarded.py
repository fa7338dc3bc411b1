"""Device memory at whose edge nothing is mapped: a kernel that reads or writes past a tensor faults, or leaves a mark.

CUDA's virtual memory management (driver API, cuMem*) maps memory in pages of two MiB. A tensor lies at the front or at
the back of its pages; on that side of it the device faults, and the rest of its pages holds a pattern that reads show
in the result (poison) and writes disturb.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import torch

from ..plan import ALIGNMENT
from .driver import Driver

_PINNED, _ON_DEVICE, _READ_WRITE, _MINIMUM = 1, 1, 3, 0  # CU_MEM_ALLOCATION_TYPE_…, CU_MEM_LOCATION_TYPE_…, …


class Edge(StrEnum):
    """The side of a tensor that lies at unmapped memory."""

    FRONT = "front"
    BACK = "back"


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Properties(ctypes.Structure):  # CUmemAllocationProp
    _fields_ = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("win32", ctypes.c_void_p),
        ("flags", ctypes.c_ubyte * 8),
    )


class _Access(ctypes.Structure):  # CUmemAccessDesc
    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


class _Mapped:
    """What torch.as_tensor reads a foreign address from, without a copy."""

    def __init__(self, address: int, bytes_: int) -> None:
        self.__cuda_array_interface__ = {"shape": (bytes_,), "typestr": "|u1", "data": (address, False), "version": 3}


_PATTERNS = {"nan": 0xFF, "zero": 0}
"""What is around tensors and in fresh ones, by poison: all bits set are NaN in every floating-point type."""
_EDGES = {("nan", False): Edge.BACK, ("zero", False): Edge.FRONT, ("nan", True): Edge.FRONT, ("zero", True): Edge.BACK}
"""Where they lie, by poison and whether they are moved."""


@cache
def guarded_memory() -> GuardedMemory:
    """This process's own; pages are expensive to map."""
    return GuardedMemory()


@dataclass
class _Block:
    pages: torch.Tensor
    """uint8, all of the mapped bytes."""
    start: int = 0
    used: int = 0


def place(edge: Edge, page_bytes: int, bytes_: int, shift: int, alignment: int) -> int:
    """Where in its pages a tensor starts: as close to ``edge`` as its address allows."""
    room = page_bytes - bytes_ - shift
    return shift if edge is Edge.FRONT else room // alignment * alignment + shift


def guarded_copies(
    pages: GuardedMemory, inputs: Mapping[str, Any], poison: str, *, moved: bool, alignments: Mapping[str, int]
) -> dict[str, Any]:
    """``inputs`` with their tensors in ``pages``, which hold ``poison`` and nothing of an earlier call.

    ``moved``: they lie as they do with the other poison. ``alignments``: of which power of two's multiples an input
    lies as far past as it did, where that is not ``ALIGNMENT``.
    """
    pages.begin(_EDGES[poison, moved], _PATTERNS[poison])
    return {
        name: pages.like(value, alignments.get(name, ALIGNMENT)) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
    }


class GuardedMemory:
    """Tensors of one call after the other; blocks are kept for the next call."""

    def __init__(self) -> None:
        torch.empty(1, device="cuda")  # torch's context must be current
        self._driver = Driver()
        device = ctypes.c_int()
        self._driver.call("cuCtxGetDevice", ctypes.byref(device))
        self._properties = _Properties(type=_PINNED, location=_Location(_ON_DEVICE, device.value))
        granularity = ctypes.c_size_t()
        self._driver.call(
            "cuMemGetAllocationGranularity", ctypes.byref(granularity), ctypes.byref(self._properties), _MINIMUM
        )
        self._page = granularity.value
        self._free: dict[int, list[_Block]] = {}
        self._used: list[_Block] = []
        self._edge, self._pattern = Edge.BACK, 0

    def begin(self, edge: Edge, pattern: int) -> None:
        """Give back every tensor; the next ones lie at ``edge`` amid bytes of ``pattern``."""
        for block in self._used:
            self._free.setdefault(block.pages.numel(), []).append(block)
        self._used, self._edge, self._pattern = [], edge, pattern

    def like(self, tensor: torch.Tensor, alignment: int = ALIGNMENT) -> torch.Tensor:
        """A copy with the same strides, whose address is as far past a multiple of ``alignment``."""
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        span = 1 + sum((size - 1) * step for size, step in pairs) if tensor.numel() else 0
        memory = self.empty(span, tensor.dtype, tensor.data_ptr() % alignment, alignment)
        source = tensor.as_strided((span,), (1,), tensor.storage_offset())
        memory.view(torch.uint8).copy_(source.view(torch.uint8))
        return memory.as_strided(tensor.shape, tensor.stride(), memory.storage_offset())

    def empty(self, count: int, dtype: torch.dtype, shift: int = 0, alignment: int = ALIGNMENT) -> torch.Tensor:
        """``count`` elements whose address is ``shift`` bytes past a multiple of ``alignment``; of the pattern."""
        bytes_ = count * torch.empty(0, dtype=dtype).element_size()
        block = self._block(bytes_ + 2 * ALIGNMENT)
        block.pages.fill_(self._pattern)
        block.start = place(self._edge, block.pages.numel(), bytes_, shift, alignment)
        block.used = bytes_
        self._used.append(block)
        return block.pages[block.start : block.start + bytes_].view(dtype)

    def disturbed(self) -> bool:
        """Whether something was written beside a tensor since it was made. Waits for the device."""
        beside = [
            part
            for block in self._used
            for part in (block.pages[: block.start], block.pages[block.start + block.used :])
        ]
        differs = [(part != self._pattern).any() for part in beside if part.numel()]
        return bool(differs) and bool(torch.stack(differs).any())

    def _block(self, bytes_: int) -> _Block:
        size = -(-bytes_ // self._page) * self._page
        kept = self._free.get(size)
        return kept.pop() if kept else _Block(self._mapped(size))

    def _mapped(self, size: int) -> torch.Tensor:
        address, handle = ctypes.c_uint64(), ctypes.c_uint64()
        reserved = ctypes.c_size_t(size + 2 * self._page)
        flags, bytes_ = ctypes.c_ulonglong(0), ctypes.c_size_t(size)
        call = self._driver.call
        call("cuMemAddressReserve", ctypes.byref(address), reserved, ctypes.c_size_t(0), ctypes.c_uint64(0), flags)
        call("cuMemCreate", ctypes.byref(handle), bytes_, ctypes.byref(self._properties), flags)
        inside = address.value + self._page
        call("cuMemMap", ctypes.c_uint64(inside), bytes_, ctypes.c_size_t(0), handle, flags)
        access = _Access(self._properties.location, _READ_WRITE)
        call("cuMemSetAccess", ctypes.c_uint64(inside), bytes_, ctypes.byref(access), ctypes.c_size_t(1))
        pages: torch.Tensor = torch.as_tensor(_Mapped(inside, size), device="cuda")
        return pages
