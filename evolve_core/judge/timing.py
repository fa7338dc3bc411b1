"""From raw samples to a speed: what may be claimed, with which interval, and what may not.

Screening samples rank candidates and claim nothing. A claim comes from confirmation: fresh processes, each reduced to
one number (the weighted mean over the workloads of its median log ratio), and a Student-t interval over those
numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from evolve_core.judge.floor import LEAST_SHARE, Floor
from evolve_core.judge.statistics import (
    LogInterval,
    interval_over_processes,
    log_ratios,
    median_error,
    median_log_ratio,
    percentile,
    weighted_mean,
)
from evolve_core.judge.verdict import Failure, Interval, Speed, Stage, WorkloadVerdict

SMALLEST_DELTA = 0.005
"""No difference below 0.5 % is ever claimed. Four kernels of 10 to 460 µs against themselves on an NVIDIA H200 (5
processes × 60 pairs, benchmarks/results/h200-null.json): 97.5 % of the process medians within ±0.85 %, every mean
within ±0.25 %."""
NULL_SHARE = 0.975
"""Of a kernel's differences from itself, so many must be smaller than the smallest one that is claimed."""
_EMPTY_MARGIN = 1.1
_DISAGREEMENT_SIGMAS = 3.0
"""Two processes disagree where each is this sure of the opposite sign; a null effect alone has signs on both sides."""
_NS_PER_US = 1e3


@dataclass(frozen=True, slots=True)
class Samples:
    """One workload in one process: paired device times in nanoseconds, index i of both on the same fresh inputs.

    ``empty_ns`` is what the clock shows for an empty region in that process; 0 where it was not calibrated.
    ``*_call_ns`` are a few whole calls and ``*_warm_ns`` a few pairs with the inputs in L2, which decide nothing.
    """

    workload: str
    process: int
    baseline_ns: tuple[float, ...]
    candidate_ns: tuple[float, ...]
    empty_ns: float = 0.0
    baseline_call_ns: tuple[float, ...] = ()
    candidate_call_ns: tuple[float, ...] = ()
    baseline_warm_ns: tuple[float, ...] = ()
    candidate_warm_ns: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A speed with its reason. ``ratio`` = baseline / candidate over all workloads, ``worst_ratio`` the
    smallest of one workload.

    In screening ``speed`` is ``unmeasured`` and the ratio is for ranking alone.
    """

    speed: Speed
    failure: Failure | None
    reason: str
    ratio: float | None = None
    worst_ratio: float | None = None
    interval: Interval | None = None
    workloads: tuple[WorkloadVerdict, ...] = ()


def null_delta(null_log_ratios: Sequence[float]) -> float:
    """δ out of this machine's own A/A runs: the 97.5th percentile of |ratio - 1|, never below ``SMALLEST_DELTA``."""
    if not null_log_ratios:
        return SMALLEST_DELTA
    return max(SMALLEST_DELTA, math.expm1(percentile([abs(ratio) for ratio in null_log_ratios], NULL_SHARE)))


def measure(
    samples: Sequence[Samples],
    *,
    stage: Stage,
    labels: Mapping[str, str],
    weights: Mapping[str, float],
    finalists: int = 1,
    delta: float = SMALLEST_DELTA,
    floors: Mapping[str, Floor] | None = None,
) -> Measured:
    """The speed that ``samples`` support.

    ``finalists`` is how many candidates are confirmed together (Bonferroni). ``delta`` as ``null_delta`` gives it.
    ``floors``: by workload, what no right kernel passes on this machine.
    """
    processes = _complete_processes(samples)
    if not processes:
        return Measured(Speed.UNMEASURED, None, "no process timed every workload")
    if any(not (0 < time < math.inf) for one in samples for time in (*one.baseline_ns, *one.candidate_ns)):
        return Measured(Speed.UNMEASURED, Failure.IMPOSSIBLE, "a time that is no positive number was measured")
    medians = {process: _medians(rows) for process, rows in processes.items()}
    workloads = list(next(iter(medians.values())))
    rows = tuple(_row(name, samples, medians, labels, weights, finalists) for name in workloads)
    if impossible := _impossible(rows, samples, floors or {}):
        return Measured(Speed.UNMEASURED, Failure.IMPOSSIBLE, impossible, workloads=rows)
    shares = [weights.get(name, 1.0) for name in workloads]
    totals = [weighted_mean([found[name] for name in workloads], shares) for found in medians.values()]
    if stage is Stage.SCREENING:
        return _screened(rows, math.exp(fmean(totals)))
    noise = max(_process_error(rows_, shares) for rows_ in processes.values())
    small = max(math.log1p(delta), _DISAGREEMENT_SIGMAS * noise)
    overall = interval_over_processes(totals, comparisons=finalists, small=small)
    return _confirmed(rows, overall, delta, len(totals))


def _complete_processes(samples: Sequence[Samples]) -> dict[int, list[Samples]]:
    """Samples by process, of those processes that timed every workload: the others would shift the weights."""
    wanted = {one.workload for one in samples}
    by_process: dict[int, list[Samples]] = {}
    for one in samples:
        by_process.setdefault(one.process, []).append(one)
    return {process: rows for process, rows in by_process.items() if {row.workload for row in rows} == wanted}


def _process_error(rows: Sequence[Samples], shares: Sequence[float]) -> float:
    """Standard error of one process's weighted mean of medians, from the scatter of its own pairs."""
    errors = [median_error(log_ratios(row.baseline_ns, row.candidate_ns)) for row in rows]
    total = math.fsum(shares)
    return math.sqrt(math.fsum((share / total * error) ** 2 for share, error in zip(shares, errors, strict=True)))


