"""``kernel-evolve show ID``"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console

from evolve_core.cli.lookup import find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.errors import UsageError
from evolve_core.journal.codec import to_plain
from evolve_core.journal.reader import JournalReader
from evolve_core.report.text import summary
from evolve_core.source.edit import unified_diff


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
            record = reader.evidence(evidence)
        if record is None or evidence not in {c.candidate_id for c in found.candidates}:
            raise UsageError(f"Run {run_id} has no evidence on a candidate {evidence}.")
        click.echo(json.dumps(record, indent=2))
        return
    if diff:
        spec = found.run.spec
        click.echo(unified_diff(spec.base_source, found.winner().source, Path(spec.source_file).name), nl=False)
        return
    if as_json:
        click.echo(json.dumps({"run": to_plain(found.run), "candidates": to_plain(found.candidates)}, indent=2))
        return
    Console().print(summary(found.run, found.candidates))
