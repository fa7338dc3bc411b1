"""Carry out a launch plan: compiled kernels through the driver, on memory of ours, with none of the host code.

What a kernel finds in a launch is what Triton's own launcher gives it: its parameters in order, then pointers to its
global and its profile scratch where the binary has parameters for them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..buffers import dtype_name, dtype_named, flatten_outputs, plain_value
from ..errors import StepError
from ..plan import ALIGNMENT, Copy, Fill, Given, KernelLaunch, LaunchPlan, Step, View
from .arguments import POINTER_BYTES, as_ctypes, parameter_bytes
from .driver import DEFAULT_SHARED_BYTES, Driver
from .guarded import Edge, guarded_memory
from .job import Named

_SURROUNDINGS = {"nan": (Edge.BACK, 0xFF), "zero": (Edge.FRONT, 0)}
"""Where tensors lie and what is around and in them, by poison: all bits set are NaN in every floating-point type."""
_PREFER_SHARED = 1  # CU_FUNC_CACHE_PREFER_SHARED, which Triton asks for as well


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
        plan = self._plan_for(inputs)
        return self._carried_out(plan, inputs, self._memory(plan, inputs, self._fresh))

    def prepared(self, inputs: dict[str, Any]) -> Callable[[], Named]:
        """A call on ``inputs``, to be made once: the memory that it gets is there already, and nothing of an earlier
        call is left in it.
        """
        plan = self._plan_for(inputs)
        memory = self._memory(plan, inputs, lambda count, dtype: _overwritten(self._fresh(count, dtype)))
        return lambda: self._carried_out(plan, inputs, memory)

    def guarded(self, inputs: dict[str, Any], poison: str) -> tuple[dict[str, Any], Named]:
        """A call on copies of ``inputs`` with unmapped memory beside every tensor; the copies as it left them, and the
        outputs.

        Fresh memory holds ``poison``. Raises StepError where something beside a tensor was written.
        """
        plan, pages = self._plan_for(inputs), guarded_memory()
        pages.begin(*_SURROUNDINGS[poison])
        kept = kept_alignments(plan)
        copies = {
            name: pages.like(value, kept.get(name, ALIGNMENT)) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        outputs = self._carried_out(plan, copies, self._memory(plan, copies, pages.empty))
        if pages.disturbed():
            raise StepError("crash", "it writes beside its tensors")
        return copies, outputs

    def unload(self) -> None:
        """Give back the kernels' memory; a later call loads them again."""
        for function in self._functions.values():
            assert self._driver is not None
            self._driver.call("cuModuleUnload", function.module)
        self._functions.clear()

    def _memory(self, plan: LaunchPlan, inputs: dict[str, Any], allocate: _Allocate) -> _Memory:
        """Everything that the steps of ``plan`` are given."""
        tensors = [
            inputs[memory.given] if memory.given else allocate(memory.count, dtype_named(memory.dtype))
            for memory in plan.memories
        ]
        return _Memory(tensors, [self._scratch(step) for step in plan.steps])

    def _scratch(self, step: Step) -> torch.Tensor | None:
        if not isinstance(step, KernelLaunch) or not step.scratch_bytes:
            return None
        programs = step.grid[0] * step.grid[1] * step.grid[2]
        # Not between guards: it may need more alignment than they give.
        return _overwritten(self._fresh(programs * step.scratch_bytes, torch.uint8))

    def _carried_out(self, plan: LaunchPlan, inputs: dict[str, Any], memory: _Memory) -> Named:
        tensors = memory.tensors
        for step, scratch in zip(plan.steps, memory.scratch, strict=True):
            if isinstance(step, KernelLaunch):
                self._launch(step, tensors, scratch)
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

    def _launch(self, step: KernelLaunch, tensors: Sequence[torch.Tensor], scratch: torch.Tensor | None) -> None:
        function = self._function(step)
        arguments = [as_ctypes(one, tensors) for one in step.arguments]
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


_Allocate = Callable[[int, torch.dtype], torch.Tensor]


@dataclass(frozen=True)
class _Memory:
    """``tensors``: the plan's memories. ``scratch``: of each of its steps."""

    tensors: list[torch.Tensor]
    scratch: list[torch.Tensor | None]


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
    own = [parameter_bytes(one) for one in step.arguments]
    extra = sizes[len(own) :]
    if sizes[: len(own)] != own or len(extra) > 2 or set(extra) - {POINTER_BYTES}:
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


def kept_alignments(plan: LaunchPlan) -> dict[str, int]:
    """By input, which power of two its address may be moved by without breaking what a kernel was promised.

    Triton promises its compiler multiples of ``ALIGNMENT``; an address off those may be in code for no more than it
    happens to be aligned to.
    """
    shifts = {given.name: given.shift for given in plan.givens}
    kept: dict[str, int] = {}
    for step in plan.steps:
        for argument in step.arguments if isinstance(step, KernelLaunch) else ():
            name = "" if argument.memory is None else plan.memories[argument.memory].given
            if name:
                past = (shifts[name] + argument.offset) % ALIGNMENT
                kept[name] = max(kept.get(name, 1), past & -past or ALIGNMENT)
    return kept


def _overwritten(tensor: torch.Tensor) -> torch.Tensor:
    """All bits set: NaN in every floating-point type."""
    if tensor.numel():
        tensor.view(torch.uint8).fill_(0xFF)
    return tensor


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
