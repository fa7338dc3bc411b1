"""Inputs of a workload with everything that is known of them before a candidate sees them: truth, the user's own
kernel's outputs, what it changes.

A candidate whose host code runs gets inputs of its own each time: it could keep answers. What a compiled kernel gets
lies at addresses of ours, in memory that is overwritten in between, so that it has nowhere to keep an answer: inputs
are then shared by several candidates, and by the timed calls of one.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from ..compare import Expectation
from ..copies import clone, clone_inputs
from ..distributions import AS_DRAWN, ONCE, OTHERWISE, expected_on, is_sound, measure_on, vary
from ..errors import StepError
from ..operators import RecordedOperators
from ..precision import allowed, rounded_inputs
from ..truths import matched
from .inputs import same_bytes
from .job import GpuJob, Named, Runner
from .link import BenchLink
from .phases import Phase, Phases
from .slots import wait_for_device

CANDIDATES = 8
"""So many share their inputs before new ones are drawn."""
DRAWS = 4
"""So many inputs of a workload take turns in its timed calls."""
ANSWERS = 4
"""So many different outputs of a case are remembered with what was found of them."""
MEMORY_SHARE = 1 / 8
"""Of the device's memory, for the cases that are kept."""
_WITHOUT_DEVICE_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Checked:
    """Outputs that were compared, and the rows that came of it."""

    outputs: Named
    rows: list[dict[str, Any]]
    quantiles: bool


@dataclass(frozen=True)
class Effects:
    """What a call of the user's own kernel does: ``names`` of the inputs that are its outputs, because the entry
    returns nothing (None where it returns them), the inputs that it ``changed``, and its outputs in an input's memory.
    """

    names: list[str] | None
    changed: frozenset[str]
    aliased: frozenset[str]

    def results(self, outputs: Named) -> Named:
        return outputs if self.names is None else [pair for pair in outputs if pair[0] in self.names]


@dataclass(frozen=True, eq=False)
class Case:
    """``native``: the user's own kernel's results. ``checked``: results of the latest candidates."""

    workload: str
    seed: int
    inputs: dict[str, Any]
    native: Named
    truth: Named
    expectation: Expectation
    effects: Effects
    is_sound: bool
    """Whether a candidate may be judged on these values; those that are as drawn always are."""
    operators: dict[str, Any]
    """What of torch the user's host code and the reference called on them, where that was recorded."""
    checked: deque[Checked] = field(default_factory=lambda: deque(maxlen=ANSWERS))
    first: list[Checked] = field(default_factory=list)
    """The present candidate's first result on these inputs; empty before it."""

    @property
    def bytes_(self) -> int:
        """At most, in the end: an expectation keeps the truth's order, and the truth in the outputs' type."""
        return _bytes(self.inputs.items()) + 2 * _bytes(self.truth) + (2 + ANSWERS) * _bytes(self.native)


