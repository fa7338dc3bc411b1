"""The launches of one call of a plan, run from TTIR on the buffers of its carrier."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors import StepError
from .plan import Copy, Fill, KernelLaunch, LaunchPlan, Step, View, views_of
from .ttir.findings import Finding
from .ttir.ir import Module
from .ttir.launch import BufferArgument, LaunchArgument, run_launch
from .ttir.memory import Buffer, Memory
from .ttir.work import Budget

_AS_INTEGERS = {torch.bfloat16: torch.uint16, torch.bool: torch.uint8}
"""How numpy holds what it has no type for; the 8-bit floats are bytes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a kernel did wrong."""

    kernel: str
    finding: Finding


Run = Callable[[KernelLaunch, Module, Sequence[LaunchArgument], Memory, Budget], tuple[Finding, ...]]
"""How one launch is run, and what its kernel did wrong."""


def _every_program(
    step: KernelLaunch, module: Module, arguments: Sequence[LaunchArgument], memory: Memory, budget: Budget
) -> tuple[Finding, ...]:
    return run_launch(module, step.function, step.grid, arguments, memory, budget).findings


class TtirLaunches:
    """``launch`` is what a Carrier calls, once for each launch of ``plan`` in order.

    ``modules`` by the ``binary`` of the launches. ``until``: when all must have ended, by ``time.process_time``. Which
    elements were written is kept from launch to launch, and the plan's other steps in between count as writing all of
    what they mention: what torch reads before anything wrote it shows in the poison. ``run``: another way to run a
    launch, of only some programs; nothing is kept of what was written then.
    """

    def __init__(self, plan: LaunchPlan, modules: Mapping[str, Module], until: float, run: Run | None = None) -> None:
        self._plan, self._modules, self._until = plan, modules, until
        self._run, self._tracks_writes = run or _every_program, run is None
        self._steps = iter((*plan.prelude, *plan.steps))
        self._memory = Memory()
        self._buffers: dict[int, Buffer] = {}
        self._tensors: list[torch.Tensor] = []
        """Kept alive, because a dead storage's number is given to a new one."""
        self._written: list[View] = []
        """By the steps since the latest launch."""
        self._seen: list[Seen] = []

    @property
    def seen(self) -> tuple[Seen, ...]:
        return tuple(self._seen)

    def launch(self, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
        """Raises TtirError, or StepError where the kernel is missing."""
        module = self._modules.get(step.binary)
        if module is None:
            raise StepError("crash", f"the TTIR of {step.function} is missing")
        found = {one.memory: self._buffer(one.memory, buffers) for one in step.arguments if one.memory is not None}
        if self._tracks_writes:
            self._mark_written(step, buffers)
        arguments: list[LaunchArgument] = []
        for one in step.arguments:
            if one.memory is None:
                arguments.append(one.value)
            else:
                base = buffers[one.memory]
                start = base.storage_offset() * base.element_size()
                arguments.append(BufferArgument(found[one.memory], start + one.offset))
        budget = Budget(seconds=self._until - time.process_time())
        findings = self._run(step, module, arguments, self._memory, budget)
        self._seen.extend(Seen(step.function, finding) for finding in findings)

    def _buffer(self, number: int, buffers: Mapping[int, torch.Tensor]) -> Buffer:
        tensor = buffers[number]
        key = tensor.untyped_storage()._cdata
        if key not in self._buffers:
            described = self._plan.memories[number]
            written = bool(described.given) or described.values is not None or self._is_result(number)
            initialised = written or not self._tracks_writes
            name = described.given or f"buffer {number}"
            self._buffers[key] = self._memory.add(name, elements_of(tensor), initialised=initialised)
            self._tensors.append(tensor)
        return self._buffers[key]

    def _is_result(self, number: int) -> bool:
        steps = (*self._plan.prelude, *self._plan.steps)
        return any(view.memory == number for step in steps for view in _made(step))

    def _mark_written(self, launch: KernelLaunch, buffers: Mapping[int, torch.Tensor]) -> None:
        for step in self._steps:
            if step is launch:
                break
            self._written.extend(_written(step))
        for view in self._written:
            self._mark(view, buffers)
        self._written = [view for view in self._written if view.memory not in buffers]

    def _mark(self, view: View, buffers: Mapping[int, torch.Tensor]) -> None:
        base = buffers.get(view.memory)
        if base is None or not view.span:
            return
        flags = self._buffer(view.memory, buffers).initialised
        if flags is None:
            return
        unit = base.element_size()
        start = base.storage_offset() + view.offset // unit
        item = torch.empty(0, dtype=getattr(torch, view.dtype)).element_size()
        if item == unit:
            torch.from_numpy(flags).as_strided(view.shape, view.stride, start).fill_(True)
        else:
            flags[start : start + -(-view.span * item // unit)] = True


def _made(step: Step) -> list[View]:
    return [] if isinstance(step, (KernelLaunch, Fill, Copy)) else list(step.made)


def _written(step: Step) -> list[View]:
    return [step.target] if isinstance(step, Copy) else views_of(step)


def elements_of(tensor: torch.Tensor) -> Any:
    """The whole storage as it lies in memory: shared, not copied."""
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    byte_float = tensor.dtype.is_floating_point and tensor.element_size() == 1
    kind = torch.uint8 if byte_float else _AS_INTEGERS.get(tensor.dtype)
    flat: np.ndarray = (whole if kind is None else whole.view(kind)).numpy()
    return flat
