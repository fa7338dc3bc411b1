"""What host code did to the device since its module's import began, and a launch plan out of the latest call.

Memory that an earlier call (or the import) made and this one uses is kept: the plan's prelude makes it again, by those
earlier steps alone that have to do with what is in it. What an entry keeps of an earlier call's inputs is in no plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .plan import (
    ITEM_BYTES,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Operation,
    Output,
    Step,
    View,
    memories_of,
)

MOST_STEPS = 1 << 16
"""Of all calls together; host code that takes more is following data, not launching kernels."""


class Untraceable(Exception):
    """The entry does something on the device that no plan can hold."""


class History:
    """Buffers have numbers, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._memories: list[Memory] = []
        self._on_host: set[int] = set()
        self._inputs: set[int] = set()
        """Of all calls."""
        self._steps: list[tuple[Step, frozenset[int]]] = []
        """With the buffers that each writes into."""
        self._unfollowed: dict[int, str] = {}
        self._first_memory = self._first_step = 0

    def begin(self) -> None:
        """The next call begins."""
        self._first_memory, self._first_step = len(self._memories), len(self._steps)

    def add_memory(self, memory: Memory, *, on_host: bool) -> int:
        self._memories.append(memory)
        number = len(self._memories) - 1
        if on_host:
            self._on_host.add(number)
        if memory.given:
            self._inputs.add(number)
        return number

    def is_on_host(self, memory: int) -> bool:
        return memory in self._on_host

    def values(self, memory: int) -> tuple[float | int, ...] | None:
        """What it held when it was first seen."""
        return self._memories[memory].values

    def add(self, step: Step, written: Sequence[int]) -> None:
        if len(self._steps) >= MOST_STEPS:
            raise Untraceable("it takes more steps than can be followed")
        self._steps.append((step, frozenset(written)))

    def lose(self, memory: int, why: str) -> None:
        """From now on nobody knows what is in it."""
        self._unfollowed.setdefault(memory, why)

    @property
    def length(self) -> int:
        return len(self._steps)

    def forget_since(self, length: int) -> None:
        """Take back the steps that were added since the history had this length."""
        del self._steps[length:]

    def plan(self, givens: Sequence[Given], outputs: Sequence[Output] | None, untimed: Sequence[str]) -> LaunchPlan:
        """The latest call's. Raises Untraceable."""
        returned = {output.view.memory for output in outputs or () if output.view is not None}
        steps, needed = self._of_the_call(returned)
        prelude = self._prelude({memory for memory in needed if memory < self._first_memory})
        used = set(returned)
        used.update(*(memories_of(step) for step in (*prelude, *steps)))
        for memory in sorted(used):
            self._refuse_unknown(memory)
        numbers = {memory: number for number, memory in enumerate(sorted(used))}
        return LaunchPlan(
            givens=tuple(givens),
            memories=tuple(
                replace(self._memories[memory], kept=memory < self._first_memory) for memory in sorted(used)
            ),
            steps=tuple(_renumbered(step, numbers) for step in steps),
            outputs=None if outputs is None else tuple(_output(one, numbers) for one in outputs),
            prelude=tuple(_renumbered(step, numbers) for step in prelude),
            untimed=tuple(untimed),
        )

    def _refuse_unknown(self, memory: int) -> None:
        if memory in self._unfollowed:
            raise Untraceable(self._unfollowed[memory])
        if memory in self._inputs and memory < self._first_memory:
            raise Untraceable("it uses an input of an earlier call")

    def _of_the_call(self, needed: set[int]) -> tuple[list[Step], set[int]]:
        """The latest call's steps, and which buffers' contents they need that they do not make.

        What was done on the CPU counts where its results came to the device.
        """
        found: list[Step] = []
        for step, written in reversed(self._steps[self._first_step :]):
            if self._on_host.issuperset(memories_of(step)) and not written & needed:
                continue
            found.append(step)
            needed = (needed - self._covered(step)) | _read(step)
        return found[::-1], needed

    def _prelude(self, needed: set[int]) -> list[Step]:
        """The earlier steps that made the contents of these buffers."""
        found: list[Step] = []
        for step, written in reversed(self._steps[: self._first_step]):
            if not written & needed:
                continue
            if isinstance(step, KernelLaunch) and self._inputs.intersection(written):
                # A kernel that only reads its tables beside its inputs looks like this, as does one that leaves in its
                # scratch what the next call overwrites. What it left there is not made again, and the outputs are
                # checked.
                continue
            found.append(step)
            needed = (needed - self._covered(step)) | _read(step)
            if self._inputs & needed:
                raise Untraceable("it keeps what it computed from an earlier call's inputs")
        return found[::-1]

    def _covered(self, step: Step) -> set[int]:
        """The buffers of which nothing that was in them before is left."""
        if isinstance(step, Operation):
            return {view.memory for view in step.made}
        view = step.view if isinstance(step, Fill) else step.target if isinstance(step, Copy) else None
        if view is None or self._memories[view.memory].given:
            return set()
        memory = self._memories[view.memory]
        bytes_ = memory.count * ITEM_BYTES[memory.dtype]
        return {view.memory} if view.is_dense and view.elements * ITEM_BYTES[view.dtype] == bytes_ else set()


def _read(step: Step) -> set[int]:
    """The buffers whose contents a step may look at; a kernel may look at all that it has pointers to."""
    if isinstance(step, Fill):
        return set()
    if isinstance(step, Copy):
        return {step.source.memory}
    if isinstance(step, Operation):
        return {view.memory for view in step.read}
    return set(memories_of(step))


def _renumbered(step: Step, numbers: dict[int, int]) -> Step:
    if isinstance(step, KernelLaunch):
        arguments = [one if one.memory is None else replace(one, memory=numbers[one.memory]) for one in step.arguments]
        return replace(step, arguments=tuple(arguments))
    if isinstance(step, Fill):
        return replace(step, view=_moved(step.view, numbers))
    if isinstance(step, Copy):
        return replace(step, source=_moved(step.source, numbers), target=_moved(step.target, numbers))
    operands = [replace(one, views=_all_moved(one.views, numbers)) for one in step.operands]
    return replace(step, operands=tuple(operands), results=_all_moved(step.results, numbers))


def _output(output: Output, numbers: dict[int, int]) -> Output:
    return output if output.view is None else replace(output, view=_moved(output.view, numbers))


def _all_moved(views: Sequence[View | None], numbers: dict[int, int]) -> tuple[Any, ...]:
    return tuple(None if view is None else _moved(view, numbers) for view in views)


def _moved(view: View, numbers: dict[int, int]) -> View:
    return replace(view, memory=numbers[view.memory])
