"""Carry out a launch plan: compiled kernels through the driver, on memory of ours, with none of the host code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..carrying import Carrier, OrdinaryRoom
from ..errors import StepError
from ..plan import ALIGNMENT, KernelLaunch, LaunchPlan, Step
from .guarded import GuardedMemory, guarded_copies, guarded_memory
from .job import Named
from .kernels import Kernels


class PlannedRunner:
    """Calls like an entry would be called.

    Of the latest call, ``launches`` is how many kernels it launched, and ``operators`` what of torch it used, by name:
    the elements handed to each.
    """

    def __init__(self, plans: Sequence[LaunchPlan], binaries: Path, device: str = "cuda") -> None:
        self._kernels = Kernels(binaries)
        self._carriers = [Carrier(plan, device, self._kernels.launch) for plan in plans]
        self._device = device
        self.launches = 0
        self.operators: dict[str, int] = {}

    def __call__(self, inputs: dict[str, Any]) -> Named:
        return self._carrier_for(inputs).call(inputs)

    def keeps_memory(self, inputs: dict[str, Any]) -> bool:
        """Whether something of a call on ``inputs`` may stay in the memory that a module has of its own."""
        return self._kernels.keep_memory(_steps(self._carrier_for(inputs)))

    def prepared(self, inputs: dict[str, Any], *, anew: bool) -> Callable[[], Named]:
        """A call on ``inputs``, to be made once: the memory that it gets is there already, and nothing of an earlier
        call is left in it. ``anew``: the modules are loaded again before, so that nothing is left in their own, either.
        """
        carrier = self._carrier_for(inputs)
        if anew:
            self._kernels.renew(_steps(carrier))
        return carrier.prepared(inputs, OrdinaryRoom(self._device, overwritten=True))

    def guarded(
        self, inputs: dict[str, Any], poison: str, *, idle: bool = False, moved: bool = False
    ) -> tuple[dict[str, Any], Named]:
        """A call on copies of ``inputs`` with unmapped memory beside every tensor; the copies as it left them, and the
        outputs.

        What modules keep in memory of their own stays: a kernel has to be right in a later call, too. Fresh memory
        holds ``poison``. ``idle``: without its launches. ``moved``: tensors lie as they do with the other
        poison. Raises StepError where something beside a tensor was written.
        """
        carrier, pages = self._carrier_for(inputs), guarded_memory()
        copies = guarded_copies(pages, inputs, poison, moved=moved, alignments=kept_alignments(carrier.plan))
        outputs = carrier.prepared(copies, GuardedRoom(pages, self._device), idle=idle)()
        if pages.disturbed():
            raise StepError("crash", "it writes beside its tensors")
        return copies, outputs

    def unload(self) -> None:
        """Give back the kernels' memory; a later call loads them again."""
        self._kernels.unload()

    def _carrier_for(self, inputs: dict[str, Any]) -> Carrier:
        for carrier in self._carriers:
            if carrier.fits(inputs):
                self.launches, self.operators = carrier.plan.launches, carrier.plan.operators
                return carrier
        raise StepError("crash", "the entry was not followed on inputs of these shapes, so there is no plan for them")


@dataclass(frozen=True, slots=True)
class GuardedRoom:
    """Between guards, but for scratch: it may need more alignment than they give."""

    pages: GuardedMemory
    device: str

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return self.pages.empty(count, dtype)

    def scratch(self, bytes_: int) -> torch.Tensor:
        return OrdinaryRoom(self.device).scratch(bytes_)

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        return self.pages.like(result)


def _steps(carrier: Carrier) -> tuple[Step, ...]:
    return (*carrier.plan.prelude, *carrier.plan.steps)


def kept_alignments(plan: LaunchPlan) -> dict[str, int]:
    """By input, which power of two its address may be moved by without breaking what a kernel was promised.

    Triton promises its compiler multiples of ``ALIGNMENT``; an address off those may be in code for no more than it
    happens to be aligned to.
    """
    shifts = {given.name: given.shift for given in plan.givens}
    kept: dict[str, int] = {}
    for step in (*plan.prelude, *plan.steps):
        for argument in step.arguments if isinstance(step, KernelLaunch) else ():
            name = "" if argument.memory is None else plan.memories[argument.memory].given
            if name:
                past = (shifts[name] + argument.offset) % ALIGNMENT
                kept[name] = max(kept.get(name, 1), past & -past or ALIGNMENT)
    return kept