class Cases:
    """The cases of one checking process. Every one that is asked for becomes what the link's failures are about."""

    def __init__(self, job: GpuJob, link: BenchLink, phases: Phases) -> None:
        self._job, self._link, self._phases = job, link, phases
        self._candidates = 0
        self.native: Runner
        """Once it is loaded."""
        self._forget()

    def load(self) -> None:
        """The user's own kernel, which runs their code."""
        self.native = (self._job.load_native or self._job.load_baseline)()

    def warm_up(self) -> None:
        """Draw a workload for nothing: what a process does for the first time takes it a good part of a second."""
        if self._job.warm_up:
            self._draw(self._job.warm_up)

    def next_candidate(self) -> None:
        """What follows is about another candidate."""
        self._candidates += 1
        for case in (one for kept in self._kept.values() for one in kept):
            case.first.clear()
        if self._candidates > CANDIDATES:
            self._candidates = 1
            self._forget()

    def drawn(self, workload: str, number: int = 0, *, recorded: bool = False) -> Case:
        """The ``number``-th inputs of a workload: new ones where host code runs, else one of those that are kept.

        Torch's operators are ``recorded`` only where somebody asks.
        """
        if not self._job.is_planned:
            return self._draw(workload, recorded=recorded)
        kept = self._kept.setdefault(workload, [])
        if number >= len(kept) and len(kept) < DRAWS and (not kept or self._has_room(kept[0])):
            case = self._draw(workload, recorded=recorded)
            if not self._has_room(case):
                return case
            self._held_bytes += case.bytes_
            kept.append(case)
        return self._told(kept[number % len(kept)])

    def varied(self, workload: str, distribution: str) -> Case | None:
        """The same workload with other values; None where reference() or the user's own kernel do not stand them."""
        key = (workload, distribution)
        if key in self._varied:
            known = self._varied[key]
            return None if known is None else self._told(known)
        case = self._draw_varied(workload, distribution)
        if self._job.is_planned and (case is None or self._has_room(case)):
            self._varied[key] = case
            self._held_bytes += case.bytes_ if case else 0
        return case

    def _draw_varied(self, workload: str, distribution: str) -> Case | None:
        if distribution in ONCE and not self._job.has_reference:
            return None
        try:
            case = self._draw(workload, distribution)
        except StepError:
            return None
        return case if case.is_sound else None

    def _forget(self) -> None:
        self._kept: dict[str, list[Case]] = {}
        self._varied: dict[tuple[str, str], Case | None] = {}
        self._held_bytes = 0

    def _has_room(self, case: Case) -> bool:
        return self._held_bytes + case.bytes_ <= _memory_bytes(self._job.device)

    def _told(self, case: Case) -> Case:
        self._link.workload, self._link.seed = case.workload, case.seed
        return case

    def _draw(self, workload: str, distribution: str = AS_DRAWN, *, recorded: bool = False) -> Case:
        """Inputs that no other process has seen, from a seed made here and now."""
        seed = secrets.randbits(48)
        self._link.workload, self._link.seed = workload, seed
        with self._phases.phase(Phase.DRAW):
            inputs = vary(self._job.draw(workload, seed, self._job.device), distribution)
            own = clone_inputs(inputs)
            outputs, used = self._call_native(own, recorded)
            effects = _effects(inputs, own, outputs)
        native = self._kept_as_they_are(effects.results(outputs))
        with self._phases.phase(Phase.TRUTH):
            # First, because reference() may give the same memory again.
            otherwise = self._truth_otherwise(inputs, effects.names, native, distribution)
            truth, library = self._truth(inputs, effects.names, recorded)
            truth = self._kept_as_they_are(matched(truth, native, self._job.reference()))
            measure = self._measure(inputs, effects.names, native, truth)
            sound = distribution == AS_DRAWN or is_sound(native, truth, distribution, otherwise)
            measure = measure_on(distribution, measure, truth, otherwise)
            expectation = expected_on(distribution, measure, truth, otherwise)
        operators = {
            "native_operators": used,
            "reference_operators": library if self._job.has_reference else {},
            "input_elements": sum(value.numel() for value in inputs.values() if isinstance(value, torch.Tensor)),
        }
        return Case(workload, seed, inputs, native, truth, expectation, effects, sound, operators)

    def _measure(self, inputs: dict[str, Any], names: list[str] | None, native: Named, truth: Named) -> Named:
        """``native``, or what the task's policy lets a kernel give, whichever is farther off."""
        rounded = rounded_inputs(self._job.precision, inputs)
        coarse = [self._truth(one, names, recorded=False)[0] for one in rounded]
        return allowed(native, truth, [matched(one, native, self._job.reference()) for one in coarse])

    def _truth_otherwise(
        self, inputs: dict[str, Any], names: list[str] | None, native: Named, distribution: str
    ) -> Named | None:
        """The truth of the other inputs that ``distribution`` asks for; None where it asks for none."""
        if distribution not in OTHERWISE or not self._job.has_reference:
            return None
        found, _ = self._truth(OTHERWISE[distribution](inputs), names, recorded=False)
        return matched(found, native, self._job.reference())

    def _kept_as_they_are(self, outputs: Named) -> Named:
        """Copies, where the case outlives the next call: the user's code may give the same memory again."""
        if not self._job.is_planned:
            return outputs
        return [(name, clone(value) if isinstance(value, torch.Tensor) else value) for name, value in outputs]

    def _call_native(self, inputs: dict[str, Any], recorded: bool) -> tuple[Named, dict[str, int]]:
        record = RecordedOperators()
        wait_for_device()
        started = time.monotonic()
        with record if recorded else nullcontext():
            native = self.native(inputs)
        wait_for_device()
        self._link.reference_took(time.monotonic() - started)
        return native, record.elements

    def _truth(self, inputs: dict[str, Any], names: list[str] | None, recorded: bool) -> tuple[Named, dict[str, int]]:
        record = RecordedOperators()
        with record if recorded else nullcontext():
            truth = self._job.truth(clone_inputs(inputs), names)
        wait_for_device()
        return truth, record.elements


def _effects(inputs: dict[str, Any], own: dict[str, Any], outputs: Named) -> Effects:
    """``own``: the inputs as the user's own kernel left them when it gave ``outputs``."""
    tensors = [name for name, value in inputs.items() if isinstance(value, torch.Tensor)]
    changed = frozenset(name for name in tensors if not same_bytes(own[name], inputs[name]))
    in_place = all(name in own and own[name] is value for name, value in outputs)
    aliased = frozenset(name for name, out in outputs if any(_same_memory(out, own[key]) for key in tensors))
    return Effects(sorted(changed) if in_place else None, changed, aliased)


def _bytes(named: Any) -> int:
    return sum(value.numel() * value.element_size() for _, value in named if isinstance(value, torch.Tensor))


def _memory_bytes(device: str) -> int:
    if device != "cuda":
        return _WITHOUT_DEVICE_BYTES
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory * MEMORY_SHARE)


def _same_memory(value: Any, other: Any) -> bool:
    both = isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and value.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
