"""A run's winner gets the task's baselines: measured ones only, journaled, and given up when the run is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evolve_core.journal.lock import runner_lock
from evolve_core.journal.model import Control, RunSpec
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.baselines import Beside
from evolve_core.judge.verdict import Baseline, Correctness, Speed, Stage, Trust, Verdict
from evolve_core.propose.proposal import Judged, Proposal, Step
from evolve_core.search.beside import with_baselines

FOUND = Beside((Baseline("eager", 0.5),), ({"name": "eager", "failure": None, "timing": []},))
WON = Verdict(Correctness.CORRECT, Speed.FASTER, Trust.KERNEL_ONLY, Stage.CONFIRMATION, "1.50× faster", ratio=1.5)
SPEC = RunSpec("/w/k.py", ("k",), ("v",), "x = 1\n", "/w/k.evolve.py", "f", "sm_90", 1)


class FakeJudge:
    def __init__(self, found: Beside | None) -> None:
        self.asked, self._found = 0, found

    def baselines(self) -> Future[Beside]:
        self.asked += 1
        future: Future[Beside] = Future()
        if self._found is not None:
            future.set_result(self._found)
        return future


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    with runner_lock(tmp_path, "r1"), closing(JournalWriter(tmp_path)) as writer:
        writer.create_run("r1", SPEC, pid=1)
        yield writer


def winner(journal: JournalWriter, verdict: Verdict = WON) -> Judged:
    proposal = Proposal("x = 2\n", "two", (Step("tune", "launch"),))
    candidate_id = journal.add_candidate("r1", proposal)
    journal.add_verdict(candidate_id, verdict, {"seeds": [1], "verdict": "before"})
    return Judged(candidate_id, proposal, verdict)


def search(journal: JournalWriter, judge: FakeJudge) -> Any:
    return SimpleNamespace(run_id="r1", journal=journal, judge=judge)


def test_a_measured_winner_gets_them_into_verdict_and_evidence(journal: JournalWriter) -> None:
    before = winner(journal)
    after = with_baselines(search(journal, FakeJudge(FOUND)), before)
    assert after.verdict == replace(WON, baselines=FOUND.figures)
    with closing(JournalReader(journal.workspace)) as reader:
        record, evidence = reader.candidate(before.candidate_id), reader.evidence(before.candidate_id)
    assert record is not None and record.verdict == after.verdict
    assert evidence is not None and evidence["seeds"] == [1]
    assert evidence["verdict"]["baselines"][0]["name"] == "eager"
    assert evidence["baselines"] == list(FOUND.raw)


def test_an_estimate_is_no_reason_to_measure(journal: JournalWriter) -> None:
    judge = FakeJudge(FOUND)
    estimated = winner(journal, replace(WON, speed=Speed.ESTIMATED))
    assert with_baselines(search(journal, judge), estimated) is estimated
    assert judge.asked == 0


def test_cancelling_gives_them_up_and_keeps_the_winner(journal: JournalWriter) -> None:
    kept = winner(journal)
    journal.request("r1", Control.CANCEL)
    assert with_baselines(search(journal, FakeJudge(None)), kept) is kept
