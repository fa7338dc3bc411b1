"""``kernel-evolve judge TASK --candidate FILE``"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from contextlib import closing
from pathlib import Path

import click

from evolve_core.cli.defaults import TARGET, known_target
from evolve_core.cli.main import COULD_NOT_RUN, FOUND
from evolve_core.cli.selection import read_source, select, select_task
from evolve_core.errors import UsageError
from evolve_core.files import write_new
from evolve_core.interpreter import resolve
from evolve_core.journal.codec import to_plain
from evolve_core.judge.session import Judgement, TaskJudge
from evolve_core.judge.verdict import Correctness, Failure, Stage, Verdict
from evolve_core.task.native import is_task_file, source_file_of
from evolve_core.workspace import find_workspace, state_folder, teeth_folder


@click.command(name="judge")
@click.argument("task", metavar="TASK")
@click.option("--candidate", type=click.Path(path_type=Path), required=True, help="The candidate's whole source file.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), default=None, help="Compare with this file's text instead."
)
@click.option("--target", default=TARGET, show_default=True, help="Architecture to compile for without a GPU.")
@click.option("--python", default="", help="The interpreter with your torch and Triton.")
@click.option("--stage", type=click.Choice([str(s) for s in Stage]), default=str(Stage.CONFIRMATION), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    task: str, candidate: Path, baseline: Path | None, target: str, python: str, stage: str, as_json: bool
) -> None:
    """The verdict on one candidate. TASK is the task file, or the source file it belongs to.

    Exit code 0: correct. 1: not. 2: could not judge.
    """
    selection = select(_source_argument(task), baseline)
    _, chosen = select_task(selection)
    source = read_source(candidate)
    root = find_workspace(selection.path)
    resolution = resolve(root, os.environ, explicit=python, beside=selection.path.parent)
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-") as spool, (Path(spool) / "host.log").open("ab") as log:
        judge = TaskJudge.open(
            chosen,
            selection.text,
            python=resolution.python,
            spool=Path(spool),
            target=known_target(target),
            workers=1,
            log=log,
            teeth=teeth_folder(root),
        )
        with closing(judge):
            judgement = judge.submit("candidate", source, Stage(stage)).result()
    path = _keep(root, judgement)
    verdict = judgement.verdict
    if as_json:
        told = {**to_plain(verdict), "environment": dict(verdict.environment), "evidence": str(path)}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{verdict.correctness}, {verdict.speed}: {verdict.reason}")
        if verdict.correctness is not Correctness.CORRECT and candidate.name != selection.path.name:
            click.echo(f"({candidate.name} was judged under the name {selection.path.name}: lines are the candidate's)")
        click.echo(f"evidence: {path}")
    click.get_current_context().exit(_exit_code(verdict))


def _source_argument(task: str) -> str:
    """The source file of a task file (``softmax.evolve.py``, ``softmax.fast.evolve.py``); else what was given."""
    path = Path(task)
    if not is_task_file(path):
        return task
    source = source_file_of(path)
    if source is None:
        raise UsageError(f"{path.name} has no source file beside it that it could belong to (NAME.py, NAME.cu).")
    return str(source)


def _keep(root: Path, judgement: Judgement) -> Path:
    folder = state_folder(root) / "evidence"
    folder.mkdir(exist_ok=True)
    path = folder / f"{secrets.token_hex(4)}.json"
    write_new(path, json.dumps(judgement.evidence, indent=1))
    return path


def _exit_code(verdict: Verdict) -> int:
    if verdict.correctness is Correctness.CORRECT:
        return 0
    if verdict.correctness is Correctness.WRONG:
        return FOUND
    # Another program on the GPU is nobody's fault here.
    return COULD_NOT_RUN if verdict.failure in (None, Failure.CONTENDED) else FOUND
