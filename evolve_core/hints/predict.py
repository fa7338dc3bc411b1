"""Predicted time of one workload: its launches one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evolve_core.hints.estimate import estimate
from evolve_core.hints.model import Estimate, KernelFacts, WorkProfile
from evolve_core.targets.model import Target


@dataclass(frozen=True, slots=True)
class Prediction:
    """``time_us`` is an estimate of device time, launch overheads included; infinite where a launch cannot start."""

    time_us: float
    launchable: bool
    why_not: str
    estimates: tuple[Estimate, ...]


def predict(launches: Sequence[tuple[KernelFacts, WorkProfile]], target: Target) -> Prediction:
    """Sums the estimates of a workload's launches, each with the facts of the specialisation it uses."""
    estimates = tuple(estimate(facts, work, target) for facts, work in launches)
    refused = next((e for e in estimates if not e.launchable), None)
    return Prediction(
        time_us=math.fsum(e.time_us for e in estimates) if refused is None else math.inf,
        launchable=refused is None,
        why_not=refused.why_not if refused else "",
        estimates=estimates,
    )
