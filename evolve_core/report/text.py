"""The same report for a terminal. The text of candidates is printed literally: rich's markup is never read from it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from evolve_core.journal.model import CandidateRecord, RunRecord
from evolve_core.judge.verdict import Correctness, Verdict
from evolve_core.report import view, wording
from evolve_core.report.wording import Standing

_TONES = {"good": "green", "bad": "red", "busy": "blue", "plain": "default"}
_COLOURS = {
    Standing.BETTER: "green",
    Standing.SAME: "default",
    Standing.SLOWER: "yellow",
    Standing.SCREENED: "blue",
    Standing.UNTIMED: "default",
    Standing.UNVERIFIED: "yellow",
    Standing.WRONG: "red",
    Standing.FAILED: "red",
    Standing.CHEATING: "magenta",
    Standing.PENDING: "bright_black",
}


def summary(run: RunRecord, candidates: Sequence[CandidateRecord], limit: int = 10) -> RenderableType:
    """The verdict on a run, its workloads, its proposers and its ``limit`` best candidates."""
    best = view.best_of(run, candidates)
    parts: list[RenderableType] = [_heading(run, best)]
    if best and best.verdict and best.verdict.workloads:
        parts.append(_workloads(best.verdict, view.best_name(run)))
    if best and best.verdict and best.verdict.baselines:
        lines = "\n".join(baseline.words for baseline in best.verdict.baselines)
        parts.append(Text(f"beside the kernel that this run began with\n{lines}\n"))
    if candidates:
        parts += [_proposers(candidates), candidates_table(_leading(candidates, limit), f"best {limit} candidates")]
    return Group(*parts)


def candidates_table(candidates: Sequence[CandidateRecord], title: str = "candidates") -> Table:
    table = _table(title, "#", "change", "proposer", "verdict")
    for candidate in candidates:
        words = Text(_verdict_words(candidate.verdict), style=_COLOURS[wording.standing(candidate.verdict)])
        proposer = Text(view.proposer_of(candidate))
        table.add_row(Text(str(candidate.ordinal)), Text(candidate.summary), proposer, words)
    return table


def _verdict_words(verdict: Verdict | None) -> str:
    """Short where all is well; the reason where it is not."""
    words, ratio = wording.verdict_words(verdict), wording.ratio_words(verdict)
    if verdict is None or verdict.correctness is Correctness.CORRECT:
        return f"correct, {ratio}" if "estimated" in ratio else f"{words} {ratio}".rstrip()
    return verdict.reason if verdict.reason.startswith(words) else f"{words}: {verdict.reason}"


def _heading(run: RunRecord, best: CandidateRecord | None) -> Panel:
    headline = wording.headline(run, best)
    text = Text(headline.title, style=f"bold {_TONES[headline.tone]}")
    if headline.detail:
        text.append(f"\n{headline.detail}", style="default")
    if best:
        text.append(f"\n{best.summary}", style="default")
    name = run.spec.kernels[0] if run.spec.kernels else run.spec.entry
    return Panel(text, title=Text(f"{name} · {run.run_id}"), title_align="left")


def _workloads(verdict: Verdict, best_name: str) -> Table:
    kind = ", estimated" if any(w.estimated for w in verdict.workloads) else ""
    table = _table("per workload", "workload", f"yours{kind}", f"{best_name}{kind}", "ratio")
    more = [("inputs in L2", wording.warm_words)] if wording.has_warm(verdict) else []
    more += [("whole call", wording.call_words)] if wording.has_calls(verdict) else []
    for name, _ in more:
        _add_column(table, name)
    for row in view.timed_rows(verdict):
        times = (wording.microseconds_words(t) for t in (row.workload.baseline_us, row.workload.candidate_us))
        cells = [row.workload.label or row.workload.workload, *times, row.ratio]
        table.add_row(*(Text(cell) for cell in [*cells, *(words(row.workload) for _, words in more)]))
    if checked := view.checked(verdict):
        worst = max(checked, key=lambda w: (w.max_error or 0.0) / (w.native_error or 1e-30))
        errors = f"at worst an error of {worst.max_error:.3g} where yours has {worst.native_error or 0.0:.3g}"
        table.caption = Text(f"correct on {len(checked)} workload{'s'[: len(checked) != 1]}; {errors}")
    return table


def _proposers(candidates: Sequence[CandidateRecord]) -> Table:
    table = _table("proposers", "proposer", "proposed", "correct", "faster")
    for row in view.yields(candidates):
        table.add_row(Text(row.proposer), str(row.proposed), str(row.correct), str(row.better))
    return table


def _leading(candidates: Sequence[CandidateRecord], limit: int) -> list[CandidateRecord]:
    """Those with a ratio that may be claimed first, by ratio; then the others as they came."""
    return sorted(candidates, key=lambda c: (-(wording.shown_ratio(c.verdict) or 0.0), c.ordinal))[:limit]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.caption_justify = "left"
    for column in columns:
        _add_column(table, column)
    return table


def _add_column(table: Table, name: str) -> None:
    table.add_column(name, header_style="bright_black", overflow="fold")
