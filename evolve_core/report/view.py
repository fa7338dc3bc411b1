"""Figures of a run, derived from its journal records: what the HTML report and the terminal both show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evolve_core.journal.model import CandidateRecord, RunRecord, RunState
from evolve_core.judge.verdict import Correctness, Speed, Stage, Verdict, WorkloadVerdict
from evolve_core.report.wording import Standing, shown_ratio, standing


@dataclass(frozen=True, slots=True)
class ProposerYield:
    """What one proposer brought. ``best_ratio`` counts numbers that may be claimed only."""

    proposer: str
    proposed: int
    correct: int
    better: int
    best_ratio: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate on the progress curve, in the order of verdicts. ``claim`` is False for a screening number."""

    position: int
    ratio: float
    candidate_id: str
    summary: str
    claim: bool
    estimated: bool


@dataclass(frozen=True, slots=True)
class TimedRow:
    """A workload with its ratio in words, the length of its bar in 0…1, and ``gain``, ``loss`` or neither."""

    workload: WorkloadVerdict
    ratio: str
    share: float
    tone: str


@dataclass(frozen=True, slots=True)
class TimePart:
    name: str
    seconds: float


def best_of(run: RunRecord, candidates: Sequence[CandidateRecord]) -> CandidateRecord | None:
    """The candidate the run shows as its result, None while there is none."""
    return next((c for c in candidates if c.candidate_id == run.best), None) if run.best else None


def proposer_of(candidate: CandidateRecord) -> str:
    return candidate.recipe[-1].proposer if candidate.recipe else "unknown"


def recipe_words(candidate: CandidateRecord) -> str:
    """Every step since the user's source: "rewrite/exp2 → tune/launch (num_warps=8)"."""
    steps = []
    for step in candidate.recipe:
        settings = ", ".join(f"{name}={value}" for name, value in step.parameters)
        steps.append(f"{step.proposer}/{step.rule}" + (f" ({settings})" if settings else ""))
    return " → ".join(steps)


def yields(candidates: Sequence[CandidateRecord]) -> tuple[ProposerYield, ...]:
    """One row per proposer, the most fruitful first."""
    groups: dict[str, list[CandidateRecord]] = {}
    for candidate in candidates:
        groups.setdefault(proposer_of(candidate), []).append(candidate)
    rows = [_yield(name, group) for name, group in groups.items()]
    return tuple(sorted(rows, key=lambda r: (-r.better, -r.correct, -r.proposed, r.proposer)))


def _yield(name: str, group: Sequence[CandidateRecord]) -> ProposerYield:
    ratios = [ratio for c in group if (ratio := shown_ratio(c.verdict)) is not None]
    return ProposerYield(
        proposer=name,
        proposed=len(group),
        correct=sum(c.verdict is not None and c.verdict.correctness is Correctness.CORRECT for c in group),
        better=sum(standing(c.verdict) is Standing.BETTER for c in group),
        best_ratio=max(ratios, default=None),
    )


def standings(candidates: Sequence[CandidateRecord]) -> dict[Standing, int]:
    """How many candidates ended up where; only those that occur, in the order of ``Standing``."""
    counts = Counter(standing(c.verdict) for c in candidates)
    return {each: counts[each] for each in Standing if counts[each]}


def points(candidates: Sequence[CandidateRecord]) -> tuple[Point, ...]:
    """Correct candidates that have a ratio, in the order in which they were judged."""
    judged = sorted((c for c in candidates if c.judged_at is not None), key=lambda c: (c.judged_at or 0.0, c.ordinal))
    found = []
    for position, candidate in enumerate(judged, start=1):
        verdict = candidate.verdict
        if verdict is None or verdict.ratio is None or verdict.correctness is not Correctness.CORRECT:
            continue
        estimated = verdict.speed is Speed.ESTIMATED
        claim = estimated or verdict.stage is Stage.CONFIRMATION
        found.append(Point(position, verdict.ratio, candidate.candidate_id, candidate.summary, claim, estimated))
    return tuple(found)


def best_name(run: RunRecord) -> str:
    """What the best candidate may be called: a winner only when the run has ended."""
    return "winner" if run.state is RunState.DONE else "best so far"


def checked(verdict: Verdict | None) -> tuple[WorkloadVerdict, ...]:
    """The workloads whose outputs were compared with the oracle's."""
    return tuple(w for w in verdict.workloads if w.max_error is not None) if verdict else ()


def timed_rows(verdict: Verdict | None) -> tuple[TimedRow, ...]:
    """The workloads that have times."""
    if verdict is None:
        return ()
    timed = [w for w in verdict.workloads if w.candidate_us is not None or w.ratio is not None]
    largest = max((w.ratio or 0.0 for w in timed), default=0.0) or 1.0
    is_claim = shown_ratio(verdict) is not None
    return tuple(TimedRow(w, _ratio_of(w, is_claim), (w.ratio or 0.0) / largest, _tone(w.ratio)) for w in timed)


def _ratio_of(workload: WorkloadVerdict, is_claim: bool) -> str:
    if workload.ratio is None or not is_claim:
        return "–"
    interval = f" ({workload.interval.low:.2f}–{workload.interval.high:.2f})" if workload.interval else ""
    return f"{workload.ratio:.2f}×{interval}" + (" estimated" if workload.estimated else "")


def _tone(ratio: float | None) -> str:
    """Coloured only where two decimals differ from 1.00."""
    if ratio is None or abs(ratio - 1.0) < 0.005:
        return ""
    return "gain" if ratio > 1.0 else "loss"


def time_parts(run: RunRecord, candidates: Sequence[CandidateRecord]) -> tuple[TimePart, ...]:
    """Wall time of the run by what it went into. Judging is the union of the candidates' spans: they overlap."""
    end = run.ended_at if run.ended_at is not None else run.updated_at
    total = max(end - run.created_at, 0.0)
    if not candidates:
        return (TimePart("preparing", total),)
    first = min(c.created_at for c in candidates)
    preparing = min(max(first - run.created_at, 0.0), total)
    spans = sorted((c.created_at, c.judged_at) for c in candidates if c.judged_at is not None)
    judging = min(_covered(spans), total - preparing)
    return (
        TimePart("preparing and baseline", preparing),
        TimePart("judging", judging),
        TimePart("proposing and the rest", max(total - preparing - judging, 0.0)),
    )


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    covered, reached = 0.0, float("-inf")
    for start, end in spans:
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered
