"""Carry out a launch plan: compiled kernels through the driver, on memory of ours, with none of the host code.

What a kernel finds in a launch is what Triton's own launcher gives it: its parameters in order, then pointers to its
global and its profile scratch where the binary has parameters for them.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..buffers import dtype_name, dtype_named, flatten_outputs, plain_value
from ..errors import StepError
from ..plan import ALIGNMENT, Argument, Copy, Fill, Given, KernelLaunch, LaunchPlan, View
from .driver import DEFAULT_SHARED_BYTES, Driver
from .guarded import Edge, guarded_memory
from .job import Named

_SURROUNDINGS = {"nan": (Edge.BACK, 0xFF), "zero": (Edge.FRONT, 0)}
"""Where tensors lie and what is around and in them, by poison: all bits set are NaN in every floating-point type."""
_POINTER_BYTES = 8
_PREFER_SHARED = 1  # CU_FUNC_CACHE_PREFER_SHARED, which Triton asks for as well
_INTEGERS: dict[str, type[Any]] = {
    "i1": ctypes.c_int8,
    "i8": ctypes.c_int8,
    "i16": ctypes.c_int16,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "u1": ctypes.c_uint8,
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
}


class PlannedRunner:
    """Calls like an entry would be called. ``launches`` is how many kernels the latest call launched."""

    def __init__(self, plans: Sequence[LaunchPlan], binaries: Path, device: str = "cuda") -> None:
        self._plans = tuple(plans)
        self._binaries = binaries
        self._device = device
        self._driver: Driver | None = None
        self._functions: dict[tuple[str, str], _Function] = {}
        self.launches = 0

    def __call__(self, inputs: dict[str, Any]) -> Named:
        return self._carried_out(inputs, self._fresh)

    def guarded(self, inputs: dict[str, Any], poison: str) -> tuple[dict[str, Any], Named]:
        """A call on copies of ``inputs`` with unmapped memory beside every tensor; the copies as it left them, and the
        outputs.

        Fresh memory holds ``poison``. Raises StepError where something beside a tensor was written.
        """
        memory = guarded_memory()
        memory.begin(*_SURROUNDINGS[poison])
        copies = {
            name: memory.like(value) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()
        }
        outputs = self._carried_out(copies, memory.empty)
        if memory.disturbed():
            raise StepError("crash", "it writes beside its tensors")
        return copies, outputs

    def unload(self) -> None:
        """Give back the kernels' memory; a later call loads them again."""
        for function in self._functions.values():
            assert self._driver is not None
            self._driver.call("cuModuleUnload", function.module)
        self._functions.clear()

    def _carried_out(self, inputs: dict[str, Any], allocate: Callable[[int, torch.dtype], torch.Tensor]) -> Named:
        plan = self._plan_for(inputs)
        tensors = [
            inputs[memory.given] if memory.given else allocate(memory.count, dtype_named(memory.dtype))
            for memory in plan.memories
        ]
        for step in plan.steps:
            if isinstance(step, KernelLaunch):
                self._launch(step, tensors)
            elif isinstance(step, Fill):
                _seen(step.view, tensors).fill_(step.value)
            else:
                _copy(step, tensors)
        self.launches = plan.launches
        if plan.outputs is None:
            return flatten_outputs(None, inputs)
        seen = [None if output.view is None else _seen(output.view, tensors) for output in plan.outputs]
        return [(output.name, value) for output, value in zip(plan.outputs, seen, strict=True)]

    def _plan_for(self, inputs: dict[str, Any]) -> LaunchPlan:
        for plan in self._plans:
            if _fits(plan, inputs):
                return plan
        raise StepError("crash", "the entry was not followed on inputs of these shapes, so there is no plan for them")

    def _fresh(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(count, dtype=dtype, device=self._device)

    def _launch(self, step: KernelLaunch, tensors: Sequence[torch.Tensor]) -> None:
        function = self._function(step)
        arguments = [_argument(one, tensors) for one in step.arguments]
        scratch = None
        if step.scratch_bytes:
            programs = step.grid[0] * step.grid[1] * step.grid[2]
            scratch = torch.empty(programs * step.scratch_bytes, dtype=torch.uint8, device=self._device)
        arguments += [ctypes.c_uint64(scratch.data_ptr() if scratch is not None else 0)] * (function.extra > 0)
        arguments += [ctypes.c_uint64(0)] * (function.extra - 1)
        stream = torch.cuda.current_stream().cuda_stream
        assert self._driver is not None
        self._driver.launch(function.handle, step.grid, (step.threads, 1, 1), step.shared_bytes, stream, arguments)

    def _function(self, step: KernelLaunch) -> _Function:
        key = (step.binary, step.function)
        if key not in self._functions:
            torch.cuda.current_stream()  # torch's context must be current before the driver loads into it
            self._driver = self._driver or Driver()
            content = (self._binaries / f"{step.binary}.cubin").read_bytes()
            self._functions[key] = _loaded(self._driver, content, step)
        return self._functions[key]


class _Function:
    """A loaded kernel; ``extra`` parameters follow those of the plan."""

    def __init__(self, module: ctypes.c_void_p, handle: ctypes.c_void_p, extra: int) -> None:
        self.module = module
        self.handle = handle
        self.extra = extra


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
    own = [_bytes(one) for one in step.arguments]
    extra = sizes[len(own) :]
    if sizes[: len(own)] != own or len(extra) > 2 or set(extra) - {_POINTER_BYTES}:
        raise StepError("crash", f"{step.function} was compiled for parameters of {sizes} bytes, its plan has {own}")
    return _Function(module, handle, len(extra))


def _fits(plan: LaunchPlan, inputs: dict[str, Any]) -> bool:
    if {given.name for given in plan.givens} != set(inputs):
        return False
    for given in plan.givens:
        value = inputs[given.name]
        if not isinstance(value, torch.Tensor):
            if given.dtype or plain_value(value) != given.value:
                return False
        elif given != _as_given(given.name, value):
            return False
    return True


def _as_given(name: str, tensor: torch.Tensor) -> Given:
    shift = tensor.data_ptr() % ALIGNMENT
    return Given(name, dtype_name(tensor.dtype), tuple(tensor.shape), tuple(tensor.stride()), shift)


def _seen(view: View, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The tensor that ``view`` describes. Raises StepError where it would reach outside its buffer."""
    base = tensors[view.memory]
    dtype = dtype_named(view.dtype)
    item = torch.empty(0, dtype=dtype).element_size()
    start = base.storage_offset() * base.element_size() + view.offset
    last = sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True)) if all(view.shape) else 0
    storage = base.untyped_storage()
    if start % item or start < 0 or (all(view.shape) and start + (last + 1) * item > storage.nbytes()):
        raise StepError("crash", "the plan uses a tensor outside its memory")
    if dtype == base.dtype:
        return base.as_strided(view.shape, view.stride, start // item)
    return torch.empty(0, dtype=dtype, device=base.device).set_(storage, start // item, view.shape, view.stride)


def _copy(step: Copy, tensors: Sequence[torch.Tensor]) -> None:
    _seen(step.target, tensors).copy_(_seen(step.source, tensors))


def _argument(argument: Argument, tensors: Sequence[torch.Tensor]) -> Any:
    if argument.memory is not None:
        return ctypes.c_uint64(tensors[argument.memory].data_ptr() + argument.offset)
    if argument.scalar in _INTEGERS:
        return _INTEGERS[argument.scalar](int(argument.value))
    if argument.scalar == "fp64":
        return ctypes.c_double(argument.value)
    if argument.scalar == "fp32":
        return ctypes.c_float(argument.value)
    if argument.scalar == "fp16":
        return ctypes.c_uint16(struct.unpack("<H", struct.pack("<e", argument.value))[0])
    # bfloat16: the upper half of the bits of a float, as Triton's launcher takes it.
    return ctypes.c_uint16(struct.unpack("<I", struct.pack("<f", argument.value))[0] >> 16)


def _bytes(argument: Argument) -> int:
    if argument.memory is not None:
        return _POINTER_BYTES
    return ctypes.sizeof(_argument(argument, ()))
