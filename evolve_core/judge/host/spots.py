"""Values at sizes that are too large to be computed whole here: those of a few elements of each output.

Of a launch only the programs run that write these elements, on the inputs of the workload, and those that write what
these read (spotreads.py). What leaves something for one of torch's operators runs whole. Who writes what is known from
covered.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .carrying import Carrier
from .copies import clone_inputs
from .covered import Coverage, Covered
from .errors import StepError
from .interpreting import PoisonedRoom
from .plan import Copy, KernelLaunch, LaunchPlan, Operation, Step, memories_of
from .spotreads import Reads
from .ttir.findings import Finding
from .ttir.ir import Module
from .ttir.launch import LaunchArgument, run_launch
from .ttir.memory import NOBODY, Memory
from .ttir.plan import operations_of
from .ttir.work import Budget
from .ttir.writes import written_arguments
from .ttirlaunches import Seen, TtirLaunches

PROGRAMS = 4
"""Of the user's own, for each output: the first and the last that write it, and others by chance."""
ELEMENTS = 2048
"""Of each output, at most."""
_MOST_BYTES = 1 << 30
"""Of fresh memory: it is filled with poison."""
_ADDS_UP = ("tt.atomic_", "tt.descriptor_reduce")
"""What begins like this makes one value out of several programs' shares."""

Spots = dict[str, np.ndarray]
"""Positions in each output, by its name, in its own order of elements."""


def chosen(outputs: Sequence[Covered], seed: int) -> Spots:
    """Elements that the user's own kernel writes: what ``PROGRAMS`` programs write, or that many by chance."""
    drawn = np.random.default_rng(seed)
    found = {}
    for one in outputs:
        owners = one.owners.numpy().reshape(-1)
        written = np.flatnonzero(owners != NOBODY)
        if written.size:
            found[one.name] = _of_programs(owners, written, drawn)
    return found


