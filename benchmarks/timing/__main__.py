"""``python -m benchmarks.timing [--trials 200] [--slow 0,1,2,5] [--seconds 540] [--json FILE]``; needs a GPU.

How often the judge calls a kernel faster or slower than itself, and how often it finds a slowdown of known size. Every
trial is a whole confirmation (five fresh processes × 60 pairs, new seeds) through the judge host. A file that exists is
continued, so that the study can be made in several sittings; each finds out anew what a slowdown costs there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.timing import kernel
from benchmarks.timing.study import TWICE, OtherStudy, Study, Trial, due, figures, load, save, trial_of, words
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.session import TaskJudge
from evolve_core.judge.verdict import Stage
from evolve_core.task.model import Task, TaskKind

PATIENCE_S = 400.0
_SHARED = ("device", "driver", "torch", "triton", "python")


@click.command()
@click.option("--trials", default=200, show_default=True, help="in all, over every slowdown in turn")
@click.option("--slow", default="0,1,2,5", show_default=True, help="percent of more steps")
@click.option("--seconds", default=540.0, show_default=True, help="begin no trial after so long")
@click.option("--json", "out", type=click.Path(path_type=Path), help="where the trials are kept and continued")
def main(trials: int, slow: str, seconds: float, out: Path | None) -> None:
    """Make the trials that are still due, then print what all of them say."""
    began = time.monotonic()
    slows = [float(one) for one in slow.split(",")]
    earlier = load(out) if out is not None else None
    try:
        pending = list(due(earlier.trials if earlier else (), slows, trials))
        for one in slows:
            kernel.source(one, 0)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--slow") from None
    study = earlier
    if pending:
        if not list_devices():
            raise click.ClickException("there is no NVIDIA GPU on this machine")
        with tempfile.TemporaryDirectory() as folder, closing(_judge(Path(folder))) as judge:
            study = _continued(judge, earlier)
            sitting = study.next_sitting
            for number, one in enumerate(pending):
                if time.monotonic() - began > seconds:
                    break
                trial = _trial(judge, one, number, sitting)
                click.echo(
                    f"{number + 1} of {len(pending)}: {one:g} % more steps: {trial.reason}, {trial.seconds:.1f} s"
                )
                study = replace(study, trials=(*study.trials, trial))
                if out is not None:
                    save(out, study, figures(study.trials))
    if study is not None:
        for line in words(figures(study.trials)):
            click.echo(line)
        left = [one for one in due(study.trials, slows, trials) if one != TWICE]
        if left:
            click.echo(
                f"{len(left)} trials are still due: call it again" + ("" if out else " with --json FILE to go on")
            )


def _judge(folder: Path) -> TaskJudge:
    source_file, task_file = folder / "chain.py", folder / "chain.evolve.py"
    source_file.write_text(kernel.source(0, 0))
    task_file.write_text(kernel.TASK)
    task = Task(
        task_file, source_file, TaskKind.ENTRY, "chain", ("chain_kernel",), has_reference=True, has_domain=False
    )
    with (folder / "host.log").open("wb") as log:
        return TaskJudge.open(
            task, kernel.source(0, 0), python=Path(sys.executable), spool=folder, target="sm_90", workers=1, log=log
        )


def _continued(judge: TaskJudge, earlier: Study | None) -> Study:
    """The study to go on with. Raises OtherStudy where its trials were made on another device or toolchain, or held
    against another calibration.
    """
    here = {name: value for name, value in judge.environment if name in _SHARED}
    here["held against"] = judge.held_against
    if earlier is None:
        return Study(here)
    if earlier.environment != here:
        raise OtherStudy(f"the earlier trials were made on {earlier.environment}, this is {here}; name another file")
    return earlier


def _trial(judge: TaskJudge, slow: float, number: int, sitting: int) -> Trial:
    began = time.monotonic()
    source = kernel.source(slow, number)
    verdict = judge.submit(f"trial-{number}", source, Stage.CONFIRMATION).result(PATIENCE_S).verdict
    return trial_of(slow, verdict, time.monotonic() - began, sitting)


if __name__ == "__main__":
    try:
        main()
    except OtherStudy as error:
        sys.exit(f"benchmarks.timing: {error}")
