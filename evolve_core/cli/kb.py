"""``kernel-evolve kb stats|search|suggest|add|export|import``"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from evolve_core.cli.defaults import TARGET
from evolve_core.cli.lookup import find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.cli.selection import select
from evolve_core.files import write_whole
from evolve_core.knowledge.exchange import export_lines, import_lines
from evolve_core.knowledge.insight import insight_from_winner
from evolve_core.knowledge.model import Insight
from evolve_core.knowledge.store import open_store
from evolve_core.knowledge.suggest import suggest as find_suggestions
from evolve_core.knowledge.suggest import suggestions_json

url_option = click.option("--url", default=None, help="Its database; KERNEL_EVOLVE_KNOWLEDGE else.")


@click.group(name="kb")
def command() -> None:
    """The knowledge base: what won, on what kind of kernel, where, by how much."""


@command.command(name="stats")
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(url: str | None, as_json: bool) -> None:
    """How much is in it, and how often it held."""
    with open_store(url) as store:
        numbers = asdict(store.stats())
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    for name, value in numbers.items():
        click.echo(f"{name:12} {value}")


@command.command(name="search")
@click.argument("text", default="")
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(text: str, url: str | None, as_json: bool) -> None:
    """Insights whose claim, kernel or features contain TEXT."""
    with open_store(url) as store:
        found = store.search(text)
    if as_json:
        click.echo(json.dumps([_plain(insight) for insight in found], indent=2))
        return
    for insight in found:
        # The first success founded it; since then it was tried again.
        since = f"held again {insight.successes - 1}, failed {insight.failures}"
        click.echo(f"{insight.insight_id[:12]}  {insight.claim}  ({since})")


@command.command(name="suggest")
@click.argument("file")
@click.option("--target", default=TARGET, show_default=True)
@click.option("--source-text", type=click.Path(path_type=Path), default=None, hidden=True)
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def suggest(file: str, target: str, source_text: Path | None, url: str | None, as_json: bool) -> None:
    """What it would try on the kernels of FILE. Runs nothing of yours."""
    selection = select(file, source_text)
    with open_store(url) as store:
        found = find_suggestions(store, selection.text, selection.parsed.language, target)
    if as_json:
        click.echo(json.dumps(suggestions_json(found), indent=2))
        return
    for each in found:
        for suggestion in each.suggestions:
            click.echo(f"{each.kernel}: {suggestion.insight.claim}\n    because {suggestion.because}")


@command.command(name="add")
@click.argument("run_id", metavar="ID")
@workspace_option
@url_option
def add(run_id: str, workspace: Path | None, url: str | None) -> None:
    """Add the winner of a run (runs do so by themselves when they end)."""
    found = find_run(run_id, workspace)
    with open_store(url) as store:
        click.echo(store.add(insight_from_winner(found.run.spec, found.winner())))


@command.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@url_option
def export(file: Path, url: str | None) -> None:
    """Write everything as JSON lines, in an order that can be diffed."""
    with open_store(url) as store:
        text = "".join(f"{line}\n" for line in export_lines(store))
    if str(file) == "-":
        click.echo(text, nl=False)
    else:
        write_whole(file, text)


@command.command(name="import")
@click.argument("file", type=click.File("rb"))
@url_option
def import_(file: BinaryIO, url: str | None) -> None:
    """Add what `kb export` wrote, all of it or nothing."""
    with open_store(url) as store:
        imported = import_lines(store, file, file.name)
    click.echo(f"{imported.read} insights read, {imported.new} new; {imported.outcomes} outcomes.")


def _plain(insight: Insight) -> dict[str, object]:
    return {
        "insight_id": insight.insight_id,
        "claim": insight.claim,
        "target": insight.scope.target,
        "ratio": insight.ratio,
        "estimated": insight.estimated,
        "successes": insight.successes,
        "failures": insight.failures,
    }