def _of_programs(owners: np.ndarray, written: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    some = owners[drawn.choice(written, PROGRAMS - 2)]
    picked = {int(one) for one in (owners[written[0]], owners[written[-1]], *some)}
    places = np.flatnonzero(np.isin(owners, sorted(picked)))
    if places.size > ELEMENTS:
        places = drawn.choice(places, ELEMENTS, replace=False)
    return np.sort(places)


@dataclass
class SpotRun:
    """One call of ``plan`` of which only ``spots`` are looked at afterwards.

    ``owners`` of them, as ``coverage`` has them. ``until`` by ``time.process_time``.
    """

    plan: LaunchPlan
    modules: Mapping[str, Module]
    spots: Spots
    owners: Mapping[str, np.ndarray]
    coverage: Coverage
    until: float
    seen: tuple[Seen, ...] = ()

    def values(self, inputs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
        """By output; in the order of their names where they are inputs. Raises TtirError and StepError; ``seen``: what
        the kernels did wrong.
        """
        if sum(one.count * getattr(torch, one.dtype).itemsize for one in self.plan.memories) > _MOST_BYTES:
            raise StepError("out-of-memory", f"it asks for more than {_MOST_BYTES >> 30} GiB")
        self._wanted = iter(self._programs(inputs))
        launches = TtirLaunches(self.plan, self.modules, self.until, self._run)
        named = Carrier(self.plan, "cpu", launches.launch).prepared(inputs, PoisonedRoom("nan"))()
        self.seen = launches.seen
        found = [(name, whole.reshape(-1)) for name, whole in named if name in self.spots]
        if any(whole.numel() <= self.spots[name].max() for name, whole in found):
            raise StepError("mismatch", "an output is smaller than your kernel's")
        if self.plan.outputs is None:
            found.sort(key=lambda one: one[0])
        return [(name, whole[torch.from_numpy(self.spots[name])]) for name, whole in found]

    def _programs(self, inputs: dict[str, Any]) -> list[np.ndarray | None]:
        """Of each launch, by their numbers in its grid; None: all.

        Backwards over the steps, with the memory of which something is looked at later: ``looked`` at the spots alone,
        which the owners are known of, or ``read`` anywhere.
        """
        self._needed = np.unique(np.concatenate([np.zeros(0, np.int32), *self.owners.values()]))
        looked, read = self._looked_at(), set[int]()
        launch = len(self.coverage.launches)
        found: list[np.ndarray | None] = []
        steps = (*self.plan.prelude, *self.plan.steps)
        for number in reversed(range(len(steps))):
            step = steps[number]
            if isinstance(step, KernelLaunch):
                launch -= 1
                found.append(self._of_launch(number, launch, step, read, inputs))
            elif isinstance(step, Copy):
                for later in (looked, read):
                    if step.target.memory in later:
                        later.add(step.source.memory)
            elif isinstance(step, Operation):
                _of_operation(step, looked, read)
        return found[::-1]

    def _looked_at(self) -> set[int]:
        if self.plan.outputs is None:
            return {number for number, one in enumerate(self.plan.memories) if one.given in self.spots}
        return {one.view.memory for one in self.plan.outputs if one.view is not None and one.name in self.spots}

    def _of_launch(
        self, number: int, launch: int, step: KernelLaunch, read: set[int], inputs: dict[str, Any]
    ) -> np.ndarray | None:
        """``number`` among the steps, ``launch`` among the launches."""
        module, launched = self.modules[step.binary], self.coverage.launches[launch]
        is_own = (self._needed >= launched.first) & (self._needed < launched.first + launched.programs)
        own = self._needed[is_own] - launched.first
        touched = {one.memory for one in step.arguments if one.memory is not None}
        is_whole = number < len(self.plan.prelude) or bool(read & self._written(step))
        is_whole |= bool(own.size) and _adds_up(module)
        if is_whole:
            read |= touched
        elif own.size:
            self._need(number, launch, own, touched, read, inputs)
        return None if is_whole else own

    def _need(
        self, number: int, launch: int, own: np.ndarray, touched: set[int], read: set[int], inputs: dict[str, Any]
    ) -> None:
        """What these programs read that an earlier step has made: who wrote it, or that it is read."""
        steps = (*self.plan.prelude, *self.plan.steps)
        before = set[int]().union(*(self._written(step) for step in steps[:number]))
        if not touched & before:
            return
        after = set[int]().union(*(self._written(step) for step in steps[number:]))
        elements = Reads(self.plan, self.modules, launch, own.tolist(), self.until).elements(clone_inputs(inputs))
        for memory in touched & before:
            at = None if elements is None else elements.get(memory, np.zeros(0, np.int64))
            owners = None if at is None else self.coverage.owners(memory)[at]
            if owners is None or memory in after or self._is_elsewhere(memory) or bool((owners < 0).any()):
                read.add(memory)
            else:
                self._needed = np.union1d(self._needed, owners)

    def _is_elsewhere(self, memory: int) -> bool:
        """Inputs and operators' results may lie otherwise in a call than where they were followed."""
        made = {view.memory for step in self.plan.steps if isinstance(step, Operation) for view in step.made}
        return bool(self.plan.memories[memory].given) or memory in made

    def _written(self, step: Step) -> set[int]:
        if not isinstance(step, KernelLaunch):
            return set(memories_of(step))
        module = self.modules[step.binary]
        places = written_arguments(module, module.functions[step.function])
        some = step.arguments if places is None else [step.arguments[place] for place in places]
        return {one.memory for one in some if one.memory is not None}

    def _run(
        self, step: KernelLaunch, module: Module, arguments: Sequence[LaunchArgument], memory: Memory, budget: Budget
    ) -> tuple[Finding, ...]:
        programs = next(self._wanted)
        if programs is not None and not programs.size:
            return ()
        ids = None if programs is None else programs.tolist()
        return run_launch(module, step.function, step.grid, arguments, memory, budget, programs=ids).findings


def _of_operation(step: Operation, looked: set[int], read: set[int]) -> None:
    """Any element of what it makes may come of any element of what it reads."""
    changed = {view.memory for one in step.operands if one.name in ("self", "out") for view in one.views if view}
    made = {view.memory for view in step.made} if step.results else changed
    if made & (looked | read):
        read.update(memories_of(step))


def _adds_up(module: Module) -> bool:
    names = (one.name for function in module.functions.values() for one in operations_of(function.body))
    return any(name.startswith(_ADDS_UP) for name in names)
