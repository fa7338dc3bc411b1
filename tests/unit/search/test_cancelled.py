"""What a cancelled run leaves behind: what was confirmed, and never what was only screened."""

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
from evolve_core.journal.model import CandidateRecord, Control, RunSpec, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.session import Judgement
from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict
from evolve_core.propose.proposal import Proposal, Step
from evolve_core.search.archive import Archive
from evolve_core.search.budget import Budget
from evolve_core.search.loop import Search
from evolve_core.search.rotation import Rotation
from evolve_core.search.runner import Resources, _evolve
from evolve_core.task.model import Task, TaskKind

SCREENED = Verdict(Correctness.CORRECT, Speed.ESTIMATED, Trust.HOST_CODE, Stage.SCREENING, "", ratio=1.5)


class Judge:
    """Confirms what it is asked about until the user cancels: on the second question, while it works on that."""

    def __init__(self, journal: JournalWriter, ratio: float, cancel_at: int) -> None:
        self.journal, self.ratio, self.cancel_at = journal, ratio, cancel_at
        self.asked = 0

    def submit(self, _candidate_id: str, _source: str, stage: Stage, finalists: int = 1) -> Future[Judgement]:
        self.asked += 1
        future: Future[Judgement] = Future()
        if self.asked >= self.cancel_at:
            self.journal.request("r1", Control.CANCEL)
        else:
            assert stage is Stage.CONFIRMATION and finalists == 2
            future.set_result(Judgement(replace(SCREENED, stage=stage, ratio=self.ratio), {}))
        return future


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    with runner_lock(tmp_path, "r1"), closing(JournalWriter(tmp_path)) as writer:
        yield writer


def spec() -> RunSpec:
    return RunSpec("/k.py", ("k",), ("v",), "own", "/k.evolve.py", "f", "sm_90", 1)


def evolve(journal: JournalWriter, *, ratio: float = 1.4, cancel_at: int = 2) -> tuple[RunState, str]:
    """A run whose budget is spent and whose two candidates wait for confirmation."""
    journal.create_run("r1", spec(), 1)
    for name in ("first", "second"):
        candidate_id = journal.add_candidate("r1", Proposal(name, name, (Step("tune", "launch"),)))
        journal.add_verdict(candidate_id, SCREENED, {})
    panel: Any = SimpleNamespace(pending=lambda: False, spent_dollars=lambda: 0.0)
    task = Task(Path("k.evolve.py"), Path("k.py"), TaskKind.ENTRY, "f", ("k",), True, False)
    judge: Any = Judge(journal, ratio, cancel_at)
    search = Search(
        run_id="r1",
        archive=Archive(task, "own", "sm_90", digest=str.strip),
        rotation=Rotation(()),
        judge=judge,
        journal=journal,
        budget=Budget(candidates=2),
        panel=panel,
        width=1,
    )
    return _evolve(search, spec(), Resources(Path("python")), candidates(journal))


def candidates(journal: JournalWriter) -> tuple[CandidateRecord, ...]:
    with closing(JournalReader(journal.workspace)) as reader:
        return reader.candidates("r1")


def best(journal: JournalWriter) -> tuple[str, float | None]:
    with closing(JournalReader(journal.workspace)) as reader:
        run = reader.run("r1")
    assert run is not None
    return run.best, run.best_ratio


def test_what_was_confirmed_before_stays(journal: JournalWriter) -> None:
    state, reason = evolve(journal)
    assert (state, reason) == (RunState.CANCELLED, "Cancelled by the user; confirmed before that: first.")
    assert best(journal) == ("r1-1", 1.4)


def test_what_did_not_hold_does_not(journal: JournalWriter) -> None:
    assert evolve(journal, ratio=1.0) == (RunState.CANCELLED, "Cancelled by the user.")
    assert best(journal) == ("", None)


def test_what_was_only_screened_does_not(journal: JournalWriter) -> None:
    assert evolve(journal, cancel_at=1) == (RunState.CANCELLED, "Cancelled by the user.")
    assert best(journal) == ("", None)
