"""Asking something of a run from outside: the journal is the only channel to a runner."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from evolve_core.errors import RunError
from evolve_core.journal.lock import is_runner_alive
from evolve_core.journal.model import Control, RunState
from evolve_core.journal.paste import to_list, to_resume
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.writer import JournalWriter


def request_control(workspace: Path, run_id: str, control: Control) -> None:
    """Ask a run to pause, resume or stop. A runner looks a few times a second.

    Cancelling an interrupted run ends it here and now, as nobody is left to do it.
    Raises RunError where there is no such run or it has ended, JournalError where the journal cannot be written.
    """
    with closing(JournalReader(workspace)) as reader:
        run = reader.run(run_id)
    if run is None:
        raise RunError(f"There is no run {run_id} in {workspace}; `{to_list(workspace)}` lists them.")
    if run.state.is_final:
        raise RunError(f"Run {run_id} has already ended ({run.state}).")
    alive = is_runner_alive(workspace, run_id)
    if not alive and control is not Control.CANCEL:
        go_on = to_resume(run_id, workspace, run.spec.python)
        raise RunError(f"The runner of {run_id} is gone. Go on with: {go_on}")
    with closing(JournalWriter(workspace)) as writer:
        if not alive:
            writer.set_state(run_id, RunState.CANCELLED, "Cancelled after its runner was gone.")
        else:
            writer.request(run_id, control)
