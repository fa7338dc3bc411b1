"""Which elements of the outputs a plan writes, at sizes that are too large to be computed here.

The plan is followed step by step in memory that is set aside and hardly touched: a launch runs as the slice of its
kernel that the stores' addresses need (ttir/slicing.py), every other step counts by what it mentions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors import StepError
from .plan import Copy, Fill, KernelLaunch, LaunchPlan, Operation, View
from .ttir.errors import Unsupported
from .ttir.findings import Kind
from .ttir.ir import Location, Module
from .ttir.launch import BufferArgument, LaunchArgument, run_launch
from .ttir.memory import NOBODY, Buffer, Memory
from .ttir.slicing import address_slice, reads_memory
from .ttir.work import Budget
from .ttirlaunches import Seen, elements_of

FILLED, BY_STEP = -2, -3
"""Owners beside programs and nobody: a fill or what was there before the call; an operator or a copy of an input."""
_MOST_BYTES = 6 << 30
"""Of address space for new memory. What is marked or filled has pages, the rest has none."""
_MOST_PROGRAMS = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Covered:
    """One output: who wrote each element, in its own order, and the place of the latest store into its memory."""

    name: str
    owners: torch.Tensor
    at: Location | None


@dataclass(frozen=True, slots=True)
class Launched:
    """A launch's programs among all owners: ``first`` and as many as its grid has."""

    first: int
    programs: int


