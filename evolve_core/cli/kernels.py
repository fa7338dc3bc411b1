"""``kernel-evolve kernels FILE…``"""

from __future__ import annotations

import json

import click

from evolve_core.cli.selection import Selection, select
from evolve_core.journal.codec import to_plain


@click.command(name="kernels")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(files: tuple[str, ...], as_json: bool) -> None:
    """What kernels are here, who launches them, and where."""
    selections = [select(name) for name in files]
    if as_json:
        click.echo(json.dumps([_plain(s) for s in selections], indent=2))
        return
    for selection in selections:
        for kernel in selection.kernels:
            launched = ", ".join(kernel.hosts) or "no launch in this file"
            click.echo(f"{selection.path}:{kernel.name_span.start_line + 1}: {kernel.qualified_name} ({launched})")
        if not selection.kernels:
            click.echo(f"{selection.path}: no kernels", err=True)
        for problem in selection.parsed.problems:
            click.echo(f"{selection.path}:{problem.span.start_line + 1}: {problem.message}", err=True)


def _plain(selection: Selection) -> dict[str, object]:
    return {
        "file": str(selection.path),
        "language": str(selection.parsed.language),
        "kernels": to_plain(selection.kernels),
        "problems": to_plain(selection.parsed.problems),
    }
