"""The report of a run: one HTML file that needs nothing else, no network and no script.

Candidates' sources and models' words are untrusted: everything is escaped, and the page's own policy forbids scripts
and requests, whatever might slip through.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evolve_core.journal.model import CandidateRecord, RunRecord
from evolve_core.judge.verdict import Verdict
from evolve_core.report import svg, view, wording
from evolve_core.report.curve import curve_svg
from evolve_core.report.diff import diff_lines
from evolve_core.report.lineage import lineage_svg


def render(run: RunRecord, candidates: tuple[CandidateRecord, ...], base: str) -> str:
    """The whole page. ``base`` is the user's source that the winner's difference is shown against."""
    template = _environment().get_template("report.html.j2")
    return template.render(_context(run, candidates, base))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("evolve_core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = wording.duration_words
    environment.filters["microseconds"] = wording.microseconds_words
    environment.filters["call"] = wording.call_words
    environment.filters["warm"] = wording.warm_words
    environment.filters["ratio"] = wording.ratio_words
    environment.filters["verdict"] = wording.verdict_words
    environment.filters["standing"] = lambda candidate: wording.standing(candidate.verdict)
    environment.filters["recipe"] = view.recipe_words
    environment.filters["proposer"] = view.proposer_of
    environment.filters["moment"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    environment.filters["error"] = lambda value: "–" if value is None else f"{value:.3g}"
    return environment


def _context(run: RunRecord, candidates: tuple[CandidateRecord, ...], base: str) -> dict[str, Any]:
    best = view.best_of(run, candidates)
    found = view.points(candidates)
    judged = sum(c.judged_at is not None for c in candidates)
    times = view.time_parts(run, candidates)
    verdict = best.verdict if best else None
    estimated = any(p.estimated for p in found)
    return {
        "run": run,
        "kernel": run.spec.kernels[0] if run.spec.kernels else run.spec.entry,
        "file_name": PurePath(run.spec.source_file).name,
        "headline": wording.headline(run, best),
        "best": best,
        "candidates": candidates,
        "judged": judged,
        "standings": [
            (svg.legend_mark(kind), wording.standing_words(kind, estimated), count)
            for kind, count in view.standings(candidates).items()
        ],
        "lineage": lineage_svg(candidates, run.best),
        "curve": curve_svg(found, judged),
        "estimated": estimated,
        "has_screening": any(not p.claim for p in found),
        "best_name": view.best_name(run),
        "timed": view.timed_rows(verdict),
        "with_calls": wording.has_calls(verdict),
        "with_warm": wording.has_warm(verdict),
        "checked": view.checked(verdict),
        "baselines": verdict.baselines if verdict else (),
        "workloads_estimated": bool(verdict and any(w.estimated for w in verdict.workloads)),
        "diff": diff_lines(base, best.source) if best else (),
        "yields": view.yields(candidates),
        "times": times,
        "total_seconds": sum(part.seconds for part in times),
        "environment": _environment_rows(run, verdict),
    }


def _environment_rows(run: RunRecord, verdict: Verdict | None) -> tuple[tuple[str, str], ...]:
    """What the run recorded, completed by what the winner's verdict adds."""
    rows = dict(verdict.environment) if verdict else {}
    rows.update(run.environment)
    return tuple(rows.items())
