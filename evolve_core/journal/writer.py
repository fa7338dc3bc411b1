"""Writing the journal: one runner owns one run's rows. Every method commits before it returns."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evolve_core.errors import AlreadyEvolved
from evolve_core.journal.codec import decode, encode
from evolve_core.journal.lock import is_runner_alive
from evolve_core.journal.model import Control, RunSpec, RunState
from evolve_core.journal.paste import about_run
from evolve_core.journal.schema import journal_file, open_for_writing, translate
from evolve_core.judge.verdict import Verdict
from evolve_core.propose.proposal import Proposal
from evolve_core.workspace import state_folder

_FINAL = tuple(state for state in RunState if state.is_final)


class JournalWriter:
    """Create a run, then: ``add_candidate`` before it is judged, ``add_verdict`` after, ``set_state`` in between.

    Raises JournalFull when the disk is full (everything committed before stays), JournalTooNew, JournalError.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        state_folder(workspace)
        self._connection = open_for_writing(workspace)

    def create_run(self, run_id: str, spec: RunSpec, pid: int) -> None:
        """Write a new run down. Raises AlreadyEvolved, naming it, where another living run has one of its kernels."""
        now = time.time()
        with self._transaction() as connection:
            self._refuse_second(connection, run_id, spec)
            connection.execute(
                "INSERT INTO run (run_id, spec, state, reason, created_at, updated_at, pid) VALUES (?,?,?,?,?,?,?)",
                (run_id, encode(spec), RunState.QUEUED, "", now, now, pid),
            )

    def adopt_run(self, run_id: str, pid: int, python: str) -> None:
        """A resumed run gets a new runner: its process id and its interpreter, no pending control, no end.

        Raises as ``create_run`` does.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT spec FROM run WHERE run_id = ?", (run_id,)).fetchone()
            self._refuse_second(connection, run_id, decode(row["spec"], RunSpec))
            connection.execute(
                "UPDATE run SET pid = ?, spec = json_set(spec, '$.python', ?), control = '', ended_at = NULL,"
                " updated_at = ? WHERE run_id = ?",
                (pid, python, time.time(), run_id),
            )

    def set_state(self, run_id: str, state: RunState, reason: str = "") -> None:
        now = time.time()
        with self._transaction() as connection:
            connection.execute(
                "UPDATE run SET state = ?, reason = ?, updated_at = ?, ended_at = ? WHERE run_id = ?",
                (state, reason, now, now if state.is_final else None, run_id),
            )

    def set_spent(self, run_id: str, spent_s: float, spent_dollars: float) -> None:
        """Note what the search has spent, so that a resumed run does not get its budget twice."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE run SET spent_s = ?, spent_dollars = ? WHERE run_id = ?", (spent_s, spent_dollars, run_id)
            )

    def set_environment(self, run_id: str, environment: tuple[tuple[str, str], ...]) -> None:
        with self._transaction() as connection:
            connection.execute("UPDATE run SET environment = ? WHERE run_id = ?", (encode(environment), run_id))

    def add_candidate(self, run_id: str, proposal: Proposal) -> str:
        """Write a candidate down and return its id."""
        now = time.time()
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT coalesce(max(ordinal), 0) + 1 FROM candidate WHERE run_id = ?", (run_id,)
            ).fetchone()
            candidate_id = f"{run_id}-{row[0]}"
            connection.execute(
                "INSERT INTO candidate (candidate_id, run_id, ordinal, parents, summary, recipe, source, created_at)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (
                    candidate_id,
                    run_id,
                    row[0],
                    encode(proposal.parents),
                    proposal.summary,
                    encode(proposal.recipe),
                    proposal.source,
                    now,
                ),
            )
            connection.execute("UPDATE run SET proposed = proposed + 1, updated_at = ? WHERE run_id = ?", (now, run_id))
        return candidate_id

    def add_verdict(self, candidate_id: str, verdict: Verdict, evidence: Mapping[str, Any]) -> None:
        """Write a verdict with its evidence. A confirmation's verdict replaces the screening's; both evidences stay."""
        now = time.time()
        body = zlib.compress(json.dumps(evidence, separators=(",", ":")).encode())
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT run_id, verdict IS NULL AS first FROM candidate WHERE candidate_id = ?",
                (candidate_id,),
            ).fetchone()
            connection.execute(
                "UPDATE candidate SET verdict = ?, judged_at = ? WHERE candidate_id = ?",
                (encode(verdict), now, candidate_id),
            )
            connection.execute(
                "INSERT OR REPLACE INTO evidence (candidate_id, stage, body) VALUES (?,?,?)",
                (candidate_id, verdict.stage, body),
            )
            # Counted, not incremented: a confirmation may turn a correct candidate into a wrong one.
            connection.execute(
                "UPDATE run SET updated_at = :now,"
                " judged = (SELECT count(verdict) FROM candidate WHERE run_id = :run),"
                " correct = (SELECT count(*) FROM candidate WHERE run_id = :run"
                "            AND json_extract(verdict, '$.correctness') = 'correct') WHERE run_id = :run",
                {"now": now, "run": row["run_id"]},
            )

    def set_best(self, run_id: str, candidate_id: str, ratio: float | None, *, estimated: bool) -> None:
        """Name the best candidate so far; "" and None where there is none any more."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE run SET best = ?, best_ratio = ?, best_estimated = ?, updated_at = ? WHERE run_id = ?",
                (candidate_id, ratio, int(estimated), time.time(), run_id),
            )

    def control(self, run_id: str) -> Control:
        """What somebody outside asks of this run."""
        try:
            row = self._connection.execute("SELECT control FROM run WHERE run_id = ?", (run_id,)).fetchone()
        except sqlite3.Error as error:
            raise translate(error, journal_file(self.workspace)) from error
        return Control(row["control"]) if row else Control.NONE

    def request(self, run_id: str, control: Control) -> bool:
        """Ask something of a run. Says whether there is such a run."""
        with self._transaction() as connection:
            cursor = connection.execute("UPDATE run SET control = ? WHERE run_id = ?", (control, run_id))
            return cursor.rowcount == 1

    def close(self) -> None:
        self._connection.close()

    def _refuse_second(self, connection: sqlite3.Connection, run_id: str, spec: RunSpec) -> None:
        """One run per kernel, whoever starts it. Two runners at once look one after the other: each holds its own
        lock by now, and this is inside of the transaction that shows its run to the next.
        """
        rows = connection.execute(
            "SELECT run_id, json_extract(spec, '$.kernels') AS kernels, json_extract(spec, '$.source_file') AS file"
            f" FROM run WHERE run_id != ? AND state NOT IN ({', '.join('?' * len(_FINAL))})",
            (run_id, *_FINAL),
        )
        # An editor and a terminal may come to one file by two paths.
        file = os.path.realpath(spec.source_file)
        for row in rows:
            shared = [name for name in json.loads(row["kernels"]) if name in spec.kernels]
            is_same = shared and os.path.realpath(row["file"]) == file
            if is_same and is_runner_alive(self.workspace, row["run_id"]):
                watch, cancel = (about_run(word, row["run_id"], self.workspace) for word in ("show", "cancel"))
                raise AlreadyEvolved(
                    f"Nothing was started: {shared[0]} is being evolved already by run {row['run_id']}. "
                    f"See how far it is with `{watch}`, or end it first with `{cancel}`."
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                # SQLite itself rolls back on some errors (a full disk among them).
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise translate(error, journal_file(self.workspace)) from error