def _medians(rows: Sequence[Samples]) -> dict[str, float]:
    return {row.workload: median_log_ratio(row.baseline_ns, row.candidate_ns) for row in rows}


def _row(
    workload: str,
    samples: Sequence[Samples],
    medians: Mapping[int, Mapping[str, float]],
    labels: Mapping[str, str],
    weights: Mapping[str, float],
    finalists: int,
) -> WorkloadVerdict:
    mine = [one for one in samples if one.workload == workload]
    found = interval_over_processes([by[workload] for by in medians.values()], comparisons=finalists)
    row = WorkloadVerdict(
        workload=workload,
        label=labels.get(workload, workload),
        weight=weights.get(workload, 1.0),
        baseline_us=_median_us(time for one in mine for time in one.baseline_ns),
        candidate_us=_median_us(time for one in mine for time in one.candidate_ns),
        ratio=math.exp(found.centre),
        interval=_interval(found),
        baseline_call_us=_median_us(time for one in mine for time in one.baseline_call_ns),
        candidate_call_us=_median_us(time for one in mine for time in one.candidate_call_ns),
    )
    return _with_warm(row, [one for one in mine if one.process in medians], finalists)


def _with_warm(row: WorkloadVerdict, mine: Sequence[Samples], finalists: int) -> WorkloadVerdict:
    """The row with what was seen on a warm cache.

    L2 is faster than the memory that floors are about, so none is asked; but what the clock cannot tell from no work at
    all is nothing to report.
    """
    timed = [one for one in mine if one.candidate_warm_ns]
    baseline_us = _median_us(time for one in timed for time in one.baseline_warm_ns)
    candidate_us = _median_us(time for one in timed for time in one.candidate_warm_ns)
    if baseline_us is None or candidate_us is None:
        return row
    times = (time for one in timed for time in (*one.baseline_warm_ns, *one.candidate_warm_ns))
    if not all(0 < time < math.inf for time in times) or min(baseline_us, candidate_us) < _least_us(timed):
        return row
    medians = [median_log_ratio(one.baseline_warm_ns, one.candidate_warm_ns) for one in timed]
    found = interval_over_processes(medians, comparisons=finalists)
    return replace(
        row,
        baseline_warm_us=baseline_us,
        candidate_warm_us=candidate_us,
        warm_ratio=math.exp(found.centre),
        warm_interval=_interval(found),
    )


def _least_us(samples: Iterable[Samples]) -> float:
    """What is shorter than this, the clock does not tell from no work at all; 0 where it was not calibrated."""
    return _EMPTY_MARGIN * max((one.empty_ns for one in samples), default=0.0) / _NS_PER_US


def _median_us(times_ns: Iterable[float]) -> float | None:
    """None of no times at all."""
    times = list(times_ns)
    return median(times) / _NS_PER_US if times else None


def _interval(found: LogInterval) -> Interval | None:
    return None if math.isinf(found.low) else Interval(math.exp(found.low), math.exp(found.high))


def _impossible(rows: Sequence[WorkloadVerdict], samples: Sequence[Samples], floors: Mapping[str, Floor]) -> str | None:
    """Why a time cannot be real; None where it can.

    The clock itself is asked first, then the floor under the workload (yardstick.py), with a margin. A floor that the
    user's own kernel passes does not hold for this task.
    """
    for row in rows:
        time_us = row.candidate_us or 0.0
        if time_us < _least_us(one for one in samples if one.workload == row.workload):
            return f"{time_us:.1f} µs on {row.label} is what the clock shows for no work at all"
        floor = floors.get(row.workload)
        if floor is not None and time_us < LEAST_SHARE * floor.us <= (row.baseline_us or 0.0):
            return f"{time_us:.1f} µs on {row.label} is below {floor.why}, {floor.us:.1f} µs"
    return None


def _screened(rows: tuple[WorkloadVerdict, ...], ratio: float) -> Measured:
    """A rank, no claim: the intervals of a single process would say nothing, so there are none."""
    worst = min(row.ratio or ratio for row in rows)
    reason = "screened: good for ranking only, confirmation decides"
    return Measured(Speed.UNMEASURED, None, reason, ratio, worst, None, rows)


def _confirmed(rows: tuple[WorkloadVerdict, ...], overall: LogInterval, delta: float, processes: int) -> Measured:
    ratio, worst = math.exp(overall.centre), min(rows, key=lambda row: row.ratio or 1.0)
    interval = _interval(overall)
    threshold = math.log1p(delta)
    if interval is None:
        return Measured(
            Speed.UNMEASURED, None, "one process is not enough for an interval", ratio, worst.ratio, None, rows
        )
    if not overall.consistent:
        reason = f"unstable: faster in some of {processes} processes, slower in others; close other programs, run again"
        return Measured(Speed.UNMEASURED, Failure.UNSTABLE, reason, ratio, worst.ratio, interval, rows)
    spread = f"{interval.low:.3f} to {interval.high:.3f}, {processes} processes"
    tail = f"; {worst.ratio:.2f}× on {worst.label}" if len(rows) > 1 else ""
    if overall.low > threshold:
        speed, reason = Speed.FASTER, f"{ratio:.2f}× faster ({spread}){tail}"
    elif overall.high < -threshold:
        speed, reason = Speed.SLOWER, f"{1 / ratio:.2f}× slower ({spread}){tail}"
    else:
        width = 100 * max(abs(math.expm1(overall.low)), abs(math.expm1(overall.high)))
        speed, reason = Speed.SAME, f"no measurable difference (±{width:.1f} %){tail}"
    return Measured(speed, None, reason, ratio, worst.ratio, interval, rows)
