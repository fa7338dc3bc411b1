"""Showing a run on the terminal while it goes on, by reading its journal as every other client does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from evolve_core.errors import JournalError
from evolve_core.journal.model import Control, RunRecord, RunState
from evolve_core.journal.reader import JournalReader

INTERVAL_S = 0.5
_ASKED = {Control.PAUSE: "asked to pause", Control.CANCEL: "asked to stop"}


@contextmanager
def watching(workspace: Path, run_id: str, *, quiet: bool) -> Iterator[None]:
    """Show the run's headline on stderr until the block ends. Without a terminal, one line per change of state."""
    if quiet:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(workspace, run_id, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(workspace: Path, run_id: str, stop: threading.Event) -> None:
    # A journal that cannot be read any more cannot be written either, and that is for the runner to say. Nor does a log
    # on a full disk stop it.
    with suppress(JournalError, OSError):
        _show_headlines(workspace, run_id, stop)


def _show_headlines(workspace: Path, run_id: str, stop: threading.Event) -> None:
    console = Console(file=sys.stderr)
    with closing(JournalReader(workspace)) as reader:
        if console.is_terminal:
            with console.status("starting") as status:
                while not stop.wait(INTERVAL_S):
                    if run := reader.run(run_id):
                        status.update(headline(run))
            return
        state = None
        while not stop.wait(INTERVAL_S):
            run = reader.run(run_id)
            if run and run.state is not state:
                state = run.state
                console.print(headline(run), highlight=False, markup=False)


def headline(run: RunRecord) -> str:
    """One line on where a run stands: "evolving 24/200 · best 1.38× (estimated)"."""
    limit = f"/{run.spec.budget_candidates}" if run.spec.budget_candidates else ""
    parts = [f"{run.state} {run.judged}{limit}"]
    if run.control in _ASKED and not run.state.is_final and run.state is not RunState.PAUSED:
        parts.append(_ASKED[run.control])
    if run.best_ratio is not None:
        parts.append(f"best {run.best_ratio:.2f}×{' (estimated)' if run.best_estimated else ''}")
    return " · ".join(parts)
