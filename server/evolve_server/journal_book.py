"""The journals of the workspaces at hand, read in a thread of their own and handed over as one value."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evolve_core.errors import JournalError
from evolve_core.journal.model import RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.source.parse import language_of, parse
from evolve_server.view import RunView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evolve_core.journal.model import RunRecord


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``runs`` by absolute path of the source file, newest first. ``problem`` is why a journal cannot be read."""

    runs: dict[str, tuple[RunView, ...]]
    problem: str


class JournalBook:
    """Used from one thread only. What was read stays when a journal cannot be read any more."""

    def __init__(self) -> None:
        self._readers: dict[Path, JournalReader] = {}
        self._runs: dict[Path, tuple[RunView, ...]] = {}
        self._problems: dict[Path, str] = {}
        self._finished: dict[tuple[str, float | None], RunView] = {}

    def poll(self, workspaces: Iterable[Path]) -> Snapshot | None:
        """Look at each journal; None where nothing has changed since the last call."""
        # A list, not a generator: every journal is looked at, whatever the first one says.
        moved = [self._poll(workspace) for workspace in workspaces]
        return self._snapshot() if any(moved) else None

    def _poll(self, workspace: Path) -> bool:
        is_new = workspace not in self._readers
        reader = self._readers.setdefault(workspace, JournalReader(workspace))
        before = self._problems.get(workspace, "")
        try:
            if not reader.changed() and not is_new:
                # A journal that vanished or was never there reads as empty.
                return self._problems.pop(workspace, "") != ""
            self._runs[workspace] = tuple(self._view(reader, record) for record in reader.runs())
            self._problems.pop(workspace, None)
        except JournalError as error:
            self._problems[workspace] = str(error)
            return str(error) != before
        return True

    def _view(self, reader: JournalReader, record: RunRecord) -> RunView:
        if record.state is not RunState.DONE or not record.best:
            return RunView(record)
        key = (record.run_id, record.ended_at)
        if key not in self._finished:
            self._finished[key] = _with_winner(reader, record)
        return self._finished[key]

    def _snapshot(self) -> Snapshot:
        by_file: dict[str, list[RunView]] = defaultdict(list)
        for runs in self._runs.values():
            for run in runs:
                by_file[run.record.spec.source_file].append(run)
        for runs_of_file in by_file.values():
            runs_of_file.sort(key=lambda run: run.record.created_at, reverse=True)
        problem = next(iter(self._problems.values()), "")
        return Snapshot({path: tuple(runs) for path, runs in by_file.items()}, problem)


def _with_winner(reader: JournalReader, record: RunRecord) -> RunView:
    best = reader.candidate(record.best)
    language = language_of(Path(record.spec.source_file))
    if best is None or language is None:
        return RunView(record, best)
    found = {kernel.qualified_name: kernel.version for kernel in parse(best.source, language).kernels}
    return RunView(record, best, tuple(found.get(name, "") for name in record.spec.kernels))
