"""Follow an entry on tensors without contents, and write down what it does to the device (history.py).

What a launch plan can hold is what host code around kernels usually does: allocate, fill, copy, look at memory through
another shape, launch, and compute with the operators that operations.py lists. Any other operator ends the plan with
its name and the line that called it, and the entry's own Python has to run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .addresses import Addresses
from .buffers import dtype_name, flatten_outputs, plain_value
from .history import History, Untraceable
from .operations import ALLOWED, Effect
from .plan import (
    ALIGNMENT,
    Argument,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Operation,
    Output,
    Step,
    View,
)
from .planreading import plan_from
from .planrules import BadPlan
from .tracedcalls import TracedCall, operand_of
from .tracedmemory import TracedMemory

_UNINITIALISED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_CONSTANT = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
_FULL = {"full": 1, "full_like": 1, "new_full": 2}
"""Operators that fill with an argument, and which one that is."""
_COPIES = {"clone", "_to_copy"}


class PlanTrace(TorchDispatchMode):
    """Enter it inside FakeTensorMode around a module's import and around calls of its entry, after ``begin``.

    ``file`` is the module's, as its code objects name it. ``why_not`` says why the latest call has no plan.
    """

    def __init__(self, addresses: Addresses, file: Path) -> None:
        super().__init__()
        self._addresses = addresses
        self._file = str(file)
        self._history = History()
        self._inputs: dict[str, Any] = {}
        self._memory = TracedMemory(addresses, self._history)
        self._untimed: list[str] = []
        self._is_paused = False
        self._never = ""
        self.why_not = ""

    def begin(self, inputs: dict[str, Any], *, again: bool = False) -> None:
        """The next call is of these inputs, which lie where the last call's lay if it is the same call ``again``."""
        if again:
            for name, value in inputs.items():
                if isinstance(value, torch.Tensor):
                    self._addresses.lay(value, self._inputs[name])
        self._inputs, self._untimed, self.why_not = inputs, [], self._never
        self._history.begin()
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                self._attempt(partial(self._memory.add, value, given=name))

    # -- what the host code does -----------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._is_paused and func.namespace != "prim":
            call = TracedCall(func, args, kwargs or {}, result)
            try:
                self._followed(call)
            except Untraceable as stopped:
                self._lost(call, str(stopped))
        return result

    def launched(self, described: Callable[[Callable[[Any], Argument]], KernelLaunch]) -> None:
        """A kernel, ``described`` by whoever knows how to find its arguments: a tensor's buffer is found for it."""

        def record() -> None:
            launch = described(self._memory.pointer)
            self._history.add(launch, [one.memory for one in launch.arguments if one.memory is not None])

        self._attempt(record)

    def chosen_untimed(self, what: str) -> None:
        """A kernel's configuration was taken that a device would have found by timing."""
        self._untimed.append(what)

    def cannot_follow(self, what: str, *, for_good: bool = False) -> None:
        """There will be no plan of this call; ``for_good``: nor of any later one. The first reason is kept."""
        self.why_not = self.why_not or f"{what}{self._place_in_file()}"
        if for_good:
            self._never = self._never or self.why_not

    def plan(self, result: Any) -> LaunchPlan | None:
        """What was traced, now that the entry has returned ``result``."""
        found: list[LaunchPlan] = []
        self._attempt(lambda: found.append(self._finished(result)))
        return found[0] if found and not self.why_not else None

    # -- stand-ins ---------------------------------------------------------------------------------------------------

    def twin(self, tensor: torch.Tensor, device: str) -> torch.Tensor:
        """A tensor on ``device`` that stands for the same memory."""
        with self._paused():
            count = tensor.untyped_storage().nbytes() // tensor.element_size()
            base = torch.empty(count, dtype=tensor.dtype, device=device)
            self._addresses.share(base, tensor)
            return base.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def uploaded(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of a tensor on the CPU, on the device."""
        with self._paused():
            copy = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cuda")
        self._attempt(lambda: self._copy(tensor, copy))
        return copy

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    @contextmanager
    def pretending(self) -> Iterator[None]:
        """What is done on the CPU in here stands for what is done on the device."""
        self._memory.is_pretended = True
        try:
            yield
        finally:
            self._memory.is_pretended = False

    @property
    def length(self) -> int:
        return self._history.length

    def forget_since(self, length: int) -> None:
        """A call was refused halfway, and is made again in another way."""
        self._history.forget_since(length)

    # -- how it is written down --------------------------------------------------------------------------------------

    def _followed(self, call: TracedCall) -> None:
        name = call.name.partition("::")[2].partition(".")[0]
        if name in _UNINITIALISED:
            self._memory.view_of_new(call.result)
        elif name in _CONSTANT:
            self._fill(call.result, _CONSTANT[name])
        elif name in _FULL:
            position = _FULL[name]
            self._fill(call.result, call.args[position] if len(call.args) > position else call.kwargs["fill_value"])
        elif name == "zero_":
            self._fill(call.args[0], 0)
        elif name == "fill_" and not isinstance(call.args[1], torch.Tensor):
            self._fill(call.args[0], call.args[1])
        elif name in _COPIES:
            self._copy(call.args[0], call.result)
        elif name == "copy_":
            self._copy(call.args[1], call.args[0])
        elif name == "lift_fresh":
            self._addresses.share(call.result, call.args[0])
            self._memory.view(call.args[0])
        else:
            self._operation(call)

    def _operation(self, call: TracedCall) -> None:
        effect = ALLOWED.get(call.name)
        if effect is None or (effect is Effect.LOOKS and not self._looks(call)):
            raise Untraceable(f"its host code computes with {call.name}")
        if effect is Effect.LOOKS:
            return
        operands = [
            operand for name, value in call.given if (operand := operand_of(name, value, self._memory.view)) is not None
        ]
        made = call.results if effect is Effect.MAKES else ()
        results = tuple(self._memory.view_of_new(one) if isinstance(one, torch.Tensor) else None for one in made)
        step = Operation(call.name, tuple(operands), results)
        self._add_step(step, [*step.read], [self._memory.view(one) for one in call.changed] + [*step.made])

    def _looks(self, call: TracedCall) -> bool:
        own = {self._addresses.index(one) for one in call.tensors}
        return all(self._addresses.index(one) in own for one in call.made)

    def _fill(self, tensor: torch.Tensor, value: Any) -> None:
        if not isinstance(value, (bool, int, float)):
            raise Untraceable("its host code fills a tensor with something that is no plain number")
        view = self._memory.view_of_new(tensor)
        self._add_step(Fill(view, value), [], [view])

    def _copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        step = Copy(self._memory.view(source), self._memory.view_of_new(target))
        self._add_step(step, [step.source], [step.target])

    def _add_step(self, step: Step, read: Sequence[View], written: Sequence[View]) -> None:
        on_host = self._history.is_on_host
        if any(on_host(view.memory) for view in written) and not all(on_host(view.memory) for view in read):
            raise Untraceable("its host code moves a tensor from the device to the CPU")
        self._history.add(step, [view.memory for view in written])

    def _lost(self, call: TracedCall, why: str) -> None:
        """What the operator wrote is unknown from now on; on the device, there is no plan of this call."""
        reason = f"{why}{self._place_in_file()}"
        wrote = [*call.changed, *call.made]
        for tensor in wrote:
            self._memory.lose(tensor, reason)
        if any(self._memory.is_on_device(tensor) for tensor in (*call.tensors, *wrote)):
            self.why_not = self.why_not or reason

    def _attempt(self, record: Callable[[], object]) -> None:
        try:
            record()
        except Untraceable as stopped:
            self.cannot_follow(str(stopped))

    def _place_in_file(self) -> str:
        """The line of the module that is running, as " (NAME:LINE)"; "" where none of it is."""
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self._file:
            frame = frame.f_back  # type: ignore[assignment]
        return f" ({Path(self._file).name}:{frame.f_lineno})" if frame is not None else ""

    def _given(self, name: str, value: Any) -> Given:
        if isinstance(value, torch.Tensor):
            shift = self._addresses.of(value) % ALIGNMENT
            return Given(name, dtype_name(value.dtype), tuple(value.shape), tuple(value.stride()), shift)
        if any(isinstance(one, torch.Tensor) for one in tree_leaves(value)):
            raise Untraceable(f"its input {name} holds tensors in a container")
        return Given(name, value=plain_value(value))

    def _output(self, name: str, value: Any) -> Output:
        view = None if value is None else self._memory.view(value)
        if view is not None and self._history.is_on_host(view.memory):
            raise Untraceable("it returns a tensor on the CPU")
        return Output(name, view)

    def _finished(self, result: Any) -> LaunchPlan:
        named = None if result is None else flatten_outputs(result, self._inputs)
        givens = [self._given(name, value) for name, value in self._inputs.items()]
        outputs = None if named is None else [self._output(name, value) for name, value in named]
        plan = self._history.plan(givens, outputs, self._untimed)
        try:
            return plan_from(plan.as_json())
        except BadPlan as refused:
            raise Untraceable(f"its plan would be refused: {refused}") from None
