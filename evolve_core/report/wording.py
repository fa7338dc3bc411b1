"""The words of a report. One place decides what a verdict is called: an estimate is never called a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evolve_core.journal.model import CandidateRecord, RunRecord, RunState
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Verdict, WorkloadVerdict


class Standing(StrEnum):
    """Where a candidate ended up, as far as a picture can tell candidates apart."""

    BETTER = "better"
    SAME = "same"
    SLOWER = "slower"
    SCREENED = "screened"
    UNTIMED = "untimed"
    UNVERIFIED = "unverified"
    WRONG = "wrong"
    FAILED = "failed"
    CHEATING = "cheating"
    PENDING = "pending"


STANDING_WORDS = {
    Standing.BETTER: "correct, faster",
    Standing.SAME: "correct, no difference",
    Standing.SLOWER: "correct, slower",
    Standing.SCREENED: "correct, screened only",
    Standing.UNTIMED: "correct, not timed",
    Standing.UNVERIFIED: "unverified",
    Standing.WRONG: "wrong",
    Standing.FAILED: "did not run",
    Standing.CHEATING: "cheating",
    Standing.PENDING: "not judged",
}

RESOLVED_BY_ESTIMATE = 1.02
"""An estimate cannot tell less than this apart (the search offers no smaller gain either)."""

_TIMED = (Standing.BETTER, Standing.SAME, Standing.SLOWER)
_DETECTED = (Failure.CHEATING, Failure.IMPOSSIBLE)


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict on a run. ``tone`` is one of ``good``, ``plain``, ``bad``, ``busy``."""

    tone: str
    title: str
    detail: str


def standing_words(kind: Standing, estimated: bool) -> str:
    """What a legend calls it; where the times are predictions, it says so."""
    words = STANDING_WORDS[kind]
    return words.replace("correct, ", "correct, estimated ") if estimated and kind in _TIMED else words


def standing(verdict: Verdict | None) -> Standing:
    if verdict is None:
        return Standing.PENDING
    if verdict.failure in _DETECTED:
        return Standing.CHEATING
    if verdict.correctness is Correctness.WRONG:
        return Standing.WRONG
    if verdict.correctness is Correctness.UNVERIFIED:
        return Standing.UNVERIFIED if verdict.failure is None else Standing.FAILED
    return _standing_of_correct(verdict)


def _standing_of_correct(verdict: Verdict) -> Standing:
    measured = verdict.speed in (Speed.FASTER, Speed.SAME, Speed.SLOWER)
    if measured and verdict.stage is Stage.SCREENING:
        return Standing.SCREENED
    match verdict.speed:
        case Speed.FASTER:
            return Standing.BETTER
        case Speed.SAME:
            return Standing.SAME
        case Speed.SLOWER:
            return Standing.SLOWER
        case Speed.ESTIMATED if verdict.ratio is not None:
            return _standing_of_estimate(verdict.ratio)
        case _:
            return Standing.UNTIMED


def _standing_of_estimate(ratio: float) -> Standing:
    if ratio >= RESOLVED_BY_ESTIMATE:
        return Standing.BETTER
    return Standing.SLOWER if ratio <= 1 / RESOLVED_BY_ESTIMATE else Standing.SAME


def shown_ratio(verdict: Verdict | None) -> float | None:
    """The ratio where it may be shown: an estimate that says so, or a confirmed measurement; never a screening one."""
    if verdict is None or verdict.ratio is None or verdict.correctness is not Correctness.CORRECT:
        return None
    confirmed = verdict.stage is Stage.CONFIRMATION and verdict.speed is not Speed.UNMEASURED
    return verdict.ratio if confirmed or verdict.speed is Speed.ESTIMATED else None


def ratio_words(verdict: Verdict | None) -> str:
    """ "1.40× estimated", "1.38× (1.35–1.41)", "" where there is no number that may be claimed."""
    ratio = shown_ratio(verdict)
    if verdict is None or ratio is None:
        return ""
    if verdict.speed is Speed.ESTIMATED:
        return f"{ratio:.2f}× estimated"
    interval = f" ({verdict.interval.low:.2f}–{verdict.interval.high:.2f})" if verdict.interval else ""
    return f"{ratio:.2f}×{interval}"


def verdict_words(verdict: Verdict | None) -> str:
    """Correctness and speed, or the kind of failure: never one word for wrong, cheating and unproven."""
    if verdict is None:
        return "not judged"
    if verdict.failure is not None:
        return verdict.failure.value
    if verdict.correctness is not Correctness.CORRECT:
        return verdict.correctness.value
    return f"correct, {_speed_words(verdict)}"


