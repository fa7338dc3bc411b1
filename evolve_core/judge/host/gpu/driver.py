"""The few CUDA driver calls that the judge makes itself, by ctypes.

Timing and launching do not go through torch: a candidate's Python code shares the process and could have replaced
what torch offers under those names. Signatures follow NVIDIA's CUDA driver API reference (cuda.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

_ATTRIBUTE_SHARED_OPTIN = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
_FUNCTION_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_NOT_READY = 600  # CUDA_ERROR_NOT_READY
DEFAULT_SHARED_BYTES = 48 << 10
"""What a block may ask for without the function being told."""


class DriverError(Exception):
    """A CUDA driver call failed; the message carries the call and the driver's own name for the error."""


class Driver:
    """The driver API of this process. torch must have made its context current (any CUDA tensor does), or
    ``use_first_device``.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def call(self, function: str, *arguments: Any) -> None:
        """Call ``function``; raises ``DriverError`` with the driver's name of the error."""
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise DriverError(f"{function}: {self._error_name(status)}")

    def use_first_device(self) -> None:
        """Without torch: make the first visible device's primary context current in this thread."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", ctypes.c_uint(0))
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def load_module(self, binary: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(binary))
        return module

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(found), module, name.encode())
        return found

    def allow_shared(self, function: ctypes.c_void_p, bytes_: int) -> None:
        """A block gets more than 48 KiB of dynamic shared memory only where the function was told so."""
        if bytes_ > DEFAULT_SHARED_BYTES:
            self.call("cuFuncSetAttribute", function, _FUNCTION_MAX_DYNAMIC_SHARED, ctypes.c_int(bytes_))

    def launch(
        self,
        function: ctypes.c_void_p,
        grid: Sequence[int],
        block: Sequence[int],
        shared_bytes: int,
        stream: int,
        arguments: Sequence[Any],
    ) -> None:
        """Launch with ``arguments`` as ctypes values, in the kernel's order."""
        pointers = (ctypes.c_void_p * max(len(arguments), 1))(
            *(ctypes.cast(ctypes.pointer(argument), ctypes.c_void_p) for argument in arguments)
        )
        sizes = [ctypes.c_uint(n) for n in (*grid, *block)]
        self.call(
            "cuLaunchKernel",
            function,
            *sizes,
            ctypes.c_uint(shared_bytes),
            ctypes.c_void_p(stream),
            pointers,
            None,
        )

    def parameter_bytes(self, function: ctypes.c_void_p) -> list[int]:
        """Sizes of the kernel's parameters, from the binary itself. Raises ``DriverError`` before CUDA 12.4."""
        try:
            ask = self._library.cuFuncGetParamInfo
        except AttributeError:
            raise DriverError("cuFuncGetParamInfo: this driver is older than CUDA 12.4") from None
        sizes: list[int] = []
        offset, size = ctypes.c_size_t(), ctypes.c_size_t()
        while ask(function, ctypes.c_size_t(len(sizes)), ctypes.byref(offset), ctypes.byref(size)) == 0:
            sizes.append(size.value)
        return sizes

    def pending(self, event: ctypes.c_void_p) -> bool:
        """Whether the device has not reached ``event`` yet."""
        return int(self._library.cuEventQuery(event)) == _NOT_READY

    def shared_limit_bytes(self) -> int:
        """Dynamic shared memory one block may ask for on the current device."""
        device, value = ctypes.c_int(), ctypes.c_int()
        self.call("cuCtxGetDevice", ctypes.byref(device))
        self.call("cuDeviceGetAttribute", ctypes.byref(value), _ATTRIBUTE_SHARED_OPTIN, device)
        return value.value

    def _error_name(self, status: int) -> str:
        name = ctypes.c_char_p()
        if self._library.cuGetErrorName(status, ctypes.byref(name)) == 0 and name.value:
            return name.value.decode()
        return f"error {status}"
