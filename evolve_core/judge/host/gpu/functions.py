"""A plan's compiled kernels, loaded when they are first asked for and launched through the driver, without torch.

What a kernel finds in a launch is what Triton's own launcher gives it: its parameters in order, then pointers to its
global and its profile scratch where the binary has parameters for them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..errors import StepError
from ..keeping import keeps_memory
from ..plan import KernelLaunch, Step
from .arguments import POINTER_BYTES, AddressOf, as_ctypes, parameter_bytes
from .driver import DEFAULT_SHARED_BYTES, Driver

_PREFER_SHARED = 1  # CU_FUNC_CACHE_PREFER_SHARED, which Triton asks for as well


@dataclass
class _Function:
    """A loaded kernel; ``extra`` parameters follow those of the plan. A block may ask for ``shared_bytes``."""

    handle: ctypes.c_void_p
    extra: int
    shared_bytes: int = DEFAULT_SHARED_BYTES


@dataclass
class _Module:
    """A loaded file: its kernels share what memory it has of its own."""

    handle: ctypes.c_void_p
    functions: dict[str, _Function] = field(default_factory=dict)


class Functions:
    """Those of the files ``<sha256>.cubin`` in ``binaries``."""

    def __init__(self, binaries: Path, driver: Callable[[], Driver]) -> None:
        """``driver`` is called before anything is loaded; the context that is current then is the kernels'."""
        self._binaries, self._open = binaries, driver
        self._modules: dict[str, _Module] = {}
        self._kept: dict[str, bool] = {}
        """By binary, whether its modules have memory of their own."""

    def launch_at(self, step: KernelLaunch, address_of: AddressOf, scratch: int, stream: int) -> None:
        """``address_of`` gives those of the plan's buffers; ``scratch``: that of the global scratch, 0 for none.

        Raises StepError where the binary does not take what the plan gives it, DriverError where the driver refuses.
        """
        function = self._function(step)
        arguments = [as_ctypes(one, address_of) for one in step.arguments]
        arguments += [ctypes.c_uint64(scratch)] * (function.extra > 0)
        arguments += [ctypes.c_uint64(0)] * (function.extra - 1)
        self._driver.launch(function.handle, step.grid, step.block, step.shared_bytes, stream, arguments)

    def keep_memory(self, steps: Iterable[Step]) -> bool:
        """Whether a module that these launch kernels of has memory of its own, in which something may stay."""
        return any(self._keeps(step.binary) for step in steps if isinstance(step, KernelLaunch))

    def renew(self, steps: Iterable[Step]) -> None:
        """Load anew what these launch: its modules' own memory is then as it was compiled. Waits for the device.

        The kernels are ready to be launched afterwards: one that is loaded lazily may wait for a stream that is held.
        """
        launches = [step for step in steps if isinstance(step, KernelLaunch)]
        self._driver.call("cuCtxSynchronize")
        for binary in {step.binary for step in launches} & self._modules.keys():
            self._driver.call("cuModuleUnload", self._modules.pop(binary).handle)
        for step in launches:
            self._driver.call("cuFuncLoad", self._function(step).handle)

    def unload(self) -> None:
        """Give back the kernels' memory; a later launch loads them again."""
        for module in self._modules.values():
            self._driver.call("cuModuleUnload", module.handle)
        self._modules.clear()

    @cached_property
    def _driver(self) -> Driver:
        return self._open()

    def _keeps(self, binary: str) -> bool:
        if binary not in self._kept:
            self._kept[binary] = keeps_memory(self._content(binary))
        return self._kept[binary]

    def _content(self, binary: str) -> bytes:
        return (self._binaries / f"{binary}.cubin").read_bytes()

    def _function(self, step: KernelLaunch) -> _Function:
        if step.binary not in self._modules:
            self._modules[step.binary] = _Module(self._driver.load_module(self._content(step.binary)))
        module = self._modules[step.binary]
        if step.function not in module.functions:
            module.functions[step.function] = _found(self._driver, module.handle, step)
        function = module.functions[step.function]
        if step.shared_bytes > function.shared_bytes:
            _allow_shared(self._driver, function, step)
        return function


def _found(driver: Driver, module: ctypes.c_void_p, step: KernelLaunch) -> _Function:
    handle = driver.function(module, step.function)
    sizes = driver.parameter_bytes(handle)
    own = [parameter_bytes(one) for one in step.arguments]
    extra = sizes[len(own) :]
    if sizes[: len(own)] != own or len(extra) > 2 or set(extra) - {POINTER_BYTES}:
        raise StepError("crash", f"{step.function} was compiled for parameters of {sizes} bytes, its plan has {own}")
    return _Function(handle, len(extra))


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
