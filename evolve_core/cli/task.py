"""``kernel-evolve task new|show|check FILE[::KERNEL|:LINE]``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from evolve_core.cli.main import FOUND
from evolve_core.cli.selection import Selection, require_kernels, select, select_task
from evolve_core.cli.tolerance import try_tolerance
from evolve_core.errors import UsageError
from evolve_core.files import write_new
from evolve_core.journal.codec import to_plain
from evolve_core.source.model import Kernel
from evolve_core.task.model import Task
from evolve_core.task.native import new_task_file, tasks_for
from evolve_core.task.skeleton import skeleton


@click.group(name="task")
def command() -> None:
    """Show, check or write the task of a kernel."""


@command.command(name="new")
@click.argument("kernel", metavar="FILE[::KERNEL|:LINE]")
@click.option("--print", "only_print", is_flag=True, help="Print it instead of writing the file.")
def new(kernel: str, only_print: bool) -> None:
    """Write NAME.evolve.py with what can be inferred from the host function."""
    selection = select(kernel)
    require_kernels(selection)
    chosen = _without_task(selection) if not only_print else _launched_first(selection.kernels)
    text = skeleton(selection.path, selection.parsed, selection.text, chosen)
    target = new_task_file(selection.path, chosen)
    if only_print:
        click.echo(text, nl=False)
        return
    write_new(target, text)
    command = f"kernel-evolve run {_shown(selection.path)}::{chosen.qualified_name}"
    click.echo(f"Wrote {target}. Look at its workloads, then: {command}")


def _launched_first(kernels: tuple[Kernel, ...]) -> Kernel:
    return next((k for k in kernels if k.hosts), kernels[0])


def _without_task(selection: Selection) -> Kernel:
    """The kernel to write a task for: the first that has none. Raises UsageError where all have one."""
    found = tasks_for(selection.path, selection.parsed)
    missing = tuple(k for k in selection.kernels if not isinstance(found[k.qualified_name], Task))
    if not missing:
        file = next(task.task_file for task in found.values() if isinstance(task, Task))
        raise UsageError(f"{file} has the task already and was left as it is.")
    return _launched_first(missing)


@command.command(name="show")
@click.argument("kernel", metavar="FILE[::KERNEL|:LINE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(kernel: str, as_json: bool) -> None:
    """Show the task that a kernel would be judged by. Runs nothing."""
    kernels, task = select_task(select(kernel))
    if as_json:
        click.echo(json.dumps({**to_plain(task), "selected": [k.qualified_name for k in kernels]}, indent=2))
        return
    click.echo(f"task      {task.task_file}")
    click.echo(f"entry     {task.entry or '(launches)'}")
    click.echo(f"kernels   {', '.join(task.kernels)}")
    click.echo(f"oracle    {'reference()' if task.has_reference else 'the current kernel'}")
    click.echo(f"domain    {'declared' if task.has_domain else 'sizes around the workloads'}")


@command.command(name="check")
@click.argument("file", metavar="FILE[::KERNEL|:LINE]")
@click.option("--teeth", is_flag=True, help="Run the tasks, too: would a wrong kernel pass?")
@click.option("--python", default="", help="With --teeth: the interpreter with your torch and Triton.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: str, teeth: bool, python: str, as_json: bool) -> None:
    """Say for each kernel whether it has a usable task, and what is missing.

    Runs nothing, unless --teeth asks for it. Exit code 1 if any kernel has none, or one that a wrong kernel would pass.
    """
    selection = select(file)
    require_kernels(selection)
    beside = tasks_for(selection.path, selection.parsed)
    found = {k.qualified_name: beside[k.qualified_name] for k in selection.kernels}
    tasks = list(dict.fromkeys(value for value in found.values() if isinstance(value, Task)))
    tried = {task: try_tolerance(task, selection.text, python) for task in tasks} if teeth else {}
    if as_json:
        plain = {name: to_plain(value) for name, value in found.items()}
        kinds = {name: {"teeth": tried[value].as_plain()} for name, value in found.items() if value in tried}
        click.echo(json.dumps({name: {**plain[name], **kinds.get(name, {})} for name in found}, indent=2))
    else:
        for name, value in found.items():
            if isinstance(value, Task):
                click.echo(f"{name}: {value.task_file.name} (entry {value.entry or 'launches'})")
            else:
                click.echo(f"{name}: {value.message}")
        for task, result in tried.items():
            click.echo(f"\n{task.task_file.name}: would a wrong kernel pass?")
            click.echo(result.in_words())
    if not all(isinstance(value, Task) for value in found.values()) or any(one.refused for one in tried.values()):
        click.get_current_context().exit(FOUND)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
