"""The words about a kernel, the same on every surface. An estimate says so wherever its number stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from evolve_core.files import FULL, names_full_disk
from evolve_core.journal.model import Control, RunState
from evolve_core.task.model import Task, TaskProblem, TaskProblemKind
from evolve_server.view import Freshness, is_cancelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolve_core.journal.model import RunRecord
    from evolve_core.judge.verdict import Interval, Verdict
    from evolve_server.view import KernelView, RunView


MAX_NAMED = 3
"""How many kernels a title lists."""


def evolve_all(views: Sequence[KernelView]) -> str:
    """What starts every kernel of a file, "" where fewer than two are known to have a task: a title that says which.

    The lens of a single kernel starts that one; one without a task has none to start.
    """
    ready = [view.name for view in views if isinstance(view.task, Task)]
    if len(ready) < 2:
        return ""
    if len(ready) == len(views):
        return f"Evolve all {len(ready)} kernels"
    more = " …" if len(ready) > MAX_NAMED else ""
    return f"Evolve the {len(ready)} kernels that have a task: {', '.join(ready[:MAX_NAMED])}{more}"


def ratio(value: float, *, estimated: bool) -> str:
    """A claim: ``1.38× faster (estimated)``."""
    return f"{value:.2f}× faster{' (estimated)' if estimated else ''}"


def headline(view: KernelView) -> str:
    """The lens above a kernel."""
    if view.pending is not None:
        return "queued…"
    if view.journal_problem and not view.is_busy and (view.run is None or view.run.winner is None):
        # The reason is in the diagnostic and in what a click answers.
        full = names_full_disk(view.journal_problem)
        return f"cannot evolve: {FULL if full else 'the journal here cannot be read'}"
    if view.run is None or view.start_failure is not None:
        return _without_run(view)
    record = view.run.record
    if view.run.is_active:
        edited = " · source edited since" if view.freshness is Freshness.EDITED else ""
        return progress(record) + edited
    return _ended(view, view.run, record)


def progress(record: RunRecord) -> str:
    """What an active run is doing. No clock in it: the line would change although nothing has happened."""
    match record.state:
        case RunState.QUEUED:
            queued = "queued…" if not record.reason else f"queued: {_clause(record.reason)}"
            return queued + _asked(record, "pausing once it has started")
        case RunState.BASELINE:
            return "judging your kernel first…" + _asked(record, "pausing after it")
        case RunState.PAUSED:
            return f"paused {_counted(record)}" + (f" · {_clause(record.reason)}" if record.reason else "")
        case RunState.VERIFYING:
            return f"verifying the best of {record.judged}…" + _asked(record, "pausing after this candidate")
        case _:
            asked = {Control.PAUSE: "pausing", Control.CANCEL: "cancelling"}.get(record.control, "evolving")
            return f"{asked} {_counted(record)}{_best_so_far(record)}"


def _asked(record: RunRecord, when_paused: str) -> str:
    """What was asked of a runner that cannot follow at once; "" where that is nothing."""
    match record.control:
        case Control.PAUSE:
            return f" · {when_paused}"
        case Control.CANCEL:
            return " · cancelling"
        case _:
            return ""


def progress_line(record: RunRecord, now: float) -> str:
    """The same with the time that has passed, for the progress display."""
    minutes, seconds = divmod(max(0, int(now - record.created_at)), 60)
    return f"{progress(record)} · {minutes} min" if minutes else f"{progress(record)} · {seconds} s"


def inlay(view: KernelView) -> str:
    """The few words behind the kernel's name, "" where there is no result to show."""
    winner = view.run.winner if view.run is not None and not view.is_busy else None
    if view.run is None or winner is None or winner.verdict is None:
        return ""
    verdict = winner.verdict
    claim = f"{verdict.ratio or 0:.2f}×"
    claim = f"~{claim} estimated {view.run.record.spec.target}" if is_estimate(verdict) else f"{claim} faster"
    match view.freshness:
        case Freshness.EDITED:
            return f"stale: was {claim}"
        case Freshness.APPLIED:
            return f"{claim} · applied"
        case _:
            return claim


def is_estimate(verdict: Verdict) -> bool:
    return verdict.speed.value == "estimated"


def interval(value: Interval | None) -> str:
    return f"{value.low:.2f}–{value.high:.2f}×" if value is not None else ""


def age(then: float, now: float | None = None) -> str:
    seconds = max(0.0, (time.time() if now is None else now) - then)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def first_sentence(text: str) -> str:
    """Enough for one line; the whole is in the hover and in the diagnostic."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    head, stop, _ = line.partition(". ")
    short = head if stop else line.rstrip(".")
    return short if len(short) <= 100 else short[:99] + "…"


def _without_run(view: KernelView) -> str:
    if view.start_failure is not None:
        return f"failed: {_in_short(view.start_failure.message)}"
    if isinstance(view.task, TaskProblem):
        if view.task.kind is TaskProblemKind.MISSING:
            return "Evolve: write a task file first…"
        return "Evolve: the task file has a problem"
    return "Evolve"


def _ended(view: KernelView, run: RunView, record: RunRecord) -> str:
    edited = view.freshness is Freshness.EDITED
    winner = run.winner
    if winner is not None and winner.verdict is not None:
        claim = ratio(winner.verdict.ratio or 0.0, estimated=is_estimate(winner.verdict))
        if edited:
            return f"was {claim} · source edited"
        elsewhere = f" · {record.spec.target}" if is_estimate(winner.verdict) else ""
        return f"{claim}{elsewhere} · {'applied' if view.freshness is Freshness.APPLIED else 'apply…'}"
    if edited or is_cancelled(record) or (record.state is RunState.FAILED and not view.failure):
        return _without_run(view)
    match record.state:
        case RunState.FAILED:
            return f"failed: {_in_short(view.failure)}"
        case RunState.INTERRUPTED:
            why = f", {FULL}" if names_full_disk(view.interruption) else ""
            return f"interrupted after {_counted(record)}{why}: resume"
        case _:
            return f"no gain · {record.judged} candidates judged"


def _counted(record: RunRecord) -> str:
    limit = record.spec.budget_candidates
    return f"{record.judged}/{limit}" if limit is not None else f"{record.judged} judged"


def _best_so_far(record: RunRecord) -> str:
    """Screening's number: shown with a ~ while the run goes on, and never after."""
    if record.best_ratio is None or record.best_ratio <= 1.0:
        return ""
    return f" · best ~{record.best_ratio:.2f}× ({'estimated' if record.best_estimated else 'screening'})"


def _in_short(message: str) -> str:
    return FULL if names_full_disk(message) else first_sentence(message)


def _clause(reason: str) -> str:
    return first_sentence(reason)
