"""``kernel-evolve apply ID``"""

from __future__ import annotations

import codecs
from pathlib import Path

import click

from evolve_core.cli.lookup import FoundRun, find_run
from evolve_core.cli.runs import workspace_option
from evolve_core.cli.selection import read_source
from evolve_core.errors import UsageError
from evolve_core.files import write_whole
from evolve_core.journal.paste import about_run
from evolve_core.source.edit import apply_edits, rebase
from evolve_core.source.parse import language_of, parse


@click.command(name="apply")
@click.argument("run_id", metavar="ID")
@workspace_option
def command(run_id: str, workspace: Path | None) -> None:
    """Write a run's winner into its source file, if the kernel there is still the one that was evolved."""
    found = find_run(run_id, workspace)
    path = Path(found.run.spec.source_file).resolve()
    current = read_source(path)
    text = _merged(found, path, current.replace("\r\n", "\n"))
    if text == current.replace("\r\n", "\n"):
        click.echo(f"{found.winner().summary} is in {path} already; nothing was changed.")
        return
    mark = "\ufeff" if path.read_bytes().startswith(codecs.BOM_UTF8) else ""
    write_whole(path, mark + (text.replace("\n", "\r\n") if "\r\n" in current else text))
    click.echo(f"Applied {found.winner().summary} to {path}.")


def _merged(found: FoundRun, path: Path, current: str) -> str:
    winner, spec = found.winner(), found.run.spec
    see = about_run("show", found.run.run_id, found.workspace, "--diff")
    language = language_of(path)
    assert language is not None, "a run belongs to a file of a language we read"
    parsed = parse(current, language)
    for name, version in zip(spec.kernels, spec.versions, strict=True):
        kernel = parsed.kernel(name)
        if kernel is None or kernel.version != version:
            raise UsageError(
                f"{name} in {path.name} is not the kernel that run {found.run.run_id} evolved: it was edited or "
                f"removed since. Evolve it again, or see the winner: {see}"
            )
    edits = rebase(spec.base_source.replace("\r\n", "\n"), winner.source.replace("\r\n", "\n"), current)
    if edits is None:
        raise UsageError(f"{path.name} was edited where the winner changes it. See the winner: {see}")
    return apply_edits(current, edits)
