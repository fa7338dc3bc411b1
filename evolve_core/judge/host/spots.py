"""Values at sizes that are too large to be computed whole here: those of a few elements of each output.

Only the programs that write these elements run, on the inputs of the workload; what an earlier launch may have left for
them it leaves whole. Who writes what is known from covered.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .account.taking import LazyRoom
from .carrying import Carrier
from .covered import BY_STEP, Covered, Launched
from .plan import KernelLaunch, LaunchPlan
from .ttir.errors import Unsupported
from .ttir.findings import Finding
from .ttir.ir import Module
from .ttir.launch import LaunchArgument, run_launch
from .ttir.memory import NOBODY, Memory
from .ttir.plan import operations_of
from .ttir.work import Budget
from .ttirlaunches import Seen, TtirLaunches

PROGRAMS = 4
"""Of the user's own, for each output: the first and the last that write it, and others by chance."""
ELEMENTS = 2048
"""Of each output, at most."""

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

    ``owners`` of them, ``launches`` in order, also the prelude's. ``until`` by ``time.process_time``.
    """

    plan: LaunchPlan
    modules: Mapping[str, Module]
    spots: Spots
    owners: Mapping[str, np.ndarray]
    launches: Sequence[Launched]
    until: float
    seen: tuple[Seen, ...] = ()

    def values(self, inputs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
        """By output. Raises TtirError and StepError; ``seen``: what the kernels did wrong."""
        self._wanted = self._programs()
        self._at = 0
        launches = TtirLaunches(self.plan, self.modules, self.until, self._run)
        named = Carrier(self.plan, "cpu", launches.launch).prepared(inputs, LazyRoom())()
        self.seen = launches.seen
        looked_at = [(name, value.reshape(-1)) for name, value in named if name in self.spots]
        return [(name, whole[torch.from_numpy(self.spots[name])]) for name, whole in looked_at]

    def _programs(self) -> list[np.ndarray | None]:
        """Of each launch, by their numbers in its grid; None: all."""
        owners = np.unique(np.concatenate([np.zeros(0, np.int32), *self.owners.values()]))
        # What torch made of it may be made of anything.
        whole = bool((owners == BY_STEP).any())
        steps = [one for one in (*self.plan.prelude, *self.plan.steps) if isinstance(one, KernelLaunch)]
        prelude = sum(isinstance(one, KernelLaunch) for one in self.plan.prelude)
        given = {number for number, one in enumerate(self.plan.memories) if one.given}
        found: list[np.ndarray | None] = []
        fed: set[int] = set()
        for number in reversed(range(len(steps))):
            step, launched = steps[number], self.launches[number]
            own = owners[(owners >= launched.first) & (owners < launched.first + launched.programs)] - launched.first
            memories = {one.memory for one in step.arguments if one.memory is not None}
            if whole or number < prelude or memories & fed:
                found.append(None)
            else:
                found.append(own)
            if found[-1] is None or own.size:
                fed |= memories - given
                _refuse_sums(step, self.modules[step.binary], is_whole=found[-1] is None)
        return found[::-1]

    def _run(
        self, step: KernelLaunch, module: Module, arguments: Sequence[LaunchArgument], memory: Memory, budget: Budget
    ) -> tuple[Finding, ...]:
        programs = self._wanted[self._at]
        self._at += 1
        if programs is not None and not programs.size:
            return ()
        ids = None if programs is None else programs.tolist()
        return run_launch(module, step.function, step.grid, arguments, memory, budget, programs=ids).findings


def _refuse_sums(step: KernelLaunch, module: Module, *, is_whole: bool) -> None:
    """Of what several programs add up to, one of them says nothing."""
    names = (one.name for function in module.functions.values() for one in operations_of(function.body))
    if not is_whole and any(name.startswith("tt.atomic_") for name in names):
        raise Unsupported(step.function, "has atomic operations, so that no program's share is the result")
