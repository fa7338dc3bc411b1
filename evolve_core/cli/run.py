"""``kernel-evolve run FILE[::KERNEL|:LINE]``: a runner in this process, watched on this terminal."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from evolve_core.cli.defaults import BUDGET, PROPOSERS, TARGET, known_target
from evolve_core.cli.main import COULD_NOT_RUN
from evolve_core.cli.runs import FOLDER
from evolve_core.cli.selection import Selection, narrowed, select, select_task
from evolve_core.cli.watch import watching
from evolve_core.errors import UsageError
from evolve_core.interpreter import project_settings, resolve
from evolve_core.journal.codec import to_plain
from evolve_core.journal.model import RunRecord, RunSpec, RunState
from evolve_core.journal.paste import about_run, to_list, to_resume
from evolve_core.journal.reader import LAST_WORDS_MARK, JournalReader
from evolve_core.models.registry import parse_models
from evolve_core.search.budget import parse_budget
from evolve_core.search.proposers import check_proposers
from evolve_core.search.runner import Resources, carry_out, new_seed, resume, say
from evolve_core.source.model import Kernel
from evolve_core.source.parse import language_of, parse
from evolve_core.task.model import Task
from evolve_core.workspace import find_workspace, log_file


@click.command(name="run")
@click.argument("kernel", required=False, metavar="FILE[::KERNEL|:LINE]")
@click.option("--budget", default=BUDGET, show_default=True, help="10m, 200c, $2, or several with commas.")
@click.option("--target", default="", help=f"Architecture to compile for without a GPU.  [default: {TARGET}]")
@click.option("--python", default="", help="The interpreter with your torch and Triton.")
@click.option("--proposers", default=PROPOSERS, show_default=True, help="Who makes candidates.")
@click.option("--models", default="", help="Language models, for example anthropic:NAME,local:NAME@URL.")
@click.option("--seed", type=int, default=None, help="Seed of the proposers; the judge draws its own.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Candidates judged at once.")
@click.option("--workspace", type=FOLDER, default=None, help="Where .kernel-evolve/ is.")
@click.option("--run-id", default="", hidden=True)
@click.option("--source-text", type=click.Path(path_type=Path), default=None, hidden=True)
@click.option("--editor-python", default="", hidden=True)
@click.option("--resume", "resume_id", default="", metavar="ID", help="Go on with an interrupted run.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON when it has ended.")
def command(
    kernel: str | None,
    budget: str,
    target: str,
    python: str,
    proposers: str,
    models: str,
    seed: int | None,
    workers: int,
    workspace: Path | None,
    run_id: str,
    source_text: Path | None,
    editor_python: str,
    resume_id: str,
    as_json: bool,
) -> None:
    """Search for a faster, still correct version of a kernel.

    LINE is one of the kernel's, as in the places that `kernel-evolve kernels` prints.
    """
    if resume_id:
        root = workspace or find_workspace(Path(kernel.partition("::")[0]) if kernel else Path.cwd())
        run = _interrupted(root, resume_id)
        task = _task_of(run)
        resources = _resources(root, task.source_file, python, editor_python, workers, models)
        _leave_well(root, resume_id, resources.python)
        with watching(root, resume_id, quiet=as_json):
            record = resume(root, run, task, resources)
    elif kernel:
        selection = select(kernel, source_text)
        kernels, task = select_task(selection)
        root = workspace or find_workspace(selection.path)
        # Before anything is said of a run: one that nothing can be written down of does not start.
        with closing(JournalReader(root)) as reader:
            reader.run(run_id)
        spec = _spec(kernels, task, selection.text, budget, target, proposers, new_seed() if seed is None else seed)
        resources = _resources(root, selection.path, python, editor_python, workers, models)
        spec = replace(spec, python=str(resources.python))
        run_id = run_id or secrets.token_hex(4)
        _note(f"run {run_id} in {root}")
        _leave_well(root, run_id, resources.python)
        with watching(root, run_id, quiet=as_json):
            record = carry_out(root, run_id, task, spec, resources)
    else:
        raise UsageError("Name a file: kernel-evolve run FILE[::KERNEL|:LINE]")
    _finish(record, root, as_json=as_json)


def _spec(
    kernels: tuple[Kernel, ...], task: Task, source: str, budget: str, target: str, proposers: str, seed: int
) -> RunSpec:
    limits = parse_budget(budget)
    named = tuple(filter(None, (name.strip() for name in proposers.split(","))))
    check_proposers(named)
    return RunSpec(
        source_file=str(task.source_file),
        kernels=tuple(k.qualified_name for k in kernels),
        versions=tuple(k.version for k in kernels),
        base_source=source,
        task_file=str(task.task_file),
        entry=task.entry,
        target=known_target(target),
        seed=seed,
        budget_seconds=limits.seconds,
        budget_candidates=limits.candidates,
        budget_dollars=limits.dollars,
        task_sha256=_sha256(task.task_file),
        proposers=named,
    )


def _resources(root: Path, source: Path, python: str, editor_python: str, workers: int, models: str) -> Resources:
    resolution = resolve(root, os.environ, explicit=python, editor_choice=editor_python, beside=source.parent)
    wanted = models or str(project_settings(root).get("models", ""))
    if wanted:
        parse_models(wanted)
    chosen = resolution.steps[-1]
    _note(f"judge: {chosen.python} ({chosen.place})")
    return Resources(
        python=resolution.python,
        workers=workers,
        models=wanted,
        knowledge=os.environ.get("KERNEL_EVOLVE_KNOWLEDGE"),
    )


def _note(text: str) -> None:
    # A log on a full disk: that the run cannot go on, and why, is said where there is room for it.
    with suppress(OSError):
        click.echo(text, err=True)


def _interrupted(root: Path, run_id: str) -> RunRecord:
    with closing(JournalReader(root)) as reader:
        run = reader.run(run_id)
    if run is None:
        raise UsageError(f"There is no run {run_id} in {root}; `{to_list(root)}` lists them.")
    if run.state.is_final:
        raise UsageError(f"Run {run_id} has ended ({run.state}); start a new one.")
    return run


def _task_of(run: RunRecord) -> Task:
    """The task of an interrupted run, on the source it was started with. Raises UsageError where the task changed."""
    spec = run.spec
    path = Path(spec.source_file)
    language = language_of(path)
    assert language is not None, "a run belongs to a file of a language we read"
    parsed = parse(spec.base_source, language)
    _, task = select_task(narrowed(Selection(path, spec.base_source, parsed, parsed.kernels), spec.kernels[0]))
    if _sha256(task.task_file) != spec.task_sha256:
        raise UsageError(
            f"{task.task_file.name} was changed since run {run.run_id} was started: what was judged before cannot be "
            "compared with what would be judged now. Start a new run, or put the task file back."
        )
    return task


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _finish(record: RunRecord, root: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(to_plain(record), indent=2))
    else:
        click.echo(f"run {record.run_id}: {record.state}. {record.reason}")
        if record.best:
            see, apply = (about_run(word, record.run_id, root) for word in ("show", "apply"))
            click.echo(f"see it:   {see}\napply it: {apply}")
    if record.state is RunState.FAILED:
        click.get_current_context().exit(COULD_NOT_RUN)


def _leave_well(root: Path, run_id: str, python: Path) -> None:
    """SIGTERM and Ctrl-C end the runner the clean way: children first. The run can be resumed."""

    def leave(number: int, _frame: FrameType | None) -> None:
        asked = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        words = f"The runner was asked to stop ({asked}). Resume goes on where it was."
        say(words)
        if not _speaks_into(log_file(root, run_id)):
            with log_file(root, run_id).open("a", encoding="utf-8") as log:
                log.write(f"{LAST_WORDS_MARK}{words}\n")
            _note(f"go on with: {to_resume(run_id, root, str(python))}")
        sys.exit(COULD_NOT_RUN)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _speaks_into(log: Path) -> bool:
    """Whether stderr is the run's log, from which readers take a runner's last words, and not somebody's terminal."""
    return sys.stderr is not None and log.exists() and os.path.samestat(os.fstat(sys.stderr.fileno()), log.stat())
