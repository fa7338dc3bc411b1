"""From observations to a verdict. Runs in a process that never ran a candidate's code.

Correctness is judged by ``correctness.py`` and measured speed by ``timing.py``; without a GPU the speed is the estimate
of ``hints/predict.py``, and every sentence here that carries such a number says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from evolve_core.hints.model import KernelFacts, WorkProfile
from evolve_core.hints.predict import Prediction, predict
from evolve_core.judge.client import OpenedTask
from evolve_core.judge.correctness import Accepted, Rejected, judge_checks, run_to_run
from evolve_core.judge.floor import LeastWork
from evolve_core.judge.launched import idle_kernels, unlaunched
from evolve_core.judge.library import done_by_library, planned_for_library
from evolve_core.judge.observation import HOST_FAILURE, SAMPLED, Check, Observation, Outcome, SeenFailure
from evolve_core.judge.reproduce import reproduction, reproduction_of_failure
from evolve_core.judge.timing import Measured, Samples, measure, null_delta
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Trust, Verdict, WorkloadVerdict
from evolve_core.judge.yardstick import NOTHING_KNOWN, Yardstick
from evolve_core.targets import Target, load
from evolve_core.task.model import TaskKind


def compose(
    opened: OpenedTask,
    observed: Observation,
    *,
    target: str,
    stage: Stage,
    source: str = "",
    finalists: int = 1,
    yardstick: Yardstick = NOTHING_KNOWN,
) -> Verdict:
    """The verdict on one candidate. ``source`` is its text, for the script that reproduces a rejection; ``yardstick``
    what is known of the device that measured.
    """
    if observed.failure is not None:
        return _failed(opened, observed, observed.failure, stage, source)
    idle = unlaunched(opened, observed)
    if idle is not None and idle.certain:
        return _launchless(observed, idle.reason, stage)
    if broken := _broken(observed.checks):
        return _wrong(opened, observed, broken, _broken_reason(opened, broken), stage, source)
    judged = judge_checks(observed.checks)
    if isinstance(judged, Rejected):
        return _rejected(opened, observed, judged, stage, source)
    if not isinstance(judged, Accepted):
        return _unverified(opened, observed, judged.reason, stage)
    if idle is not None:
        return _unverified(opened, observed, idle.reason, stage)
    if reason := idle_kernels(observed.checks) or done_by_library(observed.checks):
        return _launchless(observed, reason, stage)
    if reason := planned_for_library(opened, observed):
        return _launchless(observed, reason, stage)
    if observed.unplanned:
        return _unverified(opened, observed, _unplanned(observed.unplanned), stage)
    if observed.unaudited:
        return _unverified(opened, observed, _unaudited(observed.unaudited), stage)
    if observed.timing:
        return _measured(opened, observed, stage, finalists, yardstick)
    return _estimated(opened, observed, load(target), stage)


_NOT_THE_CANDIDATES = frozenset((HOST_FAILURE, "too-large"))
"""Kinds of failure that say nothing of the candidate: ours, or of a workload that does not fit."""


def _failed(opened: OpenedTask, observed: Observation, failure: SeenFailure, stage: Stage, source: str) -> Verdict:
    ours = failure.kind in _NOT_THE_CANDIDATES
    known = {member.value: member for member in Failure}
    workload = opened.workload(failure.workload or "")
    where = f" on {workload.label} (seed {failure.seed})" if workload and failure.seed is not None else ""
    return Verdict(
        correctness=Correctness.UNVERIFIED,
        speed=Speed.UNMEASURED,
        trust=observed.trust,
        stage=stage,
        reason=f"not judged: {failure.message}" if ours else failure.message + where,
        failure=None if ours else known.get(failure.kind, Failure.CRASH),
        environment=observed.environment,
        reproduce=reproduction_of_failure(opened, failure, source) if source and not ours else "",
    )


def _launchless(observed: Observation, reason: str, stage: Stage) -> Verdict:
    return Verdict(
        correctness=Correctness.UNVERIFIED,
        speed=Speed.UNMEASURED,
        trust=observed.trust,
        stage=stage,
        reason=reason,
        failure=Failure.CHEATING,
        environment=observed.environment,
    )


def _broken(checks: Sequence[Check]) -> Check | None:
    return next((check for check in checks if check.outcome is not Outcome.COMPARED), None)


def _broken_reason(opened: OpenedTask, check: Check) -> str:
    where = f"on {_label(opened, check)} (seed {check.seed})"
    if check.outcome is Outcome.OUT_OF_BOUNDS:
        return f"out of bounds {where}: {check.message}"
    return f"wrong {where}: {check.message}"


def _label(opened: OpenedTask, check: Check) -> str:
    workload = opened.workload(check.workload)
    return check.label or (workload.label if workload else check.workload)


def _wrong(opened: OpenedTask, observed: Observation, check: Check, reason: str, stage: Stage, source: str) -> Verdict:
    return Verdict(
        correctness=Correctness.WRONG,
        speed=Speed.UNMEASURED,
        trust=observed.trust,
        stage=stage,
        reason=reason,
        workloads=_error_workloads(opened, observed),
        environment=observed.environment,
        reproduce=reproduction(opened, check, source) if source else "",
    )


def _rejected(opened: OpenedTask, observed: Observation, judged: Rejected, stage: Stage, source: str) -> Verdict:
    check = judged.check
    reason = f"wrong on {_label(opened, check)} (seed {check.seed}): {judged.reason}" if check else judged.reason
    verdict = _wrong(opened, observed, check or observed.checks[0], reason, stage, source)
    if not judged.cheating:
        return verdict
    return Verdict(
        correctness=Correctness.WRONG,
        speed=Speed.UNMEASURED,
        trust=observed.trust,
        stage=stage,
        reason=reason,
        failure=Failure.CHEATING,
        environment=observed.environment,
        reproduce=verdict.reproduce,
    )


def _unverified(opened: OpenedTask, observed: Observation, reason: str, stage: Stage) -> Verdict:
    if opened.task.kind is TaskKind.LAUNCHES and opened.mode != "gpu":
        reason = observed.notes[0] if observed.notes else "no GPU: a CUDA kernel can be compiled here, not run"
    elif not observed.checks:
        reason = observed.unplanned or (
            "no workload is small enough for Triton's interpreter and none could be shrunk; "
            "add domain(rng) with small sizes to the task"
        )
    return Verdict(
        Correctness.UNVERIFIED, Speed.UNMEASURED, observed.trust, stage, reason, environment=observed.environment
    )


def _unplanned(why: str) -> str:
    return (
        f"its kernels could only be checked by its own host code, because {why}; what your own host code does is "
        "carried out as a plan, so keep to launches and to what a plan can hold"
    )


def _unaudited(why: str) -> str:
    return f"{why}; without a GPU its stores are all that is looked at there, so make them as plain as your kernel's"


def _error_workloads(opened: OpenedTask, observed: Observation) -> tuple[WorkloadVerdict, ...]:
    """One row per checked workload: the largest error seen, beside the user's own kernel's."""
    rows: dict[str, WorkloadVerdict] = {}
    for check in observed.checks:
        errors = [o.max_error for o in check.outputs if o.max_error is not None]
        native = [o.native_max for o in check.outputs if o.native_max is not None]
        note = check.message or ("held out" if _origin(opened, check) == "domain" else "")
        rows[check.workload] = WorkloadVerdict(
            workload=check.workload,
            label=_label(opened, check),
            max_error=max(errors, default=None),
            native_error=max(native, default=None),
            note=note,
        )
    return tuple(rows.values())


def _origin(opened: OpenedTask, check: Check) -> str:
    workload = opened.workload(check.workload)
    return check.origin or (workload.origin if workload else "")


# -- speed -----------------------------------------------------------------------------------------------------------


def _measured(opened: OpenedTask, observed: Observation, stage: Stage, finalists: int, yardstick: Yardstick) -> Verdict:
    samples = [
        Samples(
            timing.workload,
            timing.process,
            timing.baseline_ns,
            timing.candidate_ns,
            empty_ns=timing.empty_ns,
            baseline_call_ns=timing.baseline_call_ns,
            candidate_call_ns=timing.candidate_call_ns,
            baseline_warm_ns=timing.baseline_warm_ns,
            candidate_warm_ns=timing.candidate_warm_ns,
        )
        for timing in observed.timing
    ]
    labels = {one.id: one.label for one in opened.workloads}
    weights = {one.id: one.weight for one in opened.workloads}
    result: Measured = measure(
        samples,
        stage=stage,
        labels=labels,
        weights=weights,
        finalists=finalists,
        delta=_seen_delta(opened) if yardstick.delta is None else yardstick.delta,
        floors={
            timing.workload: yardstick.floor(LeastWork(timing.least_dram_bytes, timing.least_flops))
            for timing in opened.baseline.timing
        },
    )
    return Verdict(
        correctness=Correctness.CORRECT,
        speed=result.speed,
        trust=observed.trust,
        stage=stage,
        reason=result.reason,
        failure=result.failure,
        ratio=result.ratio,
        worst_ratio=result.worst_ratio,
        interval=result.interval,
        workloads=(*result.workloads, *_error_workloads(opened, observed)),
        environment=(*observed.environment, *_also_said(observed, yardstick)),
    )


def _also_said(observed: Observation, yardstick: Yardstick) -> Iterator[tuple[str, str]]:
    if yardstick.origin:
        yield "held against", yardstick.origin
    if said := run_to_run(observed.checks):
        yield "run to run", said


def _seen_delta(opened: OpenedTask) -> float:
    """The smallest difference that a machine which was not calibrated can tell: the user's kernel was timed against
    itself at the start.
    """
    pairs = [(timing.baseline_ns, timing.candidate_ns) for timing in opened.baseline.timing]
    return null_delta([median(math.log(a / b) for a, b in zip(*pair, strict=True)) for pair in pairs if pair[0]])


def _estimated(opened: OpenedTask, observed: Observation, target: Target, stage: Stage) -> Verdict:
    # Varied values are more checks of a workload that counts already, and values at the timed sizes are samples.
    sampled = {check.workload for check in observed.checks if check.origin == SAMPLED and check.outputs}
    checked = len({one.workload for one in observed.checks if not one.distribution and one.origin != SAMPLED})
    by = "by trusted code from its TTIR" if observed.trust is Trust.KERNEL_ONLY else "in Triton's interpreter"
    proof = f"correct on {checked} small workload{'s' if checked != 1 else ''} {by}"
    if sampled:
        proof += f" and, where values were looked at, at {len(sampled)} timed size{'s' if len(sampled) != 1 else ''}"
    if refused := _refused(opened, observed, target):
        return Verdict(
            correctness=Correctness.UNVERIFIED,
            speed=Speed.UNMEASURED,
            trust=observed.trust,
            stage=stage,
            reason=f"it does not fit on {target.name}: {refused}; {proof}",
            failure=Failure.COMPILE_ERROR,
            workloads=_error_workloads(opened, observed),
            environment=observed.environment,
        )
    rows, why_not = _estimated_rows(opened, observed, target)
    # A process that runs a candidate could say anything of its work.
    trust = observed.trust if all(one.trusted for one in observed.work) else Trust.HOST_CODE
    if why_not:
        return Verdict(
            correctness=Correctness.CORRECT,
            speed=Speed.UNMEASURED,
            trust=observed.trust,
            stage=stage,
            reason=f"{proof}; {why_not}",
            workloads=_error_workloads(opened, observed),
            environment=observed.environment,
        )
    ratio = weighted_geometric_mean([(row.ratio or 1.0, row.weight) for row in rows])
    worst = min(rows, key=lambda row: row.ratio or 1.0)
    tail = f", {worst.ratio:.2f}× on {worst.label}" if len(rows) > 1 else ""
    return Verdict(
        correctness=Correctness.CORRECT,
        speed=Speed.ESTIMATED,
        trust=trust,
        stage=stage,
        reason=f"estimated {ratio:.2f}× on {target.name}{tail}; {proof}",
        ratio=ratio,
        worst_ratio=worst.ratio,
        workloads=(*rows, *_error_workloads(opened, observed)),
        environment=observed.environment,
    )


def _refused(opened: OpenedTask, observed: Observation, target: Target) -> str:
    """Why the candidate cannot be launched on the target at the size of some timed workload; "" where it can."""
    timed = [workload.id for workload in opened.workloads if workload.is_timed]
    found = [prediction for one in timed if (prediction := predicted(observed, one, target)) is not None]
    return next((prediction.why_not for prediction in found if not prediction.launchable), "")


def _estimated_rows(opened: OpenedTask, observed: Observation, target: Target) -> tuple[list[WorkloadVerdict], str]:
    """One estimated row per timed workload, or why there is none."""
    rows = []
    for workload in opened.workloads:
        if not workload.is_timed:
            continue
        before = predicted(opened.baseline, workload.id, target)
        after = predicted(observed, workload.id, target)
        if before is None or after is None:
            notes = observed.notes or opened.baseline.notes
            return [], f"its time cannot be estimated: {notes[0] if notes else 'its launches could not be predicted'}"
        if _trusted(opened.baseline, workload.id) != _trusted(observed, workload.id):
            return [], "its time cannot be estimated: its work and your own kernel's were not counted in the same way"
        if not before.launchable:
            return [], f"no estimate on {target.name}, because your own kernel would not launch there: {before.why_not}"
        rows.append(
            WorkloadVerdict(
                workload=workload.id,
                label=workload.label,
                weight=workload.weight,
                baseline_us=before.time_us,
                candidate_us=after.time_us,
                ratio=before.time_us / after.time_us,
                estimated=True,
            )
        )
    return (rows, "") if rows else ([], "its time cannot be estimated: no workload to time")


def _trusted(observation: Observation, workload: str) -> bool:
    """Whether all of its work was counted by trusted code."""
    return all(one.trusted for one in observation.work if one.workload == workload)


def predicted(observation: Observation, workload: str, target: Target) -> Prediction | None:
    """The estimate for one workload; None where its launches were not seen both compiled and profiled."""
    pairs = paired_launches(observation, workload)
    return predict(pairs, target) if pairs else None


def paired_launches(observation: Observation, workload: str) -> list[tuple[KernelFacts, WorkProfile]]:
    """Facts and work of each launch, in order; empty where the two views of the entry differ."""
    launches = [launch for launch in observation.launches if launch.workload == workload]
    work = [profile for profile in observation.work if profile.workload == workload]
    if [launch.kernel for launch in launches] != [profile.kernel for profile in work]:
        return []
    return [(observation.kernels[launch.facts], profile) for launch, profile in zip(launches, work, strict=True)]


def weighted_geometric_mean(values: Sequence[tuple[float, float]]) -> float:
    """exp(Σ w·ln v / Σ w) of (value, weight) pairs; 1.0 for none."""
    total = sum(weight for _, weight in values)
    return math.exp(sum(weight * math.log(value) for value, weight in values) / total) if total else 1.0
