"""What stands behind a result, as Markdown: per workload, with interval or the word estimated, and how to check it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolve_core.journal.model import RunState
from evolve_core.journal.paste import about_run
from evolve_core.task.model import Task, TaskProblem
from evolve_server.view import Freshness
from evolve_server.words import age, interval, is_estimate, progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evolve_core.journal.model import CandidateRecord
    from evolve_core.judge.verdict import Interval, Verdict, WorkloadVerdict
    from evolve_server.view import KernelSuggestion, KernelView, RunView

TOO_MANY_WORKLOADS = 12
_WARM = " ratio, inputs in L2 |"


def about(view: KernelView, workspace: Path) -> str:
    """Everything known about a kernel of a workspace, "" where that is nothing."""
    return "\n\n".join(part for part in _parts(view, workspace) if part)


def _parts(view: KernelView, workspace: Path) -> Iterator[str]:
    run = view.run
    if view.pending is not None:
        yield f"**kernel-evolve**: run `{view.pending.run_id}` is starting."
    elif view.start_failure is not None:
        yield f"**kernel-evolve**: {view.start_failure.message}"
    elif run is not None:
        yield from _run(view, run, workspace)
    elif isinstance(view.task, Task):
        yield f"**kernel-evolve**: task `{view.task.task_file.name}`, {_task_facts(view.task)}."
    if isinstance(view.task, TaskProblem):
        yield f"**kernel-evolve**: {view.task.message}"
    if view.journal_problem:
        yield f"**kernel-evolve**: {view.journal_problem}"
    yield from map(_suggestion, view.suggestions[:3])


def _task_facts(task: Task) -> str:
    entry = f"entry `{task.entry}`" if task.entry else "its own launches"
    truth = "checked against `reference()`" if task.has_reference else "checked against your kernel as it is"
    return f"{entry}, {truth}"


def _run(view: KernelView, run: RunView, workspace: Path) -> Iterator[str]:
    record = run.record
    if run.is_active:
        yield f"**kernel-evolve**: {progress(record)}"
        yield _counts(run)
        return
    if view.freshness is Freshness.EDITED:
        yield "**Stale**: the kernel was edited after this run. Undo the edit, or evolve again."
    if run.winner is not None and run.winner.verdict is not None:
        yield from _winner(view, run, run.winner, run.winner.verdict, workspace)
        return
    if record.state is RunState.FAILED:
        yield f"**kernel-evolve**: the run failed. {record.reason}"
    elif record.state is RunState.INTERRUPTED:
        yield f"**kernel-evolve**: the run was interrupted. {record.reason}"
    else:
        yield f"**kernel-evolve**: {record.state.value}. {record.reason}"
    yield _counts(run)


def _winner(
    view: KernelView, run: RunView, winner: CandidateRecord, verdict: Verdict, workspace: Path
) -> Iterator[str]:
    estimated = is_estimate(verdict)
    kind = f"**estimated** for {run.record.spec.target}, not measured" if estimated else "measured in confirmation runs"
    spread = f", 95 % interval {interval(verdict.interval)}" if verdict.interval is not None else ""
    applied = " It is applied." if view.freshness is Freshness.APPLIED else ""
    yield f"**kernel-evolve: {verdict.ratio or 0:.2f}× faster** ({kind}{spread}), {verdict.correctness.value}.{applied}"
    yield f"{winner.summary}  \n{_recipe(winner)}"
    yield _table(verdict)
    if verdict.reason:
        yield verdict.reason
    if verdict.baselines:
        # Of the kernel as the run found it: nothing here is a claim about the winner.
        yield "Beside the kernel that the run began with: " + "; ".join(_cell(one.words) for one in verdict.baselines)
    yield _environment(verdict)
    yield _counts(run)
    check, report = (_code(about_run(word, run.record.run_id, workspace)) for word in ("show", "report"))
    yield f"Check it: {check}, whole report: {report}"


def _code(text: str) -> str:
    """As code in Markdown, also where a path holds a backtick."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _recipe(winner: CandidateRecord) -> str:
    steps = [f"`{step.proposer}: {step.rule}`" for step in winner.recipe]
    return "Recipe: " + " → ".join(steps) if steps else ""


def _table(verdict: Verdict) -> str:
    rows = verdict.workloads[:TOO_MANY_WORKLOADS]
    if not rows:
        return ""
    estimated = any(row.estimated for row in verdict.workloads)
    time = "µs (estimated)" if estimated else "µs"
    ratio = "ratio (estimated)" if all(row.estimated for row in verdict.workloads) else "ratio"
    warm = any(row.warm_ratio is not None for row in rows)
    head = f"| workload | before, {time} | after, {time} | {ratio} |{_WARM if warm else ''} max error (yours) |"
    line = f"|---|--:|--:|--:|{'--:|' if warm else ''}--:|"
    left = len(verdict.workloads) - len(rows)
    more = f"\n\n… and {left} more workloads in the report." if left else ""
    return "\n".join([head, line, *(_row(row, warm) for row in rows)]) + more


def _row(row: WorkloadVerdict, warm: bool) -> str:
    ratio = _ratio(row.ratio, row.interval) + (" (estimated)" if row.estimated and row.ratio is not None else "")
    in_l2 = f" {_ratio(row.warm_ratio, row.warm_interval)} |" if warm else ""
    error = f"{_error(row.max_error)} ({_error(row.native_error)})"
    # As code: to Markdown, what stands in the brackets of a shape would be a link.
    label = _cell(row.label or row.workload).replace("`", "'")
    return f"| `{label}` | {_us(row.baseline_us)} | {_us(row.candidate_us)} | {ratio} |{in_l2} {error} |"


def _ratio(ratio: float | None, spread: Interval | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×" + (f" [{interval(spread)}]" if spread is not None else "")


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _environment(verdict: Verdict) -> str:
    return " · ".join(f"{name}: {_cell(value)}" for name, value in verdict.environment)


def _counts(run: RunView) -> str:
    record = run.record
    when = f", {age(record.ended_at)}" if record.ended_at is not None else ""
    candidates = f"{record.proposed} candidate{'' if record.proposed == 1 else 's'}"
    return f"Run `{record.run_id}`: {candidates}, {record.judged} judged, {record.correct} correct{when}."


def _suggestion(suggestion: KernelSuggestion) -> str:
    kind = "estimated" if suggestion.estimated else "measured"
    held = f", held {suggestion.successes} of {suggestion.successes + suggestion.failures} times"
    return (
        f"**From a similar kernel** ({suggestion.similarity:.0%}: {suggestion.because}): {suggestion.claim} "
        f"({suggestion.ratio:.2f}×, {kind}{held})"
    )
