"""The journals of the workspaces at hand, read in a thread of their own and handed over as one value."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evolve_core.journal.model import RunState
from evolve_core.journal.reader import UNREADABLE, JournalReader, unreadable
from evolve_core.source.parse import language_of, parse
from evolve_server.view import RunView, is_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evolve_core.journal.model import RunRecord


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``runs`` by absolute path of the source file, newest first.

    ``problems``: workspace → why its journal cannot be read.
    """

    runs: dict[str, tuple[RunView, ...]]
    problems: dict[Path, str]


WINNERS_PER_KERNEL = 8
"""Winners are loaded and parsed for this many runs of a kernel; what is older is history for the reports."""
SHARE_OF_A_CORE = 0.1
"""Reading a long journal pauses for so long that it never takes more than this."""


class JournalBook:
    """Used from one thread only. What was read stays when a journal cannot be read any more."""

    def __init__(self) -> None:
        self._readers: dict[Path, JournalReader] = {}
        self._records: dict[Path, tuple[RunRecord, ...]] = {}
        self._problems: dict[Path, str] = {}
        """Why a journal cannot be looked at …"""
        self._damages: dict[Path, str] = {}
        """… or why its runs could not be read when they were read last."""
        self._due: set[Path] = set()
        self._rested_at = 0.0
        self._shown: frozenset[str] = frozenset()
        self._followed: set[str] = set()
        self._finished: dict[tuple[str, float | None], RunView] = {}

    def poll(self, workspaces: Iterable[Path], open_files: frozenset[str]) -> Snapshot | None:
        """Look at each journal; None where nothing has changed since the last call.

        Winners are loaded for the runs of ``open_files`` (absolute paths) and of those that were active before.
        """
        problems = [self._look(workspace) for workspace in workspaces]
        moved = self._read_what_is_due() or any(problems)
        if not moved and open_files == self._shown:
            return None
        self._shown = open_files
        return self._snapshot()

    def look_again(self, workspace: Path) -> None:
        """Read a journal at the next poll, changed or not: a runner's last words are in its log."""
        self._due.add(workspace)

    def _look(self, workspace: Path) -> bool:
        """Notice a change, or that a journal cannot be read. Returns whether the problem is news."""
        is_new = workspace not in self._readers
        reader = self._readers.setdefault(workspace, JournalReader(workspace))
        before = self._problems.get(workspace, "")
        try:
            if reader.changed() or is_new:
                self._due.add(workspace)
            self._problems.pop(workspace, None)
        except UNREADABLE as error:
            self._problems[workspace] = unreadable(workspace, error)
        return self._problems.get(workspace, "") != before

    def _read_what_is_due(self) -> bool:
        if not self._due or time.monotonic() < self._rested_at:
            return False
        started = time.thread_time()
        for workspace in self._due:
            try:
                self._records[workspace] = self._readers.setdefault(workspace, JournalReader(workspace)).runs()
                self._damages.pop(workspace, None)
            except UNREADABLE as error:
                self._damages[workspace] = unreadable(workspace, error)
        self._due.clear()
        self._rested_at = time.monotonic() + (time.thread_time() - started) / SHARE_OF_A_CORE
        return True

    def _snapshot(self) -> Snapshot:
        by_file: dict[str, list[RunView]] = defaultdict(list)
        winners: Counter[tuple[str, str]] = Counter()
        for workspace, records in self._records.items():
            for record in records:
                if not record.state.is_final:
                    self._followed.add(record.run_id)
                view = self._view(self._readers[workspace], record, winners)
                if view is not None:
                    by_file[record.spec.source_file].append(view)
        for runs_of_file in by_file.values():
            runs_of_file.sort(key=lambda run: run.record.created_at, reverse=True)
        return Snapshot({path: tuple(runs) for path, runs in by_file.items()}, self._damages | self._problems)

    def _view(self, reader: JournalReader, record: RunRecord, winners: Counter[tuple[str, str]]) -> RunView | None:
        """The run as it is shown; None for a winner too old to be loaded, which would look like a run without one."""
        source = record.spec.source_file
        if not record.best or not (record.state is RunState.DONE or is_cancelled(record)):
            return RunView(record)
        if source not in self._shown and record.run_id not in self._followed:
            return RunView(record)
        kernel = (source, record.spec.kernels[0])
        winners[kernel] += 1
        if winners[kernel] > WINNERS_PER_KERNEL:
            return None
        key = (record.run_id, record.ended_at)
        if key not in self._finished:
            try:
                self._finished[key] = _with_winner(reader, record)
            except UNREADABLE as error:
                self._damages[reader.workspace] = unreadable(reader.workspace, error)
                return None
        return self._finished[key]


def _with_winner(reader: JournalReader, record: RunRecord) -> RunView:
    best = reader.candidate(record.best)
    if is_cancelled(record) and (best is None or not best.is_confirmed):
        # The best of the screening, left by a runner that was killed: nothing was claimed for it.
        return RunView(record)
    language = language_of(Path(record.spec.source_file))
    if best is None or language is None:
        return RunView(record, best)
    found = {kernel.qualified_name: kernel.version for kernel in parse(best.source, language).kernels}
    return RunView(record, best, tuple(found.get(name, "") for name in record.spec.kernels))
