"""Carry out a launch plan on given tensors: memory, fills, copies and torch's operators here, launches by whoever asks.

Nothing here runs host code of anybody. A plan has been read by planreading.py; what only torch can say of its operators
is looked at in every call. It is not tried out before on tensors without memory: the first operator on one of those
imports 900 modules, which every process that measures would wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .buffers import dtype_name, dtype_named, flatten_outputs, plain_value
from .errors import StepError
from .plan import (
    ALIGNMENT,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Operand,
    OperandKind,
    Operation,
    Step,
    View,
)

Named = list[tuple[str, Any]]
"""Outputs in order, by name: tensors, or None."""
Launch = Callable[[KernelLaunch, Mapping[int, torch.Tensor], "torch.Tensor | None"], None]
"""Launches a kernel on the buffers of its plan, by their numbers, and its global scratch where it has some."""


class Room(Protocol):
    """Where the buffers of a call lie."""

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """``count`` elements of anything."""

    def scratch(self, bytes_: int) -> torch.Tensor:
        """For one launch, aligned as torch aligns its own memory."""

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        """What an operator of torch gave, or a copy of it with the same strides."""


@dataclass(frozen=True, slots=True)
class OrdinaryRoom:
    """As torch allocates it for everybody. ``overwritten``: with all bits set, NaN in every floating-point type."""

    device: str
    overwritten: bool = False

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        fresh = self._fresh(count, dtype)
        if self.overwritten and fresh.numel():
            fresh.view(torch.uint8).fill_(0xFF)
        return fresh

    def _fresh(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(count, dtype=dtype, device=self.device)

    def scratch(self, bytes_: int) -> torch.Tensor:
        return OrdinaryRoom(self.device, overwritten=True).empty(bytes_, torch.uint8)

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        return result


class Carrier:
    """One plan. ``device`` is where its tensors are.

    A call raises StepError where an operator does not give what the plan says, and what torch raises where it cannot be
    called with what the plan gives it.
    """

    def __init__(self, plan: LaunchPlan, device: str, launch: Launch) -> None:
        self.plan = plan
        self._device, self._launch = device, launch
        self._results = {view.memory for step in (*plan.prelude, *plan.steps) for view in _made(step)}

    def fits(self, inputs: dict[str, Any]) -> bool:
        """Whether the plan was made for inputs like these."""
        if {given.name for given in self.plan.givens} != set(inputs):
            return False
        return all(_is_given(given, inputs[given.name]) for given in self.plan.givens)

    def call(self, inputs: dict[str, Any]) -> Named:
        """Like a first call of the entry."""
        return self.prepared(inputs, OrdinaryRoom(self._device))()

    def prepared(self, inputs: dict[str, Any], room: Room, *, idle: bool = False) -> Callable[[], Named]:
        """A call on ``inputs``, to be made once. Its memory is in ``room`` already, also what the entry keeps between
        calls: that is made anew for each, so that nothing of an earlier call is in it.

        ``idle``: no kernel is launched in the call; what the outputs are then, they are not by a kernel.
        """
        kept = self._buffers(room, {number for number, one in enumerate(self.plan.memories) if one.kept})
        for step in self.plan.prelude:
            self._do(step, kept, room, self._scratch(step, room))
        given = {number: inputs[one.given] for number, one in enumerate(self.plan.memories) if one.given}
        own = set(range(len(self.plan.memories))) - set(given) - set(kept)
        buffers = {**kept, **given, **self._buffers(room, own)}
        steps = [step for step in self.plan.steps if not (idle and isinstance(step, KernelLaunch))]
        scratch = [self._scratch(step, room) for step in steps]
        return lambda: self._carried_out(steps, scratch, inputs, buffers, room)

    def _carried_out(
        self,
        steps: Sequence[Step],
        scratch: Sequence[torch.Tensor | None],
        inputs: dict[str, Any],
        buffers: dict[int, torch.Tensor],
        room: Room,
    ) -> Named:
        for step, own in zip(steps, scratch, strict=True):
            self._do(step, buffers, room, own)
        if self.plan.outputs is None:
            return flatten_outputs(None, inputs)
        return [(one.name, None if one.view is None else _seen(one.view, buffers)) for one in self.plan.outputs]

    def _buffers(self, room: Room, numbers: set[int]) -> dict[int, torch.Tensor]:
        """All but the results of steps, which are there when their step has been."""
        return {number: _buffer(room, self.plan.memories[number]) for number in sorted(numbers - self._results)}

    def _scratch(self, step: Step, room: Room) -> torch.Tensor | None:
        if not isinstance(step, KernelLaunch) or not step.scratch_bytes:
            return None
        programs = step.grid[0] * step.grid[1] * step.grid[2]
        return room.scratch(programs * step.scratch_bytes)

    def _do(self, step: Step, buffers: dict[int, torch.Tensor], room: Room, scratch: torch.Tensor | None) -> None:
        if isinstance(step, KernelLaunch):
            self._launch(step, buffers, scratch)
        elif isinstance(step, Fill):
            _seen(step.view, buffers).fill_(step.value)
        elif isinstance(step, Copy):
            _seen(step.target, buffers).copy_(_seen(step.source, buffers))
        else:
            for view, result in _operated(step, buffers, self._device):
                buffers[view.memory] = room.adopt(_laid_out(result, view))


def _buffer(room: Room, memory: Memory) -> torch.Tensor:
    buffer = room.empty(memory.count, dtype_named(memory.dtype))
    if memory.values is not None:
        buffer.copy_(torch.tensor(memory.values, dtype=buffer.dtype))
    return buffer


# -- operators ---------------------------------------------------------------------------------------------------------


def _operated(step: Operation, buffers: dict[int, torch.Tensor], device: str) -> list[tuple[View, torch.Tensor]]:
    """Every result with the view that the plan has of it. Raises StepError where the operator gives something else."""
    positional, named = _arguments(step, buffers, device)
    handed = {view.memory: _size(buffers[view.memory]) for view in step.read}
    answer = _overload(step.operator)(*positional, **named)
    if any(_size(buffers[memory]) != size for memory, size in handed.items()):
        raise _unlike(step, "makes room for more than its argument has")
    if not step.results:
        return []
    results = answer if isinstance(answer, (tuple, list)) else (answer,)
    if len(results) != len(step.results):
        raise _unlike(step, f"gives {len(results)} results")
    found = [(view, result) for view, result in zip(step.results, results, strict=True) if view is not None]
    for view, result in found:
        if (dtype_name(result.dtype), tuple(result.shape)) != (view.dtype, view.shape):
            raise _unlike(step, f"gives {dtype_name(result.dtype)} {list(result.shape)}")
    return found


def _size(buffer: torch.Tensor) -> int:
    size: int = buffer.untyped_storage().nbytes()
    return size


def _unlike(step: Operation, what: str) -> StepError:
    return StepError("crash", f"the plan has a step that cannot be: {step.operator} {what}")


def _overload(operator: str) -> Any:
    namespace, _, rest = operator.partition("::")
    name, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)


def _arguments(step: Operation, buffers: dict[int, torch.Tensor], device: str) -> tuple[list[Any], dict[str, Any]]:
    """As the operator's schema orders them: what may only be given by name comes by name."""
    given = {operand.name: _operand(operand, buffers, device) for operand in step.operands}
    positional: list[Any] = []
    for argument in _overload(step.operator)._schema.arguments:
        if argument.kwarg_only or argument.name not in given:
            break
        positional.append(given.pop(argument.name))
    return positional, given


