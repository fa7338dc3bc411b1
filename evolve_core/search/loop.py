"""The search: ask a proposer, journal, judge, tell, stop. Everything clever is behind ``Proposer`` and ``Judge``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from enum import StrEnum

from evolve_core.journal.model import CandidateRecord, Control, RunState
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.session import Judgement, TaskJudge
from evolve_core.judge.verdict import Speed, Stage, Verdict
from evolve_core.propose.proposal import Judged, Proposal
from evolve_core.search.archive import Archive
from evolve_core.search.budget import Budget
from evolve_core.search.proposers import MODEL, Panel
from evolve_core.search.rotation import Rotation

POLL_S = 0.1
"""How long the loop waits for a verdict before it looks at the journal for a request to pause or cancel."""


class Stop(StrEnum):
    """Why a search ended."""

    BUDGET = "budget"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


@dataclass
class Search:
    """One search and all it works with. ``run`` carries it out; everything clever is in what it holds."""

    run_id: str
    archive: Archive
    rotation: Rotation
    judge: TaskJudge
    journal: JournalWriter
    budget: Budget
    panel: Panel
    width: int
    """How many candidates are judged at once."""
    clock: Callable[[], float] = time.monotonic
    in_flight: dict[Future[Judgement], tuple[str, Proposal]] = field(default_factory=dict)
    judged: int = 0
    spent_before_s: float = 0.0
    spent_before_dollars: float = 0.0
    """What earlier runners of this run have spent already."""
    paused_s: float = 0.0

    def run(self, unfinished: tuple[CandidateRecord, ...] = ()) -> tuple[Stop, str]:
        """Search until the budget is spent, nothing new is proposed, or somebody cancels; say which, and how.

        ``unfinished`` are candidates that an earlier runner wrote down and did not live to judge.
        """
        started = self.clock()
        for record in unfinished:
            self._submit(record.candidate_id, Proposal(record.source, record.summary, record.recipe, record.parents))
        while True:
            if self.wait_while_paused(RunState.EVOLVING):
                return Stop.CANCELLED, "cancelled by the user"
            elapsed = self.spent_before_s + self.clock() - started - self.paused_s
            spent = self.budget.spent(
                seconds=elapsed,
                candidates=self.judged + len(self.in_flight),
                dollars=self._dollars(),
            )
            if not spent:
                self._fill()
            if not self.in_flight and spent:
                return Stop.BUDGET, spent
            if not self.in_flight and not self.panel.pending():
                return Stop.EXHAUSTED, "the proposers have no new ideas"
            if self._collect():
                self.journal.set_spent(self.run_id, elapsed, self._dollars())

    def _dollars(self) -> float:
        return self.spent_before_dollars + self.panel.spent_dollars()

    def _fill(self) -> None:
        """Ask until enough candidates are in flight, or the budget for them is."""
        self.rotation.retry(MODEL)
        while len(self.in_flight) < self.width:
            if self.budget.spent(seconds=0.0, candidates=self.judged + len(self.in_flight)):
                return
            proposal = self.rotation.ask(self.archive.situation)
            if proposal is None:
                return
            if self.archive.admit(proposal):
                self._submit(self.journal.add_candidate(self.run_id, proposal), proposal)

    def _submit(self, candidate_id: str, proposal: Proposal) -> None:
        future = self.judge.submit(candidate_id, proposal.source, Stage.SCREENING)
        self.in_flight[future] = (candidate_id, proposal)

    def _collect(self) -> bool:
        """Take what has been judged; say whether there was any. Returns after ``POLL_S`` at the latest."""
        if not self.in_flight:
            time.sleep(POLL_S)
        done, _ = wait(self.in_flight, timeout=POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            candidate_id, proposal = self.in_flight.pop(future)
            judgement = future.result()
            self.journal.add_verdict(candidate_id, judgement.verdict, judgement.evidence)
            self.learn(Judged(candidate_id, proposal, judgement.verdict))
        return bool(done)

    def learn(self, judged: Judged) -> None:
        """Tell everyone about a verdict (also one that an earlier runner reached)."""
        self.judged += 1
        self.archive.record(judged)
        ranking = self.archive.ranking()
        is_best = bool(ranking) and ranking[0] is judged and (judged.verdict.ratio or 0.0) > 1.0
        if is_best and judged.verdict.speed is Speed.ESTIMATED:
            # A screening measurement never reaches the user; an estimate may, under its own name.
            self.journal.set_best(self.run_id, judged.candidate_id, judged.verdict.ratio, estimated=True)
        self.rotation.tell(judged, is_best=is_best)

    def wait_while_paused(self, going_on: RunState) -> bool:
        """Stay here while the run is paused (what is in flight is still collected). Say whether it was cancelled.

        ``going_on`` is the state to return to.
        """
        control = self.journal.control(self.run_id)
        if control is Control.PAUSE:
            since = self.clock()
            self.journal.set_state(self.run_id, RunState.PAUSED, "paused by the user")
            while (control := self.journal.control(self.run_id)) is Control.PAUSE:
                self._collect()
            self.paused_s += self.clock() - since
            if control is not Control.CANCEL:
                self.journal.set_state(self.run_id, going_on)
        return control is Control.CANCEL


LEAST_ESTIMATED_GAIN = 1.02
"""An estimate does not resolve less than this: below it, nothing is offered to the user."""

FINALISTS = 3

TOLD_APART = 1.01
"""Ratios closer than this are one result: the smaller change is then the better one. Wider than what the H200's own
noise moved the overall ratio of a kernel against itself (0.25 %, benchmarks/results/h200-null.json)."""


def is_gain(verdict: Verdict) -> bool:
    """Say whether a confirmed verdict is worth showing as a result."""
    if not verdict.is_winner:
        return False
    return verdict.speed is Speed.FASTER or (verdict.ratio or 0.0) >= LEAST_ESTIMATED_GAIN


def preferred(judged: Sequence[Judged]) -> list[Judged]:
    """Best first; among those that cannot be told apart from the best, the one with the fewest steps first."""
    best = max((_ratio(j) for j in judged), default=0.0)
    return sorted(judged, key=lambda j: (_ratio(j) * TOLD_APART < best, _steps_if_near(j, best), -_ratio(j)))


def _steps_if_near(judged: Judged, best: float) -> int:
    return len(judged.proposal.recipe) if _ratio(judged) * TOLD_APART >= best else 0


def _ratio(judged: Judged) -> float:
    return judged.verdict.ratio or 0.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """How confirmation ended. ``winner`` is the best that has held, None where nothing has (yet)."""

    winner: Judged | None
    cancelled: bool = False


def confirm(search: Search) -> Confirmed:
    """Judge the best candidates again, with new seeds and in fresh processes, and name the best that holds.

    Only what this names may be shown as a speedup.
    """
    finalists = [j for j in preferred(search.archive.ranking()) if _ratio(j) > 1.0][:FINALISTS]
    for judged in finalists:
        if search.wait_while_paused(RunState.VERIFYING):
            return Confirmed(best_confirmed(search.archive), cancelled=True)
        future = search.judge.submit(
            judged.candidate_id, judged.proposal.source, Stage.CONFIRMATION, finalists=len(finalists)
        )
        while not future.done():
            if search.journal.control(search.run_id) is Control.CANCEL:
                return Confirmed(best_confirmed(search.archive), cancelled=True)
            wait([future], timeout=POLL_S)
        judgement = future.result()
        search.journal.add_verdict(judged.candidate_id, judgement.verdict, judgement.evidence)
        search.archive.replace(Judged(judged.candidate_id, judged.proposal, judgement.verdict))
        # At once: a runner that is killed between two finalists must not take with it what has held.
        name_best(search, best_confirmed(search.archive))
    return Confirmed(best_confirmed(search.archive))


def best_confirmed(archive: Archive) -> Judged | None:
    """The candidate to show as a result: the preferred one of those that confirmation has found to be a gain."""
    held = [j for j in archive.ranking() if j.verdict.stage is Stage.CONFIRMATION and is_gain(j.verdict)]
    return next(iter(preferred(held)), None)


def name_best(search: Search, best: Judged | None) -> None:
    """Write down which candidate is the best, or that none is."""
    if best is None:
        search.journal.set_best(search.run_id, "", None, estimated=False)
        return
    estimated = best.verdict.speed is Speed.ESTIMATED
    search.journal.set_best(search.run_id, best.candidate_id, best.verdict.ratio, estimated=estimated)
