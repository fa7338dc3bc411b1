"""``kernel-evolve pause ID``"""

from __future__ import annotations

from pathlib import Path

import click

from evolve_core.cli.runs import workspace_option
from evolve_core.journal.control import request_control
from evolve_core.journal.model import Control
from evolve_core.workspace import find_workspace


@click.command(name="pause")
@click.argument("run_id", metavar="ID")
@workspace_option
def command(run_id: str, workspace: Path | None) -> None:
    """Pause a run: candidates in flight are still judged."""
    request_control(workspace or find_workspace(Path.cwd()), run_id, Control.PAUSE)
