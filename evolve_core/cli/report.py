"""``kernel-evolve report ID``"""

from __future__ import annotations

from pathlib import Path

import click

from evolve_core.cli.lookup import find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.files import write_whole
from evolve_core.report.html import render
from evolve_core.workspace import state_folder


@click.command(name="report")
@click.argument("run_id", metavar="ID")
@workspace_option
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Where to write it.")
def command(run_id: str, workspace: Path | None, output: Path | None) -> None:
    """Write a run's self-contained HTML report and print its path."""
    found = find_run(run_id, workspace)
    if output is None:
        folder = state_folder(found.workspace) / "reports"
        folder.mkdir(exist_ok=True)
        output = folder / f"{run_id}.html"
    write_whole(output, render(found.run, found.candidates, found.run.spec.base_source))
    click.echo(str(output))
