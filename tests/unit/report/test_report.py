"""The report of runs of every size and ending, as HTML and for the terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console, RenderableType

from evolve_core.journal.model import CandidateRecord, RunState
from evolve_core.judge.verdict import (
    Baseline,
    Correctness,
    Failure,
    Interval,
    Speed,
    Stage,
    Trust,
    Verdict,
    WorkloadVerdict,
)
from evolve_core.report import view, wording
from evolve_core.report.curve import curve_svg
from evolve_core.report.diff import diff_lines
from evolve_core.report.html import render
from evolve_core.report.lineage import lineage_svg
from evolve_core.report.svg import ticks
from evolve_core.report.text import summary
from evolve_core.report.wording import Standing

Make = Callable[..., Any]
EVIL = '</td><script>alert(1)</script><img src=x onerror="alert(2)"> & "quoted" \'single\''


class Page(HTMLParser):
    """A page as a browser reads it: its elements with attributes, and its text."""

    VOID = ("meta", "br", "img", "input", "link", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def page_of(report: Any) -> Page:
    return Page(render(report.run, report.candidates, report.base))


def terminal(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(renderable)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [0, 1, 36, 500])
@pytest.mark.parametrize("estimated", [True, False])
def test_a_page_of_any_size_is_well_formed_and_needs_nothing_else(
    make_report: Make, count: int, estimated: bool
) -> None:
    report = make_report(count, estimated)
    page = page_of(report)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on") or a in ("href", "src")]
    assert f"candidates{count}" in page.text.replace("\n", "").replace(" ", "")
    marks = [a for tag, a in page.elements if tag == "g"]
    assert len(marks) >= count


def test_an_estimate_is_never_called_a_measurement(make_report: Make) -> None:
    report = make_report(60, estimated=True)
    page = page_of(report)
    terminal_text = terminal(summary(report.run, report.candidates))
    for text in (page.text, terminal_text):
        assert "1.42× faster, estimated" in text
        assert "measured" not in text.lower()
        numbers = list(re.finditer(r"\d\.\d\d×", text))
        around = [text[max(m.start() - 12, 0) : m.end() + 18] for m in numbers]
        assert len(around) > 10
        assert [words for words in around if "estimated" not in words] == []


def test_a_measurement_names_its_device_and_interval(make_report: Make) -> None:
    page = page_of(make_report(40, estimated=False))
    assert "1.42× faster" in page.text
    assert "Measured on NVIDIA H100 80GB HBM3, 95 % interval 1.40–1.44" in page.text
    assert "estimated" not in page.text


def test_baselines_are_figures_of_their_own(make_report: Make) -> None:
    report = make_report(40, estimated=False)
    rows = (WorkloadVerdict("w0", "x[64]", baseline_us=100.0, candidate_us=130.0),)
    eager = Baseline("eager", 0.77, Interval(0.76, 0.78), rows)
    library = Baseline("library", note="not measured: NotImplementedError: <bf16>")
    candidates = tuple(
        replace(c, verdict=replace(c.verdict, baselines=(eager, library))) if c.candidate_id == report.run.best else c
        for c in report.candidates
    )
    page = page_of(replace(report, candidates=candidates))
    for text in (page.text, terminal(summary(report.run, candidates))):
        assert "eager: 1.30× slower than your kernel (1.28–1.32)" in text
        assert "library: not measured: NotImplementedError: <bf16>" in text
    assert "They say nothing about the winner" in page.text and "130 µs" in page.text
    assert "Beside your kernel" not in page_of(report).text


def test_a_screening_number_is_nowhere_to_be_read(make_report: Make) -> None:
    report = make_report(30, estimated=False, wins=False)
    html = render(report.run, report.candidates, report.base)
    screened = [c.verdict.ratio for c in report.candidates if c.verdict.ratio is not None]
    assert len(screened) > 10
    assert not re.search(r"\d\.\d\d×", Page(html).text + terminal(summary(report.run, report.candidates)))
    assert html.count("screened, no claim") == len(screened)
    assert "No gain" in html


def test_nothing_of_a_candidate_reaches_the_page_unescaped(make_report: Make) -> None:
    report = make_report(3)
    hostile = []
    for candidate in report.candidates:
        verdict = replace(candidate.verdict, reason=EVIL, environment=((EVIL, EVIL),))
        workloads = tuple(replace(w, label=EVIL, note=EVIL) for w in verdict.workloads)
        steps = tuple(replace(s, proposer=EVIL, rule=EVIL, parameters=((EVIL, EVIL),)) for s in candidate.recipe)
        hostile.append(
            replace(
                candidate,
                summary=EVIL,
                source=candidate.source + EVIL,
                recipe=steps,
                verdict=replace(verdict, workloads=workloads),
            )
        )
    run = replace(report.run, reason=EVIL, environment=((EVIL, EVIL),))
    page = Page(render(run, tuple(hostile), report.base))
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 10
    assert page.open == []


def test_rich_markup_in_a_candidate_is_printed_as_it_is(make_report: Make) -> None:
    report = make_report(1)
    (candidate,) = report.candidates
    text = terminal(summary(report.run, [replace(candidate, summary="[bold red]x[/] [/nothing]")]))
    assert "[bold red]x[/] [/nothing]" in text


@pytest.mark.parametrize(
    ("state", "title"),
    [
        (RunState.EVOLVING, "Still running: evolving"),
        (RunState.VERIFYING, "Still running: verifying"),
        (RunState.PAUSED, "Paused"),
        (RunState.INTERRUPTED, "Interrupted"),
        (RunState.CANCELLED, "Cancelled"),
        (RunState.FAILED, "The run failed"),
    ],
)
def test_success_is_said_of_finished_runs_only(make_report: Make, state: RunState, title: str) -> None:
    report = make_report(20, state=state)
    headline = wording.headline(report.run, view.best_of(report.run, report.candidates))
    assert headline.title == title
    assert headline.tone != "good"
    assert "1.42× faster" not in page_of(report).text


def test_what_was_timed_and_what_was_checked_are_told_apart(make_report: Make) -> None:
    report = make_report(1)
    (candidate,) = report.candidates
    timed = tuple(replace(w, max_error=None, native_error=None) for w in candidate.verdict.workloads)
    held_out = WorkloadVerdict("h", "x: float32[7, 33]", max_error=3e-7, native_error=1e-7, note="held out")
    verdict = replace(candidate.verdict, workloads=(*timed, held_out))
    report = replace(report, candidates=(replace(candidate, verdict=verdict),))
    html = render(report.run, report.candidates, report.base)
    timed_part, checked_part = html.split("Checked against the oracle")
    assert "held out" not in timed_part
    assert "float32[4096, 1024]" not in checked_part and "held out" in checked_part
    text = terminal(summary(report.run, report.candidates))
    assert "correct on 1 workload; at worst an error of 3e-07 where yours has 1e-07" in text


def test_whole_calls_are_told_where_they_were_timed(make_report: Make) -> None:
    report = make_report(1)
    (candidate,) = report.candidates
    assert "whole call" not in page_of(report).text + terminal(summary(report.run, report.candidates))
    first, *others = candidate.verdict.workloads
    timed = (replace(first, baseline_call_us=42.1, candidate_call_us=30.0), *others)
    report = replace(report, candidates=(replace(candidate, verdict=replace(candidate.verdict, workloads=timed)),))
    for text in (page_of(report).text, terminal(summary(report.run, report.candidates))):
        assert "whole call" in text
        assert "42.1 µs → 30 µs" in text


def test_a_warm_cache_is_told_of_where_it_was_timed(make_report: Make) -> None:
    report = make_report(1, estimated=False)
    (candidate,) = report.candidates
    assert "inputs in L2" not in page_of(report).text + terminal(summary(report.run, report.candidates))
    first, *others = candidate.verdict.workloads
    warm = {
        "baseline_warm_us": 14.0,
        "candidate_warm_us": 10.0,
        "warm_ratio": 1.4,
        "warm_interval": Interval(1.38, 1.42),
    }
    verdict = replace(candidate.verdict, workloads=(replace(first, **warm), *others))
    for shown in (True, False):
        known = replace(verdict, speed=verdict.speed if shown else Speed.UNMEASURED)
        report = replace(report, candidates=(replace(candidate, verdict=known),))
        for text in (page_of(report).text, terminal(summary(report.run, report.candidates))):
            assert ("inputs in L2" in text) is shown
            assert ("14 µs → 10 µs, 1.40×" in text) is shown


def test_nothing_is_called_a_winner_before_the_end(make_report: Make) -> None:
    report = make_report(9, state=RunState.EVOLVING)
    html = render(report.run, report.candidates, report.base)
    assert "best so far, estimated" in Page(html).text
    assert "winner" not in Page(html).text + terminal(summary(report.run, report.candidates))


def test_no_gain_gives_its_reason(make_report: Make) -> None:
    page = page_of(make_report(12, wins=False))
    assert "No gain" in page.text
    assert "12 candidates, none better than yours" in page.text
    assert "no gain:" not in page.text
    assert "What changed" not in page.text


def _verdict(correctness: Correctness, speed: Speed, **more: Any) -> Verdict:
    return Verdict(correctness, speed, Trust.KERNEL_ONLY, more.pop("stage", Stage.CONFIRMATION), "why", **more)


@pytest.mark.parametrize(
    ("verdict", "standing", "words"),
    [
        (None, Standing.PENDING, "not judged"),
        (_verdict(Correctness.CORRECT, Speed.FASTER, ratio=1.2), Standing.BETTER, "correct, faster"),
        (
            _verdict(Correctness.CORRECT, Speed.FASTER, ratio=1.2, stage=Stage.SCREENING),
            Standing.SCREENED,
            "correct, screened only",
        ),
        (_verdict(Correctness.CORRECT, Speed.SAME), Standing.SAME, "correct, no measurable difference"),
        (_verdict(Correctness.CORRECT, Speed.ESTIMATED, ratio=1.2), Standing.BETTER, "correct, estimated faster"),
        (_verdict(Correctness.CORRECT, Speed.ESTIMATED, ratio=0.8), Standing.SLOWER, "correct, estimated slower"),
        (_verdict(Correctness.CORRECT, Speed.ESTIMATED, ratio=1.01), Standing.SAME, "correct, estimated no different"),
        (_verdict(Correctness.CORRECT, Speed.UNMEASURED), Standing.UNTIMED, "correct, not timed"),
        (_verdict(Correctness.WRONG, Speed.UNMEASURED), Standing.WRONG, "wrong"),
        (_verdict(Correctness.UNVERIFIED, Speed.UNMEASURED), Standing.UNVERIFIED, "unverified"),
        (
            _verdict(Correctness.UNVERIFIED, Speed.UNMEASURED, failure=Failure.CRASH),
            Standing.FAILED,
            "crash",
        ),
        (
            _verdict(Correctness.WRONG, Speed.UNMEASURED, failure=Failure.CHEATING),
            Standing.CHEATING,
            "cheating",
        ),
    ],
)
def test_every_verdict_has_its_own_words(verdict: Verdict | None, standing: Standing, words: str) -> None:
    assert wording.standing(verdict) is standing
    assert wording.verdict_words(verdict) == words


def test_the_lineage_holds_every_candidate_once_and_rings_the_best(make_report: Make) -> None:
    for count in (5, 300):
        report = make_report(count)
        tree = ElementTree.fromstring(lineage_svg(report.candidates, report.run.best))
        titles = [t.text.split(" ")[0] for t in tree.iter("title") if t.text != "your source"]
        assert sorted(titles) == sorted(f"#{c.ordinal}" for c in report.candidates)
        assert len([e for e in tree.iter("circle") if e.get("class") == "ring"]) == 1
        places = [(m.get("cx"), m.get("cy")) for m in tree.iter("circle") if "mark" in m.get("class", "")]
        assert len(set(places)) == len(places)


def test_the_lineage_takes_long_chains_lost_parents_and_cycles(make_report: Make) -> None:
    report = make_report(500)

    def with_parents(parents: Callable[[CandidateRecord], tuple[str, ...]]) -> tuple[CandidateRecord, ...]:
        return tuple(replace(c, parents=parents(c)) for c in report.candidates)

    chain = with_parents(lambda c: (f"c{c.ordinal - 1}",))
    backwards = with_parents(lambda c: (f"c{c.ordinal + 1}",))
    orphans = with_parents(lambda _: ("gone",))
    for candidates in (chain, backwards, orphans):
        tree = ElementTree.fromstring(lineage_svg(candidates, "c500"))
        assert len(list(tree.iter("title"))) == 501


def test_the_curve_rises_to_the_best_and_stays(make_report: Make) -> None:
    found = view.points(make_report(80).candidates)
    tree = ElementTree.fromstring(curve_svg(found, 80))
    (line,) = [p for p in tree.iter("path") if p.get("class") == "best-line"]
    heights = [float(y) for y in re.findall(r"V([\d.]+)", line.get("d", ""))]
    assert heights == sorted(heights, reverse=True) and heights
    dots = [float(c.get("cy", 0)) for c in tree.iter("circle")]
    assert heights[-1] == pytest.approx(min(dots), abs=0.1)
    assert curve_svg((), 0) == ""


def test_ticks_are_round_and_cover_the_range() -> None:
    assert ticks(0, 500, 8) == [0, 100, 200, 300, 400, 500]
    assert ticks(0.93, 1.61) == pytest.approx([1.0, 1.2, 1.4, 1.6])
    assert ticks(1, 1) == [1.0]


def test_a_diff_numbers_the_lines_of_both_sides() -> None:
    lines = diff_lines("a\nb\nc\nd\n", "a\nB\nB2\nc\nd\n", context=1)
    assert [(line.kind, line.text, line.before, line.after) for line in lines] == [
        ("hunk", "line 1", None, None),
        ("same", "a", 1, 1),
        ("removed", "b", 2, None),
        ("added", "B", None, 2),
        ("added", "B2", None, 3),
        ("same", "c", 3, 4),
    ]
    assert diff_lines("same\n", "same\n") == ()


def test_a_diff_keeps_lines_that_look_like_headers() -> None:
    lines = diff_lines("x\n-- a\n++ b\n", "x\n-- c\n")
    assert [(line.kind, line.text) for line in lines if line.kind in ("removed", "added")] == [
        ("removed", "-- a"),
        ("removed", "++ b"),
        ("added", "-- c"),
    ]


def test_time_is_split_without_counting_overlap_twice(make_report: Make) -> None:
    report = make_report(2)
    one, other = report.candidates
    start = report.run.created_at
    candidates = (
        replace(one, created_at=start + 5, judged_at=start + 9),
        replace(other, created_at=start + 7, judged_at=start + 12),
    )
    run = replace(report.run, ended_at=start + 20)
    parts = {p.name: p.seconds for p in view.time_parts(run, candidates)}
    assert parts == {"preparing and baseline": 5, "judging": 7, "proposing and the rest": 8}


def test_proposers_are_listed_by_what_they_brought(make_report: Make) -> None:
    report = make_report(200)
    rows = view.yields(report.candidates)
    assert sum(r.proposed for r in rows) == 200
    assert [r.better for r in rows] == sorted((r.better for r in rows), reverse=True)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_the_terminal_shows_the_verdict_and_the_best(make_report: Make, count: int) -> None:
    report = make_report(count)
    text = terminal(summary(report.run, report.candidates))
    assert "softmax_kernel · r1" in text
    assert ("estimated" in text) == (count > 0)
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (250, "4 min 10 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert wording.duration_words(seconds) == words


@pytest.mark.parametrize(
    ("time_us", "words"),
    [(None, "–"), (0.812, "812 ns"), (42.13, "42.1 µs"), (999.7, "1 ms"), (3021.0, "3.02 ms")],
)
def test_times(time_us: float | None, words: str) -> None:
    assert wording.microseconds_words(time_us) == words
