"""Finding a run and its winner for the commands that take a run's id."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from evolve_core.errors import UsageError
from evolve_core.journal.model import CandidateRecord, RunRecord, RunState
from evolve_core.journal.paste import to_list
from evolve_core.journal.reader import JournalReader
from evolve_core.workspace import find_workspace


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run with all its candidates, in the order they were proposed."""

    workspace: Path
    run: RunRecord
    candidates: tuple[CandidateRecord, ...]

    @property
    def best(self) -> CandidateRecord | None:
        return next((c for c in self.candidates if c.candidate_id == self.run.best), None)

    def winner(self) -> CandidateRecord:
        """The candidate that this run ended with, or confirmed before it was cancelled.

        Raises UsageError saying why there is none.
        """
        if self.run.state is RunState.CANCELLED and self.best is not None and self.best.is_confirmed:
            return self.best
        if self.run.state is not RunState.DONE:
            raise UsageError(f"Run {self.run.run_id} has no winner: it is {self.run.state}. {self.run.reason}")
        if self.best is None:
            raise UsageError(f"Run {self.run.run_id} has no winner. {self.run.reason}")
        return self.best


def find_run(run_id: str, workspace: Path | None) -> FoundRun:
    """Find a run by its id. Raises UsageError where there is none."""
    root = workspace or find_workspace(Path.cwd())
    with closing(JournalReader(root)) as reader:
        run = reader.run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id} in {root}; `{to_list(root)}` lists them.")
        return FoundRun(root, run, reader.candidates(run_id))