def _speed_words(verdict: Verdict) -> str:
    if standing(verdict) is Standing.SCREENED:
        return "screened only"
    match verdict.speed:
        case Speed.SAME:
            return "no measurable difference"
        case Speed.UNMEASURED:
            return "not timed"
        case Speed.ESTIMATED:
            return "estimated " + {Standing.BETTER: "faster", Standing.SLOWER: "slower"}.get(
                standing(verdict), "no different"
            )
        case speed:
            return speed.value


def headline(run: RunRecord, best: CandidateRecord | None) -> Headline:
    """The verdict on the run in plain words. Success is said of a finished run only."""
    verdict = best.verdict if best else None
    if run.state is RunState.DONE:
        return _done(run, verdict)
    so_far = f" Best so far: {ratio_words(verdict)}." if shown_ratio(verdict) is not None else ""
    if run.state is RunState.FAILED:
        return Headline("bad", "The run failed", run.reason)
    if run.state is RunState.CANCELLED:
        return Headline("plain", "Cancelled", f"{run.reason}{so_far}".strip())
    if run.state in (RunState.PAUSED, RunState.INTERRUPTED):
        return Headline("plain", run.state.value.capitalize(), f"{run.reason}{so_far}".strip())
    count = f"{run.judged} of {run.proposed} candidates judged."
    return Headline("busy", f"Still running: {run.state.value}", f"{run.reason} {count}{so_far}".strip())


def _done(run: RunRecord, verdict: Verdict | None) -> Headline:
    ratio = shown_ratio(verdict)
    if verdict is None or ratio is None or not verdict.is_winner:
        reason = run.reason[len("no gain:") :].strip() if run.reason.lower().startswith("no gain:") else run.reason
        return Headline("plain", "No gain", reason or "No candidate was correct and faster than your kernel.")
    if verdict.speed is Speed.ESTIMATED:
        detail = (
            f"This is an estimate for {run.spec.target}, made without running on a GPU. "
            "Correctness was checked by Triton's interpreter on small workloads."
        )
        return Headline("good", f"{ratio:.2f}× faster, estimated", detail)
    device = dict(verdict.environment).get("device") or run.spec.target
    interval = f", 95 % interval {verdict.interval.low:.2f}–{verdict.interval.high:.2f}" if verdict.interval else ""
    return Headline("good", f"{ratio:.2f}× faster", f"Measured on {device}{interval}, against your kernel.")


def duration_words(seconds: float) -> str:
    """A duration for people: "0.8 s", "42 s", "4 min 10 s", "2 h 05 min"."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def has_calls(verdict: Verdict | None) -> bool:
    """Whether whole calls were timed, too."""
    return verdict is not None and any(row.candidate_call_us is not None for row in verdict.workloads)


def call_words(row: WorkloadVerdict) -> str:
    """Whole calls of both, "42.1 µs → 30 µs"; "–" where they were not timed."""
    if row.candidate_call_us is None:
        return "–"
    return f"{microseconds_words(row.baseline_call_us)} → {microseconds_words(row.candidate_call_us)}"


def has_warm(verdict: Verdict | None) -> bool:
    """Whether there are figures of a warm L2 cache, beside a ratio that may be shown."""
    if verdict is None or shown_ratio(verdict) is None:
        return False
    return any(row.warm_ratio is not None for row in verdict.workloads)


def warm_words(row: WorkloadVerdict) -> str:
    """Both on a warm L2 cache, "21.7 µs → 14.1 µs, 1.54× (1.52–1.56)"; "–" where that was not timed."""
    if row.warm_ratio is None:
        return "–"
    times = f"{microseconds_words(row.baseline_warm_us)} → {microseconds_words(row.candidate_warm_us)}"
    interval = f" ({row.warm_interval.low:.2f}–{row.warm_interval.high:.2f})" if row.warm_interval else ""
    return f"{times}, {row.warm_ratio:.2f}×{interval}"


def microseconds_words(time_us: float | None) -> str:
    """A kernel's time with three significant digits and its unit: "812 ns", "42.1 µs", "3.02 ms"."""
    if time_us is None:
        return "–"
    if time_us < 1:
        return f"{time_us * 1e3:.3g} ns"
    return f"{time_us:.3g} µs" if time_us < 999.5 else f"{time_us / 1e3:.3g} ms"
