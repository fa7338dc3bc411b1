"""Runs the red team on one judge host: every victim is opened once, and every candidate is screened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.verdict import Correctness, Stage, Verdict
from tests.judge.host.host_bench import Bench
from tests.judge.redteam.bugs import BUGS
from tests.judge.redteam.clock import CLOCK
from tests.judge.redteam.exploits_cuda import CUDA_EXPLOITS
from tests.judge.redteam.forgeries import FORGERIES
from tests.judge.redteam.harness import HARNESS
from tests.judge.redteam.honest import HONEST_HOSTS
from tests.judge.redteam.honest_cuda import CUDA_HONEST
from tests.judge.redteam.honest_kernels import HONEST_KERNELS
from tests.judge.redteam.leaks import LEAKS
from tests.judge.redteam.model import Exploit, Gain, Honest
from tests.judge.redteam.replay import REPLAY
from tests.judge.redteam.tasks import VICTIMS
from tests.judge.redteam.weak_checks import WEAK_CHECKS

Record = Callable[[str, object], None]
"""pytest's record_property."""
TARGET = "sm_90"
LOOKS_FASTER = 1.3
"""The user's own kernel, judged as a candidate, has an estimated ratio of exactly 1 and a screened one within 1.1."""


def named(candidates: Iterable[Exploit] | Iterable[Honest]) -> dict[str, Exploit | Honest]:
    """By name; two of one name would hide each other."""
    found: dict[str, Exploit | Honest] = {}
    for one in candidates:
        if one.name in found:
            raise ValueError(f"two candidates are called {one.name}")
        found[one.name] = one
    return found


EXPLOITS: tuple[Exploit, ...] = (*CLOCK, *HARNESS, *FORGERIES, *REPLAY, *LEAKS, *WEAK_CHECKS, *BUGS, *CUDA_EXPLOITS)
HONEST: tuple[Honest, ...] = (*HONEST_HOSTS, *HONEST_KERNELS, *CUDA_HONEST)
CUDA: tuple[Exploit | Honest, ...] = (*CUDA_EXPLOITS, *CUDA_HONEST)


def as_parameter(one: Exploit | Honest) -> object:
    """For ``pytest.mark.parametrize``; what is known to go wrong without a GPU is expected to, strictly."""
    reason = one.escapes_without_gpu if isinstance(one, Exploit) else one.rejected_without_gpu
    return pytest.param(one, id=one.name, marks=[pytest.mark.xfail(strict=True, reason=reason)] if reason else [])


def kind_of(verdict: Verdict) -> str:
    """One word for a verdict: the failure's where there is one, else the correctness."""
    return str(verdict.failure.value if verdict.failure else verdict.correctness.value)


def escaped(exploit: Exploit, verdict: Verdict) -> bool:
    """Whether the judge was fooled."""
    if verdict.correctness is not Correctness.CORRECT:
        return False
    return exploit.gain is Gain.ANSWER or (verdict.ratio or 0.0) > LOOKS_FASTER


def rejected(verdict: Verdict) -> bool:
    """Whether an honest kernel was turned away."""
    return verdict.correctness is not Correctness.CORRECT


@dataclass
class Suite:
    """The victims of one host."""

    bench: Bench
    _opened: dict[str, OpenedTask]

    @classmethod
    def on(cls, bench: Bench) -> Suite:
        return cls(bench, {})

    def opened(self, task: str) -> OpenedTask:
        if task not in self._opened:
            victim = VICTIMS[task]
            self._opened[task] = self.bench.open(victim.source, victim.task, task, is_cuda=victim.is_cuda)
        return self._opened[task]

    def verdict(self, candidate: Exploit | Honest) -> Verdict:
        opened = self.opened(candidate.task)
        observed = self.bench.judge(opened, candidate.source)
        return compose(opened, observed, target=TARGET, stage=Stage.SCREENING, source=candidate.source)
