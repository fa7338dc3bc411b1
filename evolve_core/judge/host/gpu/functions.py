"""A plan's compiled kernels, loaded and launched through the driver. Needs no torch, but a context that is current.

What a kernel finds in a launch is what Triton's own launcher gives it: its parameters in order, then pointers to its
global and its profile scratch where the binary has parameters for them.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from ..errors import StepError
from ..plan import KernelLaunch
from .arguments import POINTER_BYTES, AddressOf, as_ctypes, parameter_bytes
from .driver import DEFAULT_SHARED_BYTES, Driver

_PREFER_SHARED = 1  # CU_FUNC_CACHE_PREFER_SHARED, which Triton asks for as well


class Functions:
    """Out of ``binaries``, the folder of a BinaryStore. Loaded when they are first launched."""

    def __init__(self, binaries: Path, driver: Driver) -> None:
        self._binaries, self._driver = binaries, driver
        self._loaded: dict[tuple[str, str], _Function] = {}

    def launch(self, step: KernelLaunch, address_of: AddressOf, scratch: int, stream: int) -> None:
        """``address_of`` gives those of the plan's buffers; ``scratch``: that of the global scratch, 0 for none.

        Raises StepError where the binary does not take what the plan gives it, DriverError where the driver refuses.
        """
        function = self._function(step)
        arguments = [as_ctypes(one, address_of) for one in step.arguments]
        arguments += [ctypes.c_uint64(scratch)] * (function.extra > 0)
        arguments += [ctypes.c_uint64(0)] * (function.extra - 1)
        self._driver.launch(function.handle, step.grid, (step.threads, 1, 1), step.shared_bytes, stream, arguments)

    def unload(self) -> None:
        """Give back the kernels' memory; a later launch loads them again."""
        for function in self._loaded.values():
            self._driver.call("cuModuleUnload", function.module)
        self._loaded.clear()

    def _function(self, step: KernelLaunch) -> _Function:
        key = (step.binary, step.function)
        if key not in self._loaded:
            content = (self._binaries / f"{step.binary}.cubin").read_bytes()
            self._loaded[key] = _loaded(self._driver, content, step)
        return self._loaded[key]


@dataclass(frozen=True, slots=True)
class _Function:
    """A loaded kernel; ``extra`` parameters follow those of the plan."""

    module: ctypes.c_void_p
    handle: ctypes.c_void_p
    extra: int


def _loaded(driver: Driver, content: bytes, step: KernelLaunch) -> _Function:
    module = driver.load_module(content)
    handle = driver.function(module, step.function)
    limit = driver.shared_limit_bytes()
    if step.shared_bytes > limit:
        raise StepError(
            "compile-error",
            f"{step.function} needs {step.shared_bytes} bytes of shared memory, this GPU gives a block {limit}",
        )
    if step.shared_bytes > DEFAULT_SHARED_BYTES:
        driver.call("cuFuncSetCacheConfig", handle, ctypes.c_int(_PREFER_SHARED))
        driver.allow_shared(handle, step.shared_bytes)
    sizes = driver.parameter_bytes(handle)
    own = [parameter_bytes(one) for one in step.arguments]
    extra = sizes[len(own) :]
    if sizes[: len(own)] != own or len(extra) > 2 or set(extra) - {POINTER_BYTES}:
        raise StepError("crash", f"{step.function} was compiled for parameters of {sizes} bytes, its plan has {own}")
    return _Function(module, handle, len(extra))
