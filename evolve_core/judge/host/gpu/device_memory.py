"""Device memory that one process writes and another reads, by CUDA's inter-process handles (driver API, cuIpc*).

Handing 33 MB over this way is a copy within the device, tens of microseconds; through the host's memory it is twice
over the bus, milliseconds. Not every system has it (WSL, some containers): ``reserve`` then says so, once.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch

from .driver import Driver, DriverError

HANDLE_BYTES = 64  # CU_IPC_HANDLE_SIZE
_LAZY_PEER_ACCESS = 1  # CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS
_SMALLEST_BYTES = 64 << 20
_GROWTH = 1.5


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_ubyte * HANDLE_BYTES),)


class Exporter:
    """Memory of this process for another one to read. Only the latest allocation is written.

    An outgrown one is kept: freeing what another process has opened is undefined.
    """

    def __init__(self) -> None:
        self._address = 0
        self._bytes = 0
        self._handle = ""
        self._refused = False

    @property
    def in_use(self) -> bool:
        return bool(self._handle) and not self._refused

    def reserve(self, bytes_: int) -> str:
        """The handle of at least ``bytes_`` bytes, in hexadecimal; "" where memory cannot be shared like this."""
        if self._refused or bytes_ <= self._bytes:
            return "" if self._refused else self._handle
        wanted = max(int(bytes_ * _GROWTH), _SMALLEST_BYTES)
        address, handle = ctypes.c_uint64(), _Handle()
        try:
            _driver().call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(wanted))
            _driver().call("cuIpcGetMemHandle", ctypes.byref(handle), address)
        except DriverError:
            self._refused = True
            return ""
        self._address, self._bytes, self._handle = address.value, wanted, bytes(handle.reserved).hex()
        return self._handle

    def refuse(self) -> None:
        """The other side cannot open it: never hand out a handle again."""
        self._refused = True

    def write(self, offset: int, source: torch.Tensor) -> None:
        """Copy the bytes of ``source`` (uint8, contiguous, on the device) to ``offset``."""
        copy_on_device(self._address + offset, source.data_ptr(), source.numel())


class Importer:
    """Other processes' memory, opened at first sight of its handle."""

    def __init__(self) -> None:
        self._opened: dict[str, tuple[int, int]] = {}

    def open(self, handle: str) -> tuple[int, int]:
        """(address, bytes) of the memory. Raises ``DriverError`` or ``ValueError`` where ``handle`` is none."""
        if handle not in self._opened:
            raw = bytes.fromhex(handle)
            if len(raw) != HANDLE_BYTES:
                raise ValueError("not a handle")
            given, address = _Handle((ctypes.c_ubyte * HANDLE_BYTES)(*raw)), ctypes.c_uint64()
            _driver().call("cuIpcOpenMemHandle_v2", ctypes.byref(address), given, ctypes.c_uint(_LAZY_PEER_ACCESS))
            base, size = ctypes.c_uint64(), ctypes.c_size_t()
            _driver().call("cuMemGetAddressRange_v2", ctypes.byref(base), ctypes.byref(size), address)
            self._opened[handle] = (address.value, size.value - (address.value - base.value))
        return self._opened[handle]


def copy_on_device(to: int, source: int, bytes_: int) -> None:
    """Queue a copy between two device addresses on torch's current stream."""
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    _driver().call(
        "cuMemcpyDtoDAsync_v2", ctypes.c_uint64(to), ctypes.c_uint64(source), ctypes.c_size_t(bytes_), stream
    )


@cache
def _driver() -> Driver:
    torch.empty(1, device="cuda")  # torch's context must be current before the driver is asked for memory in it
    return Driver()
