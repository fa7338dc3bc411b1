"""Budget, archive and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.errors import UsageError
from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict
from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.search.archive import ELITE_SIZE, Archive
from evolve_core.search.budget import Budget, parse_budget
from evolve_core.search.loop import preferred
from evolve_core.search.rotation import Rotation
from evolve_core.task.model import Task, TaskKind

TASK = Task(Path("k.evolve.py"), Path("k.py"), TaskKind.ENTRY, "f", ("k",), True, False)


def proposal(source: str, name: str = "tune") -> Proposal:
    return Proposal(source, source, (Step(name, "rule"),))


def judged(source: str, ratio: float, correctness: Correctness = Correctness.CORRECT) -> Judged:
    verdict = Verdict(correctness, Speed.ESTIMATED, Trust.HOST_CODE, Stage.SCREENING, "", ratio=ratio)
    return Judged(source, proposal(source), verdict)


def archive() -> Archive:
    return Archive(TASK, "own", "sm_90", digest=str.strip)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10m", Budget(seconds=600)),
        ("90s", Budget(seconds=90)),
        ("200c", Budget(candidates=200)),
        ("$2.5", Budget(dollars=2.5)),
        ("1h, 50c", Budget(seconds=3600, candidates=50)),
    ],
)
def test_budgets_people_write(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "5x", "10m 20c"])
def test_budgets_that_are_none(text):
    with pytest.raises(UsageError, match=r"200c"):
        parse_budget(text)


def test_the_first_limit_reached_is_named():
    budget = Budget(seconds=10, candidates=5)
    assert budget.spent(seconds=3, candidates=4) == ""
    assert budget.spent(seconds=3, candidates=5) == "5 candidates judged"
    assert budget.spent(seconds=10, candidates=0) == "10 s spent"
    assert Budget().spent(seconds=1e9, candidates=10**9) == ""


def test_texts_that_normalise_alike_are_one_candidate():
    seen = archive()
    assert not seen.admit(proposal(" own "))
    assert seen.admit(proposal("new"))
    assert not seen.admit(proposal("new  "))


def test_only_correct_candidates_are_ranked_best_first():
    seen = archive()
    for one in (judged("a", 1.2), judged("b", 9.0, Correctness.WRONG), judged("c", 1.5)):
        seen.record(one)
    assert [j.candidate_id for j in seen.ranking()] == ["c", "a"]


def test_the_users_own_source_is_always_among_the_elite():
    seen = archive()
    for index in range(ELITE_SIZE + 3):
        seen.record(judged(f"c{index}", 2.0 + index))
    elite = seen.situation().elite
    assert len(elite) == ELITE_SIZE
    assert [j.proposal.source for j in elite].count("own") == 1
    assert elite[0].candidate_id == f"c{ELITE_SIZE + 2}"


class Scripted:
    """A proposer that offers what it was given, again from the start each time it is asked anew."""

    def __init__(self, name: str, *sources: str) -> None:
        self.name = name
        self.sources = sources
        self.asked = 0

    def propose(self, situation: Situation) -> Iterator[Proposal]:
        self.asked += 1
        yield from (proposal(s, self.name) for s in self.sources)

    def tell(self, judged: Judged) -> None:
        pass


def test_proposers_take_turns():
    rotation = Rotation([Scripted("a", "a1", "a2", "a3"), Scripted("b", "b1")])
    asked = [rotation.ask(archive().situation) for _ in range(5)]
    assert [p.source if p else None for p in asked] == ["a1", "b1", "a2", "a3", None]


def test_a_dry_proposer_is_asked_again_after_news_and_all_after_a_new_best():
    a, b = Scripted("a", "a1"), Scripted("b", "b1", "b2", "b3")
    rotation = Rotation([a, b])
    for _ in range(3):
        rotation.ask(archive().situation)
    assert (a.asked, b.asked) == (1, 1)
    rotation.tell(judged("x", 0.5), is_best=False)
    rotation.ask(archive().situation)
    assert (a.asked, b.asked) == (2, 1)
    rotation.tell(judged("y", 2.0), is_best=True)
    for _ in range(2):
        rotation.ask(archive().situation)
    assert (a.asked, b.asked) == (3, 2)


def with_steps(source: str, ratio: float, steps: int) -> Judged:
    verdict = Verdict(Correctness.CORRECT, Speed.ESTIMATED, Trust.HOST_CODE, Stage.SCREENING, "", ratio=ratio)
    return Judged(source, Proposal(source, source, (Step("rewrite", "rule"),) * steps), verdict)


def test_of_results_that_cannot_be_told_apart_the_smaller_change_is_preferred():
    judged = [
        with_steps("three", 1.505, 3),
        with_steps("one", 1.5, 1),
        with_steps("two", 1.2, 2),
        with_steps("x", 1.1, 1),
    ]
    assert [j.candidate_id for j in preferred(judged)] == ["one", "three", "two", "x"]
    assert preferred([]) == []
