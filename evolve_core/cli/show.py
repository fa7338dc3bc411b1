"""``kernel-evolve show ID``"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console

from evolve_core.cli.lookup import find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.journal.codec import to_plain
from evolve_core.journal.reader import JournalReader
from evolve_core.report.text import summary


@click.command(name="show")
@click.argument("run_id", metavar="ID")
@workspace_option
@click.option("--diff", is_flag=True, help="Print the winner's diff alone.")
@click.option("--evidence", metavar="CANDIDATE", default="", help="Print the evidence behind a candidate's verdict.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run_id: str, workspace: Path | None, diff: bool, evidence: str, as_json: bool) -> None:
    """One run: its verdict, its candidates, its winner's diff."""
    found = find_run(run_id, workspace)
    if evidence:
        with closing(JournalReader(found.workspace)) as reader:
            click.echo(json.dumps(reader.evidence(evidence), indent=2))
        return
    if diff:
        click.echo(_diff(found.run.spec.source_file, found.run.spec.base_source, found.winner().source), nl=False)
        return
    if as_json:
        click.echo(json.dumps({"run": to_plain(found.run), "candidates": to_plain(found.candidates)}, indent=2))
        return
    Console().print(summary(found.run, found.candidates))


def _diff(source_file: str, before: str, after: str) -> str:
    from evolve_core.source.edit import unified_diff

    return unified_diff(before, after, Path(source_file).name)
