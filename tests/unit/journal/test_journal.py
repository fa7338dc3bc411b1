"""The journal on real SQLite files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from evolve_core.errors import JournalError, JournalFull, JournalTooNew, RunError
from evolve_core.journal.codec import decode, encode
from evolve_core.journal.control import request_control
from evolve_core.journal.lock import is_runner_alive, runner_lock
from evolve_core.journal.model import Control, RunSpec, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.schema import VERSION, journal_file
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.verdict import Correctness, Failure, Interval, Speed, Stage, Trust, Verdict, WorkloadVerdict
from evolve_core.propose.proposal import Proposal, Step

SPEC = RunSpec(
    source_file="/p/k.py",
    kernels=("k", "Outer.k2"),
    versions=("v1", "v2"),
    base_source="x = 1\n",
    task_file="/p/k.evolve.py",
    entry="f",
    target="sm_90",
    seed=7,
    budget_seconds=60.0,
    budget_candidates=20,
)
PROPOSAL = Proposal("x = 2\n", "BLOCK 64 → 128", (Step("tune", "launch", (("BLOCK", "128"),)),))
VERDICT = Verdict(
    Correctness.CORRECT,
    Speed.ESTIMATED,
    Trust.HOST_CODE,
    Stage.SCREENING,
    "1.4× estimated",
    ratio=1.4,
    interval=Interval(1.3, 1.5),
    workloads=(WorkloadVerdict("w0", "x=float32[4,4]", ratio=1.4, estimated=True),),
    environment=(("target", "sm_90"),),
)


@pytest.fixture
def writer(tmp_path: Path):
    with closing(JournalWriter(tmp_path)) as journal:
        yield journal


def test_what_is_written_is_read_back(tmp_path, writer):
    with runner_lock(tmp_path, "r1"), closing(JournalReader(tmp_path)) as reader:
        writer.create_run("r1", SPEC, pid=42)
        candidate_id = writer.add_candidate("r1", PROPOSAL)
        before = reader.candidate(candidate_id)
        writer.add_verdict(candidate_id, VERDICT, {"seeds": [1, 2]})
        writer.set_best("r1", candidate_id, 1.4, estimated=True)
        writer.set_environment("r1", (("torch", "2.13"),))
        writer.set_spent("r1", 12.5, 0.25)
        writer.set_state("r1", RunState.EVOLVING)
        run = reader.run("r1")
        after = reader.candidates("r1")
        evidence = reader.evidence(candidate_id)
    assert before is not None and before.verdict is None and before.source == "x = 2\n"
    assert run is not None and run.spec == SPEC and run.state is RunState.EVOLVING and run.pid == 42
    assert (run.proposed, run.judged, run.correct, run.best, run.best_ratio) == (1, 1, 1, candidate_id, 1.4)
    assert (
        run.best_estimated
        and run.environment == (("torch", "2.13"),)
        and (run.spent_s, run.spent_dollars) == (12.5, 0.25)
    )
    assert [c.verdict for c in after] == [VERDICT] and after[0].recipe == PROPOSAL.recipe
    assert evidence == {"seeds": [1, 2]}


def test_failed_verdicts_survive_the_journey(tmp_path, writer):
    wrong = Verdict(
        Correctness.UNVERIFIED, Speed.UNMEASURED, Trust.HOST_CODE, Stage.SCREENING, "crashed", failure=Failure.CRASH
    )
    writer.create_run("r1", SPEC, 1)
    candidate_id = writer.add_candidate("r1", PROPOSAL)
    writer.add_verdict(candidate_id, wrong, {})
    with closing(JournalReader(tmp_path)) as reader:
        record = reader.candidate(candidate_id)
        assert record is not None and record.verdict == wrong
        assert reader.run("r1").correct == 0  # type: ignore[union-attr]


def test_confirmation_replaces_the_verdict_and_counts_once(tmp_path, writer):
    writer.create_run("r1", SPEC, 1)
    candidate_id = writer.add_candidate("r1", PROPOSAL)
    writer.add_verdict(candidate_id, VERDICT, {"stage": 1})
    confirmed = Verdict(Correctness.WRONG, Speed.UNMEASURED, Trust.HOST_CODE, Stage.CONFIRMATION, "wrong after all")
    writer.add_verdict(candidate_id, confirmed, {"stage": 2})
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.run("r1").judged == 1  # type: ignore[union-attr]
        assert reader.candidate(candidate_id).verdict == confirmed  # type: ignore[union-attr]
        assert reader.evidence(candidate_id) == {"stage": 2}


def test_changed_tells_commits_of_others(tmp_path, writer):
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.changed()
        assert not reader.changed()
        writer.create_run("r1", SPEC, 1)
        assert reader.changed()
        assert not reader.changed()


@pytest.fixture
def without_room(monkeypatch):
    def refuse(workspace: Path) -> sqlite3.Connection:
        raise JournalFull("no room for SQLite's index")

    monkeypatch.setattr("evolve_core.journal.reader.open_for_reading", refuse)


def test_a_copy_in_memory_has_changed_once(tmp_path, without_room):
    with closing(JournalWriter(tmp_path)) as journal:
        journal.create_run("r1", SPEC, 1)
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.changed()
        assert not reader.changed()
        assert [run.run_id for run in reader.runs()] == ["r1"]


def test_no_copy_is_waited_for_while_a_run_has_the_journal(tmp_path, writer, without_room):
    writer.create_run("r1", SPEC, 1)
    with closing(JournalReader(tmp_path)) as reader, pytest.raises(JournalFull, match="while a run has it open"):
        reader.changed()


def test_missing_journal_is_empty_and_found_later(tmp_path):
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.runs() == () and not reader.changed()
        assert not (tmp_path / ".kernel-evolve").exists()
        with closing(JournalWriter(tmp_path)) as journal:
            journal.create_run("r1", SPEC, 1)
        assert [run.run_id for run in reader.runs()] == ["r1"]


def test_the_state_folder_ignores_itself_in_git(tmp_path, writer):
    assert (tmp_path / ".kernel-evolve" / ".gitignore").read_text() == "*\n"


def test_a_newer_journal_is_left_alone(tmp_path, writer):
    writer.close()
    with closing(sqlite3.connect(journal_file(tmp_path))) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = journal_file(tmp_path).read_bytes()
    with closing(JournalReader(tmp_path)) as reader, pytest.raises(JournalTooNew, match="pip install --upgrade"):
        reader.runs()
    with pytest.raises(JournalTooNew):
        JournalWriter(tmp_path)
    assert journal_file(tmp_path).read_bytes() == before


def test_a_file_that_is_no_journal(tmp_path):
    (tmp_path / ".kernel-evolve").mkdir()
    journal_file(tmp_path).write_bytes(b"this is not a database" * 100)
    with closing(JournalReader(tmp_path)) as reader, pytest.raises(JournalError, match="Move it away"):
        reader.runs()


def test_a_full_disk_loses_nothing_judged(tmp_path, writer):
    writer.create_run("r1", SPEC, 1)
    first = writer.add_candidate("r1", PROPOSAL)
    writer.add_verdict(first, VERDICT, {})
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    # SQLite's own answer to a disk without room, without filling one.
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = Proposal("x" * 200_000, "big", PROPOSAL.recipe)
    with pytest.raises(JournalFull, match="See whether its disk or a limit is full, then try again"):
        for _ in range(20):
            writer.add_candidate("r1", big)
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.candidate(first).verdict == VERDICT  # type: ignore[union-attr]


def test_last_words_need_no_new_room_and_go_with_the_next_runner(tmp_path, writer):
    writer.create_run("r1", SPEC, 1)
    lock = tmp_path / ".kernel-evolve" / "locks" / "r1.lock"
    with runner_lock(tmp_path, "r1") as leave_words:
        taken = lock.stat().st_blocks
        leave_words("The disk is full. " + "é" * 5000)
        assert lock.stat().st_blocks == taken > 0
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.run("r1").reason.startswith("The disk is full. éé")  # type: ignore[union-attr]
        with runner_lock(tmp_path, "r1"):
            pass
        assert "without a word" in reader.run("r1").reason  # type: ignore[union-attr]


def test_one_runner_per_run(tmp_path):
    with runner_lock(tmp_path, "r1"):
        assert is_runner_alive(tmp_path, "r1")
        with pytest.raises(RunError, match="already going on"), runner_lock(tmp_path, "r1"):
            pass
    assert not is_runner_alive(tmp_path, "r1")


RUNNER = """
import sys, time
from pathlib import Path
from evolve_core.journal.lock import runner_lock
with runner_lock(Path(sys.argv[1]), "r1"):
    print("holding", flush=True)
    time.sleep(600)
