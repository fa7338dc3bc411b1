"""Which elements some programs of one launch read, in a call in which no other launch does anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .carrying import Carrier
from .interpreting import PoisonedRoom
from .plan import KernelLaunch, LaunchPlan
from .ttir.findings import Finding
from .ttir.formats import Array
from .ttir.ir import Module, Operation
from .ttir.launch import BufferArgument, LaunchArgument, run_launch
from .ttir.memory import Buffer, Memory
from .ttir.work import Budget
from .ttirlaunches import TtirLaunches


@dataclass
class _Reading:
    """A watcher: by the number of a buffer, what is read of it. ``is_odd``: something is read in parts of elements."""

    found: dict[int, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    is_odd: bool = False

    def begin_program(self, number: int) -> bool:
        return True

    def end_program(self) -> None:
        pass

    def operation(self, operation: Operation) -> None:
        pass

    def access(self, verb: str, buffer: Buffer, indices: Array, on: Array | None, width: int) -> None:
        if verb == "writes":
            return
        self.is_odd = self.is_odd or width != buffer.unit
        shape = indices.shape if on is None else np.broadcast_shapes(indices.shape, on.shape)
        where = np.broadcast_to(indices, shape)
        self.found[buffer.number].append(np.unique(where if on is None else where[np.broadcast_to(on, shape)]))

    def enter_loop(self, steps: int | None) -> object:
        return None

    def next_step(self, loop: object, index: int) -> bool:
        return True

    def leave_loop(self, loop: object, executed: int) -> None:
        pass


@dataclass
class Reads:
    """Of ``programs`` of the ``launch``-th launch. Memory that another launch would have written holds NaN."""

    plan: LaunchPlan
    modules: Mapping[str, Module]
    launch: int
    programs: Sequence[int]
    until: float

    def elements(self, inputs: dict[str, Any]) -> dict[int, np.ndarray] | None:
        """By memory; None where nobody can tell: what is read depends on what another launch leaves. Raises TtirError
        and what torch raises.
        """
        self._at, self._reading = 0, _Reading()
        self._memories: dict[int, int] = {}
        launches = TtirLaunches(self.plan, self.modules, self.until, self._run)
        Carrier(self.plan, "cpu", launches.launch).prepared(inputs, PoisonedRoom("nan"))()
        if launches.seen or self._reading.is_odd:
            return None
        return {self._memories[number]: np.unique(np.concatenate(all_)) for number, all_ in self._reading.found.items()}

    def _run(
        self, step: KernelLaunch, module: Module, arguments: Sequence[LaunchArgument], memory: Memory, budget: Budget
    ) -> tuple[Finding, ...]:
        self._at += 1
        if self._at - 1 != self.launch:
            return ()
        for described, given in zip(step.arguments, arguments, strict=True):
            if described.memory is not None and isinstance(given, BufferArgument):
                self._memories[given.buffer.number] = described.memory
        report = run_launch(
            module, step.function, step.grid, arguments, memory, budget, programs=self.programs, watcher=self._reading
        )
        return report.findings
