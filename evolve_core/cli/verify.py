"""``kernel-evolve verify EVIDENCE.json``"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click

from evolve_core.cli.main import COULD_NOT_RUN, FINE, FOUND
from evolve_core.errors import UsageError
from evolve_core.interpreter import resolve
from evolve_core.journal.codec import to_plain
from evolve_core.judge.evidence import read_evidence
from evolve_core.judge.verify import Outcome, verify
from evolve_core.workspace import find_workspace

_EXIT_CODES = {
    Outcome.REPRODUCED: FINE,
    Outcome.NOT_REPRODUCED: FOUND,
    Outcome.UNSUPPORTED: FOUND,
    Outcome.OTHER_HARDWARE: COULD_NOT_RUN,
}


@click.command(name="verify")
@click.argument("evidence", type=click.Path(path_type=Path), metavar="EVIDENCE.json")
@click.option("--python", default="", help="The interpreter with your torch and Triton.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(evidence: Path, python: str, as_json: bool) -> None:
    """Judge a recorded candidate again, here, and say whether the proof holds.

    First the record must support its own claim: the verdict is reached again from the recorded samples. Then the
    candidate is judged anew, with new seeds. Importing what the record holds executes it, so verify what you would run.
    What it imports from its own package is looked for where the file lay, then here. A folder elsewhere counts only
    while the recorded files lie there as they were.

    Exit code 0: reproduced. 1: not reproduced. 2: other hardware, or it could not be judged here.
    """
    if not evidence.exists():
        raise UsageError(
            f"There is no file {evidence}. A run's evidence: kernel-evolve show RUN --evidence N > file.json"
        )
    record = read_evidence(evidence)
    root = find_workspace(Path.cwd())
    resolution = resolve(root, os.environ, explicit=python, beside=Path.cwd())
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-") as folder, (Path(folder) / "host.log").open("ab") as log:
        result = verify(record, Path(folder), resolution.python, log, tuple(dict.fromkeys((Path.cwd(), root))))
    if as_json:
        found = to_plain(result.verdict) if result.verdict else None
        plain = {"outcome": str(result.outcome), "reason": result.reason, "verdict": found}
        click.echo(json.dumps(plain, indent=2))
    else:
        click.echo(f"{result.outcome}: {result.reason}")
    click.get_current_context().exit(_EXIT_CODES[result.outcome])