"""


def test_a_killed_runner_reads_as_interrupted(tmp_path, writer):
    writer.create_run("r1", SPEC, 1)
    writer.set_state("r1", RunState.EVOLVING)
    runner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUNNER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with runner, closing(JournalReader(tmp_path)) as reader:
        assert runner.stdout is not None and runner.stdout.readline() == "holding\n"
        assert reader.run("r1").state is RunState.EVOLVING  # type: ignore[union-attr]
        reader.changed()
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        assert reader.changed(), "a runner's death is a change"
        run = reader.run("r1")
        assert run is not None and run.state is RunState.INTERRUPTED and "without a word" in run.reason
        (tmp_path / ".kernel-evolve" / "logs").mkdir()
        (tmp_path / ".kernel-evolve" / "logs" / "r1.log").write_text("noise\nkernel-evolve: The disk is full.\nnoise\n")
        assert reader.run("r1").reason == "The disk is full."  # type: ignore[union-attr]


def test_control_reaches_a_live_run_and_ends_a_dead_one(tmp_path, writer):
    writer.create_run("r1", SPEC, 1)
    with runner_lock(tmp_path, "r1"):
        request_control(tmp_path, "r1", Control.PAUSE)
        assert writer.control("r1") is Control.PAUSE
        request_control(tmp_path, "r1", Control.CANCEL)
        assert writer.control("r1") is Control.CANCEL
    request_control(tmp_path, "r1", Control.CANCEL)
    with closing(JournalReader(tmp_path)) as reader:
        assert reader.run("r1").state is RunState.CANCELLED  # type: ignore[union-attr]
    with pytest.raises(RunError, match="already ended"):
        request_control(tmp_path, "r1", Control.PAUSE)
    with pytest.raises(RunError, match="no run nothere"):
        request_control(tmp_path, "nothere", Control.PAUSE)


def test_two_writers_on_one_journal(tmp_path, writer):
    with closing(JournalWriter(tmp_path)) as other:
        writer.create_run("r1", SPEC, 1)
        other.create_run("r2", SPEC, 2)
        ids = {writer.add_candidate("r1", PROPOSAL), other.add_candidate("r2", PROPOSAL)}
    assert ids == {"r1-1", "r2-1"}


def _open_and_write(workspace: Path, name: str) -> None:
    with closing(JournalWriter(workspace)) as journal:
        journal.create_run(name, SPEC, 1)


def test_many_processes_make_one_new_journal(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_open_and_write, args=(tmp_path, f"r{n}")) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    with closing(JournalReader(tmp_path)) as reader:
        assert len(reader.runs()) == 8


def test_a_journal_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    """Moved away, and a new run started at once: nothing of the old one is shown as if it were there."""
    for run_id in ("old", "new"):
        with closing(JournalWriter(tmp_path)) as journal:
            journal.create_run(run_id, SPEC, 1)
        if run_id == "old":
            reader = JournalReader(tmp_path)
            assert [run.run_id for run in reader.runs()] == ["old"]
            (tmp_path / ".kernel-evolve").rename(tmp_path / "away")
    with closing(reader):
        assert [run.run_id for run in reader.runs()] == ["new"]


def test_an_open_journal_that_a_newer_version_has_changed(tmp_path: Path) -> None:
    with closing(JournalWriter(tmp_path)) as journal:
        journal.create_run("r", SPEC, 1)
    with closing(JournalReader(tmp_path)) as reader:
        assert len(reader.runs()) == 1
        with closing(sqlite3.connect(journal_file(tmp_path))) as connection:
            connection.execute("PRAGMA user_version = 99")
        for _ in range(2):
            with pytest.raises(JournalTooNew):
                reader.changed()


def test_a_verdict_of_a_version_that_knew_less_or_more_can_be_read() -> None:
    row = WorkloadVerdict("w0", "x[64]", ratio=1.2, warm_ratio=1.4, warm_interval=Interval(1.3, 1.5))
    written = json.loads(encode(row))
    assert decode(json.dumps({**written, "of_a_later_version": [1]}), WorkloadVerdict) == row
    for name in ("warm_ratio", "warm_interval", "baseline_warm_us", "candidate_warm_us"):
        del written[name]
    assert decode(json.dumps(written), WorkloadVerdict) == replace(row, warm_ratio=None, warm_interval=None)
