"""``kernel-evolve pause|resume|cancel ID``"""

from __future__ import annotations

from pathlib import Path

import click

from evolve_core.cli.runs import workspace_option
from evolve_core.journal.control import request_control
from evolve_core.journal.model import Control
from evolve_core.workspace import find_workspace


def _asking(name: str, control: Control, text: str) -> click.Command:
    @click.command(name=name, help=text)
    @click.argument("run_id", metavar="ID")
    @workspace_option
    def command(run_id: str, workspace: Path | None) -> None:
        request_control(workspace or find_workspace(Path.cwd()), run_id, control)
        click.echo(f"run {run_id}: asked to {name}")

    return command


pause = _asking("pause", Control.PAUSE, "Pause a run: candidates in flight are still judged.")
resume = _asking("resume", Control.RESUME, "Go on with a paused run.")
cancel = _asking("cancel", Control.CANCEL, "Stop a run; what was judged stays in the journal.")