class Coverage:
    """One plan on ``inputs`` of its shapes; those named in ``known`` hold what they hold in a call."""

    def __init__(
        self, plan: LaunchPlan, modules: Mapping[str, Module], inputs: dict[str, Any], known: set[str], until: float
    ) -> None:
        self._plan, self._until = plan, until
        self._slices = {name: address_slice(module) for name, module in modules.items()}
        self._reads = any(map(reads_memory, self._slices.values()))
        """Whether what buffers hold matters. Of those that do, ``initialised`` says which elements are known."""
        self._memory = Memory()
        self._tensors: dict[int, torch.Tensor] = {}
        self._buffers: dict[int, Buffer] = {}
        self._room = _MOST_BYTES
        self.seen: list[Seen] = []
        self.launches: list[Launched] = []
        """In order, also the prelude's."""
        made = {view.memory for step in (*plan.prelude, *plan.steps) for view in _made(step)}
        for number, one in enumerate(plan.memories):
            if one.given:
                self._add(number, inputs[one.given], known=one.given in known)
            elif number not in made:
                self._add(number, self._fresh(number), known=one.values is not None)

    def followed(self) -> list[Covered]:
        """Raises TtirError, and StepError where the plan cannot be followed so."""
        for step in self._plan.prelude:
            self._do(step)
        for buffer in self._buffers.values():
            # A call begins here: what was written before it knows nothing of its inputs.
            if buffer.is_owned:
                buffer.owners[buffer.owners != NOBODY] = FILLED
        for step in self._plan.steps:
            self._do(step)
        return [self._covered(name, view) for name, view in _outputs(self._plan)]

    def owners(self, memory: int) -> np.ndarray:
        """Of all its elements, as it lies there at the end."""
        return self._buffers[memory].owners[:-1]

    def changed(self) -> list[str]:
        """The inputs that something is written into."""
        return sorted(
            one.given
            for number, one in enumerate(self._plan.memories)
            if one.given
            and self._buffers[number].is_owned
            and bool((self._buffers[number].owners[:-1] != NOBODY).any())
        )

    def _covered(self, name: str, view: View) -> Covered:
        return Covered(name, self._owners(view).clone(), self._buffers[view.memory].covered_at)

    # -- memory --------------------------------------------------------------------------------------------------------

    def _fresh(self, number: int) -> torch.Tensor:
        memory = self._plan.memories[number]
        dtype = getattr(torch, memory.dtype)
        self._room -= memory.count * dtype.itemsize
        if self._room < 0:
            raise StepError("out-of-memory", f"it asks for more than {_MOST_BYTES >> 30} GiB")
        return torch.empty(memory.count, dtype=dtype)

    def _add(self, number: int, tensor: torch.Tensor, *, known: bool) -> None:
        memory = self._plan.memories[number]
        buffer = self._memory.add(memory.given or f"buffer {number}", elements_of(tensor), initialised=not self._reads)
        self._tensors[number], self._buffers[number] = tensor, buffer
        if memory.values is not None:
            tensor.copy_(torch.tensor(memory.values, dtype=tensor.dtype))
            buffer.owners.fill(FILLED)
        if buffer.initialised is not None:
            buffer.initialised.fill(known)

    def _owners(self, view: View) -> torch.Tensor:
        """Of the view's elements: shared with the buffer."""
        return self._marks(view, self._buffers[view.memory].owners)

    def _marks(self, view: View, marks: np.ndarray) -> torch.Tensor:
        base = self._tensors[view.memory]
        if getattr(torch, view.dtype).itemsize != base.element_size():
            raise StepError("unsupported", "it sees one piece of memory as elements of two sizes")
        start = base.storage_offset() + view.offset // base.element_size()
        return torch.from_numpy(marks).as_strided(view.shape, view.stride, start)

    def _forget(self, view: View) -> None:
        """What the view's buffer holds is not known from here on."""
        known = self._buffers[view.memory].initialised
        if known is not None:
            known.fill(False)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _do(self, step: KernelLaunch | Fill | Copy | Operation) -> None:
        if isinstance(step, KernelLaunch):
            self._launch(step)
        elif isinstance(step, Fill):
            self._fill(step)
        elif isinstance(step, Copy):
            self._hand_on(step.source, step.target)
        else:
            self._operate(step)

    def _launch(self, step: KernelLaunch) -> None:
        sliced = self._slices.get(step.binary)
        if sliced is None:
            raise StepError("crash", f"the TTIR of {step.function} is missing")
        programs = step.grid[0] * step.grid[1] * step.grid[2]
        if self._memory.first_owner + programs > _MOST_PROGRAMS:
            raise StepError("unsupported", f"it launches more than {_MOST_PROGRAMS} programs")
        arguments: list[LaunchArgument] = []
        for one in step.arguments:
            if one.memory is None:
                arguments.append(one.value)
            else:
                base = self._tensors[one.memory]
                start = base.storage_offset() * base.element_size()
                arguments.append(BufferArgument(self._buffers[one.memory], start + one.offset))
        budget = Budget(seconds=self._until - time.process_time())
        report = run_launch(sliced, step.function, step.grid, arguments, self._memory, budget)
        if any(one.kind is Kind.UNINITIALISED for one in report.findings):
            raise Unsupported(step.function, "writes where values say that are not known at this size")
        self.seen.extend(Seen(step.function, finding) for finding in report.findings)
        self.launches.append(Launched(self._memory.first_owner, programs))
        self._memory.first_owner += programs

    def _fill(self, step: Fill) -> None:
        self._owners(step.view).fill_(FILLED)
        base, known = self._tensors[step.view.memory], self._buffers[step.view.memory].initialised
        if known is None:
            return
        if step.view.dtype != str(base.dtype).removeprefix("torch."):
            self._forget(step.view)
            return
        start = base.storage_offset() + step.view.offset // base.element_size()
        base.as_strided(step.view.shape, step.view.stride, start).fill_(step.value)
        self._marks(step.view, known).fill_(True)

    def _hand_on(self, source: View, target: View) -> None:
        """Who wrote the source wrote the target, too."""
        self._owners(target).copy_(self._read(source))
        self._forget(target)

    def _read(self, view: View) -> torch.Tensor:
        """Owners of what a step reads. An input is there already, and to compute with it is work like any other."""
        owners = self._owners(view)
        given = bool(self._plan.memories[view.memory].given)
        return torch.where(owners == NOBODY, BY_STEP, owners) if given else owners

    def _operate(self, step: Operation) -> None:
        """What nothing wrote makes nothing written, and what was filled is filled still."""
        operands = {one.name: [view for view in one.views if view is not None] for one in step.operands}
        into = [] if step.results else operands.pop("out", [])
        in_place = [] if step.results or into else operands.pop("self", [])
        read = [self._read(view) for views in operands.values() for view in views]
        for view in step.made:
            self._add(view.memory, self._fresh(view.memory), known=False)
        alone = read[0] if len(read) == 1 else None
        for view in (*step.made, *into):
            self._owners(view).copy_(alone if alone is not None and alone.shape == view.shape else _together(read))
            self._forget(view)
        for view in in_place:
            owners = self._read(view)
            self._owners(view).copy_(torch.where(owners == FILLED, _together(read), owners))
            self._forget(view)


def _together(read: list[torch.Tensor]) -> torch.Tensor:
    """Owner of what is made of all of these."""
    if any(bool((owners == NOBODY).any()) for owners in read):
        owner = NOBODY
    else:
        owner = BY_STEP if any(bool((owners != FILLED).any()) for owners in read) else FILLED
    return torch.tensor(owner, dtype=torch.int32)


def _made(step: KernelLaunch | Fill | Copy | Operation) -> list[View]:
    return list(step.made) if isinstance(step, Operation) else []


def _outputs(plan: LaunchPlan) -> list[tuple[str, View]]:
    """By name, as a call gives them: its inputs where the entry returns nothing."""
    if plan.outputs is not None:
        return [(one.name, one.view) for one in plan.outputs if one.view is not None]
    givens = {one.name: one for one in plan.givens}
    found = []
    for number, memory in enumerate(plan.memories):
        if memory.given:
            given = givens[memory.given]
            found.append((given.name, View(number, 0, given.dtype, given.shape, given.stride)))
    return found
