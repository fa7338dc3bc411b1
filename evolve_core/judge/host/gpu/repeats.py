"""The same call again and again on the same inputs: whether it gives the same bits, and how far off the farthest is.

For plans alone: the bench runs nobody's code but ours then, so that its word on bits and differences is believed. The
values are compared with the truth by the conductor, like any others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..compare import bits, same_bits
from .answers import Answers
from .cases import Case, Cases
from .inputs import pack
from .job import GpuJob, Named
from .link import BenchLink
from .phases import Phase, Phases
from .poison import POISONS
from .slots import Slot

SCREENING_REPEATS, CONFIRMATION_REPEATS = 20, 1000
_LIMIT_S = 0.5
"""For all repetitions of one kernel: what a confirmation may take longer for them."""


@dataclass(frozen=True)
class Repeats:
    """``calls`` after the first one, of which so many gave ``different`` bits. ``largest``: the largest difference of
    an element from the first call's, None where one of the two is not finite. ``farthest``: the result that has it.
    """

    calls: int
    different: int
    largest: float | None
    first: Named
    farthest: Named

    @property
    def figures(self) -> dict[str, Any]:
        """The protocol's ``repeats``."""
        return {"calls": self.calls, "different": self.different, "largest": self.largest}


def repeated(call: Callable[[], Named], count: int) -> Repeats:
    """``call`` once and then ``count`` times more, or as often as half a second allows, but once at least."""
    deadline = time.monotonic() + _LIMIT_S
    first = farthest = call()
    calls, different, largest = 0, 0, 0.0
    while calls < count and (not calls or time.monotonic() < deadline):
        result = call()
        calls += 1
        if same_bits(result, first):
            continue
        different += 1
        distance = _distance(result, first)
        if different == 1 or distance > largest:
            largest, farthest = distance, result
    return Repeats(calls, different, largest if math.isfinite(largest) else None, first, farthest)


def _distance(result: Named, first: Named) -> float:
    """Of two results of one plan; infinite where an element is finite in one of them alone."""
    pairs = [(value, own) for (_, value), (_, own) in zip(result, first, strict=True) if isinstance(own, torch.Tensor)]
    return max((_apart(value, own) for value, own in pairs if own.numel()), default=0.0)


def _apart(value: torch.Tensor, own: torch.Tensor) -> float:
    apart = (value.to(torch.float64) - own.to(torch.float64)).abs().reshape(-1)
    # What is the same infinity on both sides is no distance apart, and no number either.
    known = torch.where(bits(value) == bits(own), 0.0, apart)
    return float(known.nan_to_num(nan=math.inf, posinf=math.inf).max())


class Repeating:
    """The conductor's side."""

    def __init__(self, job: GpuJob, link: BenchLink, to_bench: Slot, cases: Cases, answers: Answers, phases: Phases):
        self._job, self._link, self._to = job, link, to_bench
        self._cases, self._answers, self._phases = cases, answers, phases

    def checks(self) -> list[dict[str, Any]]:
        """On the smallest of the checked workloads: a check of the first call's result, and where other bits came, of
        the result that lies farthest from it. How the user's own kernel does is asked then, too.
        """
        job = self._job
        if not job.is_planned or job.smallest not in job.checked:
            return []
        case = self._cases.drawn(job.smallest)
        answer = self._asked("candidate", case)
        seen: dict[str, Any] = {"repeats": answer["repeats"]}
        if answer["repeats"]["different"]:
            own = answer if job.load_candidate is None else self._asked("baseline", case)
            seen["native_repeats"] = own["repeats"]
        results = [answer[name] for name in ("first", "farthest") if answer[name]]
        return [{**self._compared(one, case), **seen} for one in results]

    def _asked(self, which: str, case: Case) -> dict[str, Any]:
        count = CONFIRMATION_REPEATS if self._job.stage == "confirmation" else SCREENING_REPEATS
        request = {"do": "repeat", "which": which, "count": count}
        with self._phases.phase(Phase.WAIT):
            return self._link.ask({**request, **pack(case.inputs, self._to)})

    def _compared(self, result: dict[str, Any], case: Case) -> dict[str, Any]:
        outputs = self._answers.outputs(result, case)
        compared = self._answers.compared(outputs, result, case, quantiles=True)
        return {**compared, "poison": POISONS[0], "inputs_changed": [], "timed": False}
