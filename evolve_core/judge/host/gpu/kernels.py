"""Compiled kernels in this process: loaded when they are first asked for, and launched on the buffers of a plan.

What a kernel finds in a launch is what Triton's own launcher gives it: its parameters in order, then pointers to its
global and its profile scratch where the binary has parameters for them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import StepError
from ..plan import KernelLaunch
from .arguments import POINTER_BYTES, as_ctypes, parameter_bytes
from .driver import DEFAULT_SHARED_BYTES, Driver

_PREFER_SHARED = 1  # CU_FUNC_CACHE_PREFER_SHARED, which Triton asks for as well


@dataclass
class _Function:
    """A loaded kernel; ``extra`` parameters follow those of the plan. A block may ask for ``shared_bytes``."""

    module: ctypes.c_void_p
    handle: ctypes.c_void_p
    extra: int
    shared_bytes: int = DEFAULT_SHARED_BYTES


class Kernels:
    """Those of the files ``<sha256>.cubin`` in ``binaries``."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._driver: Driver | None = None
        self._functions: dict[tuple[str, str], _Function] = {}

    def launch(self, step: KernelLaunch, tensors: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
        """On torch's current stream. ``tensors`` are the plan's memories. Raises StepError, DriverError."""
        function = self._function(step)
        arguments = [as_ctypes(one, tensors) for one in step.arguments]
        arguments += [ctypes.c_uint64(scratch.data_ptr() if scratch is not None else 0)] * (function.extra > 0)
        arguments += [ctypes.c_uint64(0)] * (function.extra - 1)
        stream = torch.cuda.current_stream().cuda_stream
        assert self._driver is not None
        self._driver.launch(function.handle, step.grid, step.block, step.shared_bytes, stream, arguments)

    def unload(self) -> None:
        """Give back the kernels' memory; a later launch loads them again."""
        for function in self._functions.values():
            assert self._driver is not None
            self._driver.call("cuModuleUnload", function.module)
        self._functions.clear()

    def _function(self, step: KernelLaunch) -> _Function:
        key = (step.binary, step.function)
        if key not in self._functions:
            torch.cuda.current_stream()  # torch's context must be current before the driver loads into it
            self._driver = self._driver or Driver()
            content = (self._binaries / f"{step.binary}.cubin").read_bytes()
            self._functions[key] = _loaded(self._driver, content, step)
        function = self._functions[key]
        if step.shared_bytes > function.shared_bytes:
            assert self._driver is not None
            _allow_shared(self._driver, function, step)
        return function


def _loaded(driver: Driver, content: bytes, step: KernelLaunch) -> _Function:
    module = driver.load_module(content)
    handle = driver.function(module, step.function)
    sizes = driver.parameter_bytes(handle)
    own = [parameter_bytes(one) for one in step.arguments]
    extra = sizes[len(own) :]
    if sizes[: len(own)] != own or len(extra) > 2 or set(extra) - {POINTER_BYTES}:
        raise StepError("crash", f"{step.function} was compiled for parameters of {sizes} bytes, its plan has {own}")
    return _Function(module, handle, len(extra))


def _allow_shared(driver: Driver, function: _Function, step: KernelLaunch) -> None:
    limit = driver.shared_limit_bytes()
    if step.shared_bytes > limit:
        raise StepError(
            "compile-error",
            f"{step.function} needs {step.shared_bytes} bytes of shared memory, this GPU gives a block {limit}",
        )
    driver.call("cuFuncSetCacheConfig", function.handle, ctypes.c_int(_PREFER_SHARED))
    driver.allow_shared(function.handle, step.shared_bytes)
    function.shared_bytes = step.shared_bytes
