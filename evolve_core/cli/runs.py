"""``kernel-evolve runs``"""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evolve_core.cli.watch import headline
from evolve_core.journal.codec import to_plain
from evolve_core.journal.reader import JournalReader
from evolve_core.workspace import find_workspace

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

workspace_option = click.option(
    "--workspace",
    type=FOLDER,
    default=None,
    help="Where .kernel-evolve/ is.  [default: the project around the current folder]",
)


@click.command(name="runs")
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(workspace: Path | None, as_json: bool) -> None:
    """The runs of this workspace, newest first."""
    root = workspace or find_workspace(Path.cwd())
    with closing(JournalReader(root)) as reader:
        runs = reader.runs()
    if as_json:
        click.echo(json.dumps([to_plain(run) for run in runs], indent=2))
        return
    if not runs:
        click.echo(f"No runs in {root} yet. Start one with: kernel-evolve run FILE::KERNEL")
        return
    table = Table("run", "started", "kernel", "state", "reason", box=None)
    for run in runs:
        started = datetime.fromtimestamp(run.created_at).strftime("%Y-%m-%d %H:%M")
        kernel = f"{Path(run.spec.source_file).name}::{run.spec.kernels[0]}"
        # As Text: a reason may hold [tool.kernel-evolve], which a plain string would lose as markup.
        table.add_row(*(Text(cell) for cell in (run.run_id, started, kernel, headline(run), run.reason)))
    console = Console()
    # A pipe has no width to fit into, and a wrapped table cannot be searched.
    Console(width=None if console.is_terminal else 200).print(table)
