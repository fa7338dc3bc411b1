"""``python -m benchmarks.judging [--count 100] [--examples softmax,layernorm] [--json FILE]``; needs a GPU.

How many candidates an hour are screened, checked in full, and what the time goes into; then the same kernel judged
against itself, which no judge may call faster or slower.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import click

from benchmarks.judging.candidates import EXAMPLES, again, source_of, variants
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.session import Judgement, TaskJudge
from evolve_core.judge.verdict import Stage
from evolve_core.task.model import Task, TaskKind

PATIENCE_S = 600.0


@click.command()
@click.option("--count", default=100, show_default=True, help="candidates of each example")
@click.option("--confirm", default=1, show_default=True, help="confirmations of each example against itself")
@click.option("--examples", default="softmax,layernorm", show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(count: int, confirm: int, examples: str, out: Path | None) -> None:
    """Print one line for each example and part; write everything as JSON where asked."""
    devices = list_devices()
    if not devices:
        raise click.ClickException("there is no NVIDIA GPU on this machine")
    found: dict[str, Any] = {"device": devices[0]["name"], "cpus": os.cpu_count(), "examples": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in examples.split(","):
            found["examples"][name] = _measured(name, Path(folder) / name, count, confirm)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


def _measured(name: str, folder: Path, count: int, confirm: int) -> dict[str, Any]:
    folder.mkdir()
    source_file = EXAMPLES / f"{name}.py"
    task = Task(
        source_file.with_suffix(".evolve.py"), source_file, TaskKind.ENTRY, name, (f"{name}_kernel",), True, True
    )
    workers = max(2, (os.cpu_count() or 2) // 2)
    with (folder / "host.log").open("wb") as log:
        judge = TaskJudge.open(
            task, source_of(name), python=Path(sys.executable), spool=folder, target="sm_90", workers=workers, log=log
        )
        try:
            screened = _screened(judge, list(islice(variants(name), count)))
            confirmed = [_confirmed(judge, again(name, number)) for number in range(confirm)]
        finally:
            judge.close()
    _tell(name, screened, confirmed)
    return {"screened": screened, "confirmed": confirmed}


def _screened(judge: TaskJudge, sources: list[str]) -> dict[str, Any]:
    first = judge.submit("first", sources[0], Stage.SCREENING).result(PATIENCE_S)
    began = time.monotonic()
    jobs = [judge.submit(f"c{i}", source, Stage.SCREENING) for i, source in enumerate(sources[1:])]
    done = [job.result(PATIENCE_S) for job in jobs]
    took = time.monotonic() - began
    phases = Counter[str]()
    for judgement in done:
        phases.update(_seconds(judgement))
    return {
        "candidates": len(done),
        "an_hour": 3600 * len(done) / took,
        "verdicts": Counter(_word(judgement) for judgement in done),
        "seconds_by_phase": {phase: round(total / len(done), 4) for phase, total in phases.items()},
        "trust": first.verdict.trust.value,
        "reasons": sorted({judgement.verdict.reason[:200] for judgement in done})[:8],
    }


def _confirmed(judge: TaskJudge, source: str) -> dict[str, Any]:
    began = time.monotonic()
    verdict = judge.submit("again", source, Stage.CONFIRMATION).result(PATIENCE_S).verdict
    interval = verdict.interval
    return {
        "seconds": round(time.monotonic() - began, 2),
        "verdict": verdict.speed.value,
        "ratio": verdict.ratio,
        "half_width": None if interval is None else (interval.high - interval.low) / 2,
        "reason": verdict.reason,
    }


def _seconds(judgement: Judgement) -> dict[str, float]:
    observation = judgement.evidence.get("judged", {}).get("observation", {})
    return dict(observation.get("environment", {}).get("seconds", {}))


def _word(judgement: Judgement) -> str:
    verdict = judgement.verdict
    return str((verdict.failure or verdict.correctness).value)


def _tell(name: str, screened: dict[str, Any], confirmed: list[dict[str, Any]]) -> None:
    click.echo(
        f"{name}: {screened['an_hour']:.0f} candidates an hour ({screened['trust']}), {dict(screened['verdicts'])}, "
        f"seconds each {screened['seconds_by_phase']}"
    )
    if confirmed:
        seconds = statistics.median(one["seconds"] for one in confirmed)
        click.echo(
            f"{name}: confirmed against itself in {seconds:.1f} s: {Counter(one['verdict'] for one in confirmed)}"
        )
    for reason in screened["reasons"]:
        click.echo(f"   {reason}")


if __name__ == "__main__":
    main()
