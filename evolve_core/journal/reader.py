"""Reading the journal: what servers, reports and the command line see of runs. Never creates or changes anything."""

from __future__ import annotations

import json
import sqlite3
import zlib
from pathlib import Path
from typing import Any

from evolve_core.errors import JournalError, JournalFull
from evolve_core.journal.codec import decode
from evolve_core.journal.lock import is_runner_alive, last_words
from evolve_core.journal.model import CandidateRecord, Control, RunRecord, RunSpec, RunState
from evolve_core.journal.schema import copy_for_reading, journal_file, open_for_reading, translate, version_of
from evolve_core.judge.verdict import Verdict
from evolve_core.propose.proposal import Step
from evolve_core.workspace import STATE_FOLDER

UNREADABLE = (JournalError, ValueError, OSError)
"""What reading a journal may raise: besides its own errors a value nobody knows, or a file nobody may open."""


def unreadable(workspace: Path, error: Exception) -> str:
    """One of ``UNREADABLE`` as a message: which journal, why, and what to do."""
    if isinstance(error, JournalError):
        return str(error)
    return (
        f"The journal in {workspace / STATE_FOLDER} cannot be read ({error}). "
        "Mend its permissions, or move journal.sqlite away to start a new one."
    )


class JournalReader:
    """A view of one workspace's journal. A missing journal reads as empty and is looked for again on each call.

    Safe to use from one thread at a time. Raises JournalTooNew and JournalError from every method that reads.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the open journal: another may have taken its place."""
        self._is_copy = False
        self._seen: tuple[int, tuple[tuple[str, bool], ...]] | None = None

    def changed(self) -> bool:
        """Say whether anything was committed, or a runner died, since the last call. Cheap enough for polling."""
        connection = self._open()
        if connection is None:
            return False
        try:
            # A copy has no versions: 0, which no file has, until there is room for the file itself to be opened.
            version = 0 if self._is_copy else int(connection.execute("PRAGMA data_version").fetchone()[0])
            active = connection.execute(
                "SELECT run_id FROM run WHERE state NOT IN ('done', 'failed', 'cancelled')"
            ).fetchall()
        except sqlite3.Error as error:
            raise translate(error, journal_file(self.workspace)) from error
        alive = tuple((row["run_id"], is_runner_alive(self.workspace, row["run_id"])) for row in active)
        now = (version, alive)
        moved, self._seen = now != self._seen, now
        return moved

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, newest first."""
        rows = self._query("SELECT * FROM run ORDER BY created_at DESC, rowid DESC")
        return tuple(self._run(row) for row in rows)

    def run(self, run_id: str) -> RunRecord | None:
        rows = self._query("SELECT * FROM run WHERE run_id = ?", run_id)
        return self._run(rows[0]) if rows else None

    def candidate(self, candidate_id: str) -> CandidateRecord | None:
        rows = self._query("SELECT * FROM candidate WHERE candidate_id = ?", candidate_id)
        return _candidate(rows[0]) if rows else None

    def candidates(self, run_id: str) -> tuple[CandidateRecord, ...]:
        """A run's candidates in the order they were proposed."""
        rows = self._query("SELECT * FROM candidate WHERE run_id = ? ORDER BY ordinal", run_id)
        return tuple(_candidate(row) for row in rows)

    def evidence(self, candidate_id: str) -> dict[str, Any] | None:
        """The newest evidence behind a candidate's verdict: confirmation's where there is one."""
        rows = self._query(
            "SELECT body FROM evidence WHERE candidate_id = ? ORDER BY stage = 'confirmation' DESC",
            candidate_id,
        )
        return json.loads(zlib.decompress(rows[0]["body"])) if rows else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        path = journal_file(self.workspace)
        file = _identity(path)
        if file != self._file:
            self._seen = None
        if self._is_copy or file != self._file:
            self.close()
        if self._connection is None:
            self._connection, self._file = self._opened(), file
            return self._connection
        connection, self._connection = self._connection, None
        # A newer kernel-evolve may have changed the format since it was opened.
        version_of(connection, path)
        self._connection = connection
        return connection

    def _opened(self) -> sqlite3.Connection | None:
        self._is_copy = False
        try:
            return open_for_reading(self.workspace)
        except JournalFull:
            self._is_copy = True
            return copy_for_reading(self.workspace)

    def _query(self, statement: str, *parameters: str) -> list[sqlite3.Row]:
        connection = self._open()
        if connection is None:
            return []
        try:
            return connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise translate(error, journal_file(self.workspace)) from error

    def _run(self, row: sqlite3.Row) -> RunRecord:
        state, reason = self._state(row), row["reason"]
        if not state.is_final and not is_runner_alive(self.workspace, row["run_id"]):
            state, reason = RunState.INTERRUPTED, _last_words(self.workspace, row["run_id"])
        return RunRecord(
            run_id=row["run_id"],
            spec=decode(row["spec"], RunSpec),
            state=state,
            reason=reason,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            ended_at=row["ended_at"],
            pid=row["pid"],
            control=Control(row["control"]),
            proposed=row["proposed"],
            judged=row["judged"],
            correct=row["correct"],
            best=row["best"],
            best_ratio=row["best_ratio"],
            best_estimated=bool(row["best_estimated"]),
            environment=decode(row["environment"], tuple[tuple[str, str], ...]),
            spent_s=row["spent_s"],
            spent_dollars=row["spent_dollars"],
        )

    def _state(self, row: sqlite3.Row) -> RunState:
        try:
            return RunState(row["state"])
        except ValueError:
            raise JournalError(
                f"The journal {journal_file(self.workspace)} cannot be read: its run {row['run_id']} is in the state "
                f"{row['state']!r}, and there are only {', '.join(RunState)}. Correct that, "
                "or move journal.sqlite away to start a new one."
            ) from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _candidate(row: sqlite3.Row) -> CandidateRecord:
    return CandidateRecord(
        candidate_id=row["candidate_id"],
        run_id=row["run_id"],
        ordinal=row["ordinal"],
        parents=decode(row["parents"], tuple[str, ...]),
        summary=row["summary"],
        recipe=decode(row["recipe"], tuple[Step, ...]),
        source=row["source"],
        created_at=row["created_at"],
        verdict=decode(row["verdict"], Verdict) if row["verdict"] else None,
        judged_at=row["judged_at"],
    )


LAST_WORDS_MARK = "kernel-evolve: "


def _last_words(workspace: Path, run_id: str) -> str:
    """What the runner said before it went, else that it said nothing."""
    if words := last_words(workspace, run_id):
        return words
    log = workspace / ".kernel-evolve" / "logs" / f"{run_id}.log"
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        if line.startswith(LAST_WORDS_MARK):
            return line.removeprefix(LAST_WORDS_MARK)
    return "The runner stopped without a word (killed, or the machine restarted). Resume goes on where it was."