def _operand(operand: Operand, buffers: dict[int, torch.Tensor], device: str) -> Any:
    if operand.kind is OperandKind.DEVICE:
        return torch.device(device)
    if operand.kind is OperandKind.DTYPE:
        return dtype_named(str(operand.value))
    if operand.kind is OperandKind.PLAIN:
        return list(operand.value) if isinstance(operand.value, tuple) else operand.value
    views = [None if view is None else _seen(view, buffers) for view in operand.views]
    return views if operand.kind is OperandKind.TENSORS else views[0]


def _laid_out(result: torch.Tensor, view: View) -> torch.Tensor:
    """``result`` with the strides that the plan's later steps count with."""
    if result.stride() == view.stride or not result.numel():
        return result
    return torch.empty_strided(view.shape, view.stride, dtype=result.dtype, device=result.device).copy_(result)


def _made(step: Step) -> list[View]:
    return list(step.made) if isinstance(step, Operation) else []


# -- tensors -----------------------------------------------------------------------------------------------------------


def _is_given(given: Given, value: Any) -> bool:
    if not isinstance(value, torch.Tensor):
        return not given.dtype and plain_value(value) == given.value
    shift = value.data_ptr() % ALIGNMENT
    return given == Given(given.name, dtype_name(value.dtype), tuple(value.shape), tuple(value.stride()), shift)


def _seen(view: View, buffers: dict[int, torch.Tensor]) -> torch.Tensor:
    """The tensor that ``view`` describes. Raises StepError where it would reach outside its buffer."""
    base = buffers[view.memory]
    dtype = dtype_named(view.dtype)
    item = torch.empty(0, dtype=dtype).element_size()
    start = base.storage_offset() * base.element_size() + view.offset
    storage = base.untyped_storage()
    if start % item or start < 0 or (view.span and start + view.span * item > storage.nbytes()):
        raise StepError("crash", "the plan uses a tensor outside its memory")
    if dtype == base.dtype:
        return base.as_strided(view.shape, view.stride, start // item)
    return torch.empty(0, dtype=dtype, device=base.device).set_(storage, start // item, view.shape, view.stride)
