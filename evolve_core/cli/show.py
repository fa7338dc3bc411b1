"""``kernel-evolve show ID``"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from evolve_core.cli.lookup import FoundRun, find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.errors import UsageError
from evolve_core.journal.codec import to_plain
from evolve_core.journal.paste import about_run
from evolve_core.journal.reader import JournalReader
from evolve_core.report.text import summary
from evolve_core.source.edit import unified_diff


@click.command(name="show")
@click.argument("run_id", metavar="ID")
@workspace_option
@click.option("--diff", is_flag=True, help="Print the winner's diff alone.")
@click.option(
    "--evidence", metavar="CANDIDATE", default="", help="Print the evidence behind a candidate's verdict (its # here)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run_id: str, workspace: Path | None, diff: bool, evidence: str, as_json: bool) -> None:
    """One run: its verdict, its candidates, its winner's diff."""
    found = find_run(run_id, workspace)
    if evidence:
        click.echo(json.dumps(_evidence(found, evidence), indent=2))
        return
    if diff:
        spec = found.run.spec
        click.echo(unified_diff(spec.base_source, found.winner().source, Path(spec.source_file).name), nl=False)
        return
    if as_json:
        click.echo(json.dumps({"run": to_plain(found.run), "candidates": to_plain(found.candidates)}, indent=2))
        return
    Console().print(summary(found.run, found.candidates))


def _evidence(found: FoundRun, wanted: str) -> dict[str, Any]:
    """The record of one candidate, named by its number in this run or by its id. Raises UsageError."""
    named = (c.candidate_id for c in found.candidates if wanted in (str(c.ordinal), c.candidate_id))
    with closing(JournalReader(found.workspace)) as reader:
        record = next((record for one in named if (record := reader.evidence(one))), None)
    if record is None:
        run_id, judged = found.run.run_id, sum(c.verdict is not None for c in found.candidates)
        raise UsageError(
            f"Run {run_id} has no evidence on a candidate {wanted} ({judged} judged; "
            f"`{about_run('show', run_id, found.workspace)}` numbers them)."
        )
    return record
