"""The verdict: correctness × speed × trust, with a reason. These are the words every surface uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Correctness(StrEnum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNVERIFIED = "unverified"


class Speed(StrEnum):
    FASTER = "faster"
    SAME = "same"
    """No measurable difference."""
    SLOWER = "slower"
    ESTIMATED = "estimated"
    """No GPU: a model's prediction. Never shown as a measurement."""
    UNMEASURED = "unmeasured"


class Failure(StrEnum):
    COMPILE_ERROR = "compile-error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    CHEATING = "cheating"
    IMPOSSIBLE = "impossible"
    UNSTABLE = "unstable"
    CONTENDED = "contended"


class Trust(StrEnum):
    KERNEL_ONLY = "kernel-only"
    """Tier 1: trusted code launched the compiled binary by its plan."""
    HOST_CODE = "host-code"
    """Tier 2: the candidate's own Python ran."""


class Stage(StrEnum):
    SCREENING = "screening"
    """Enough to rank candidates. Its numbers never reach the user as a claim."""
    CONFIRMATION = "confirmation"


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval of a time ratio (baseline / candidate; > 1 is faster)."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class WorkloadVerdict:
    """What was found on one workload. Times in microseconds; ``ratio`` = baseline / candidate, > 1 is faster.

    ``estimated`` says which kind of number the times and the ratio are. ``*_us`` are device time between two events,
    ``*_call_us`` whole calls, device idle to device idle; of a plan without the host code that it stands for.
    ``*_us`` are on a cold L2 cache; ``*_warm_us`` with the call's inputs in it, and ``warm_ratio`` with its interval is
    theirs. No claim rests on these.
    ``max_error`` and ``native_error`` are maximum absolute errors against the oracle.
    """

    workload: str
    label: str
    weight: float = 1.0
    baseline_us: float | None = None
    candidate_us: float | None = None
    ratio: float | None = None
    interval: Interval | None = None
    estimated: bool = False
    max_error: float | None = None
    native_error: float | None = None
    note: str = ""
    baseline_call_us: float | None = None
    candidate_call_us: float | None = None
    baseline_warm_us: float | None = None
    candidate_warm_us: float | None = None
    warm_ratio: float | None = None
    warm_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Another way to compute what the task asks for, timed beside the user's own kernel. It says nothing about any
    candidate.

    ``name``: eager, torch.compile or library. ``ratio`` = the user's kernel / this one, weighted over the workloads:
    > 1 where this one is the faster of the two. In ``workloads``, ``baseline_us`` is the user's kernel's time and
    ``candidate_us`` this one's. ``note`` says why there is no ratio; "" where there is.
    """

    name: str
    ratio: float | None = None
    interval: Interval | None = None
    workloads: tuple[WorkloadVerdict, ...] = ()
    note: str = ""

    @property
    def words(self) -> str:
        """ "eager: 1.30× slower than your kernel (1.28–1.32)"."""
        if self.ratio is None:
            return f"{self.name}: {self.note}"
        slower, interval = self.ratio < 1.0, self.interval
        if interval is not None and interval.low <= 1.0 <= interval.high:
            return f"{self.name}: as fast as your kernel ({interval.low:.2f}–{interval.high:.2f}× its speed)"
        low, high = (interval.low, interval.high) if interval else (self.ratio, self.ratio)
        spread = f"{1 / high:.2f}–{1 / low:.2f}" if slower else f"{low:.2f}–{high:.2f}"
        factor = 1 / self.ratio if slower else self.ratio
        return f"{self.name}: {factor:.2f}× {'slower' if slower else 'faster'} than your kernel ({spread})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Correctness × speed × trust, with the reason in one sentence a person can act on.

    ``ratio`` is the weighted geometric mean over the workloads (baseline / candidate), ``worst_ratio`` the smallest.
    ``environment`` names device, driver, toolchain; for estimates the target.
    ``reproduce`` is a script that shows a rejection on its own, "" where there is nothing to show.
    ``baselines`` are figures of the task, measured for the winner of a run alone.
    """

    correctness: Correctness
    speed: Speed
    trust: Trust
    stage: Stage
    reason: str
    failure: Failure | None = None
    ratio: float | None = None
    worst_ratio: float | None = None
    interval: Interval | None = None
    workloads: tuple[WorkloadVerdict, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    reproduce: str = ""
    baselines: tuple[Baseline, ...] = ()

    @property
    def is_winner(self) -> bool:
        """Correct, and either measured faster in confirmation or estimated faster where there is no GPU."""
        if self.correctness is not Correctness.CORRECT:
            return False
        if self.speed is Speed.FASTER:
            return self.stage is Stage.CONFIRMATION
        return self.speed is Speed.ESTIMATED and self.ratio is not None and self.ratio > 1.0
