"""``python -m benchmarks.judging [--count 60] [--confirm 2] [--examples softmax,layernorm] [--kernelbench DIR]``

How many candidates an hour are screened, checked in full, and what the time goes into; then the same kernel judged
against itself, which no judge may call faster or slower. With ``--kernelbench`` the same candidates go through
KernelBench's own evaluator, too. Needs a GPU.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import click

from benchmarks.judging import kernelbench
from benchmarks.judging.candidates import EXAMPLES, PRECISION, again, source_of, variants
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.session import Judgement, TaskJudge
from evolve_core.judge.verdict import Stage
from evolve_core.task.model import Task, TaskKind

PATIENCE_S = 600.0
RESULTS = Path(__file__).resolve().parents[1] / "results" / "judging.json"


@click.command()
@click.option("--count", default=60, show_default=True, help="candidates of each example")
@click.option("--confirm", default=2, show_default=True, help="confirmations of each example against itself")
@click.option("--examples", default="softmax,layernorm", show_default=True)
@click.option("--workers", default=0, help="candidates judged at once; 0: half of the CPU's cores")
@click.option(
    "--kernelbench", "checkout", type=click.Path(path_type=Path, exists=True, file_okay=False), help="its checkout"
)
@click.option("--json", "out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(count: int, confirm: int, examples: str, workers: int, checkout: Path | None, out: Path) -> None:
    """Print one line for each example and part; write everything as JSON."""
    devices = list_devices()
    if not devices:
        raise click.ClickException("there is no NVIDIA GPU on this machine")
    cpus = os.cpu_count() or 2
    sizes = _Sizes(count, confirm, workers or max(2, cpus // 2))
    found: dict[str, Any] = {
        "environment": {**_environment(devices[0]), "cpus": cpus, "workers": sizes.workers},
        "examples": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in examples.split(","):
            measured = _measured(name, Path(folder) / name, sizes)
            if checkout is not None:
                measured["kernelbench"] = _elsewhere(name, sizes, checkout, measured["screened"]["an_hour"])
            found["examples"][name] = measured
            out.write_text(json.dumps(found, indent=1) + "\n")  # Each example is minutes of a GPU.
    click.echo(f"written to {out}")


@dataclass(frozen=True)
class _Sizes:
    count: int
    confirm: int
    workers: int


def _environment(device: dict[str, Any]) -> dict[str, Any]:
    versions = {name: version(name) for name in ("torch", "triton")}
    told = {"device": device["name"], "driver": device["driver"], "capability": device["capability"]}
    return {**told, **versions, "python": platform.python_version(), "system": platform.platform()}


def _measured(name: str, folder: Path, sizes: _Sizes) -> dict[str, Any]:
    folder.mkdir()
    source_file = EXAMPLES / f"{name}.py"
    task = Task(_task_file(name), source_file, TaskKind.ENTRY, name, (f"{name}_kernel",), True, True)
    with (folder / "host.log").open("wb") as log:
        options: dict[str, Any] = {"spool": folder, "target": "sm_90", "workers": sizes.workers, "log": log}
        judge = TaskJudge.open(task, source_of(name), python=Path(sys.executable), **options)
        try:
            screened = _screened(judge, list(islice(variants(name), sizes.count)))
            confirmed = [_confirmed(judge, again(name, number)) for number in range(sizes.confirm)]
        finally:
            judge.close()
    _tell(name, screened, confirmed)
    return {"screened": screened, "confirmed": confirmed}


def _task_file(name: str) -> Path:
    return EXAMPLES / f"{name}.evolve.py"


def _elsewhere(name: str, sizes: _Sizes, checkout: Path, ours: float) -> dict[str, Any]:
    """KernelBench's candidates an hour, and ours over them."""
    sources = list(islice(variants(name), sizes.count))
    rows = kernelbench.evaluated(checkout, _task_file(name), name, sources, PRECISION[name])
    theirs = kernelbench.an_hour(rows)
    correct = sum(row.correct for row in rows)
    click.echo(
        f"{name}: KernelBench's evaluator {theirs:.0f} candidates an hour, one workload each, {correct} of {len(rows)} "
        f"correct; the judge {ours / theirs:.1f}× as many"
    )
    return {"an_hour": theirs, "ratio": ours / theirs, "rows": [asdict(row) for row in rows]}


def _screened(judge: TaskJudge, sources: list[str]) -> dict[str, Any]:
    first = judge.submit("first", sources[0], Stage.SCREENING).result(PATIENCE_S)
    began = time.monotonic()
    jobs = [judge.submit(f"c{i}", source, Stage.SCREENING) for i, source in enumerate(sources[1:])]
    done = [job.result(PATIENCE_S) for job in jobs]
    took = time.monotonic() - began
    return {
        "candidates": len(done),
        "an_hour": 3600 * len(done) / took,
        "verdicts": Counter(_word(judgement) for judgement in done),
        "seconds_by_phase": _by_phase(done),
        "trust": first.verdict.trust.value,
        "reasons": sorted({judgement.verdict.reason[:200] for judgement in done})[:8],
    }


def _confirmed(judge: TaskJudge, source: str) -> dict[str, Any]:
    began = time.monotonic()
    judgement = judge.submit("again", source, Stage.CONFIRMATION).result(PATIENCE_S)
    verdict = judgement.verdict
    interval = verdict.interval
    return {
        "seconds": round(time.monotonic() - began, 2),
        "seconds_by_phase": _by_phase([judgement]),
        "verdict": verdict.speed.value,
        "ratio": verdict.ratio,
        "half_width": None if interval is None else (interval.high - interval.low) / 2,
        "reason": verdict.reason,
    }


def _by_phase(judgements: list[Judgement]) -> dict[str, float]:
    """Of one judgement, on average."""
    phases = Counter[str]()
    for judgement in judgements:
        phases.update(_seconds(judgement))
    return {phase: round(total / len(judgements), 4) for phase, total in phases.items()}


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
        verdicts = dict(Counter(one["verdict"] for one in confirmed))
        phases = confirmed[-1]["seconds_by_phase"]
        click.echo(f"{name}: confirmed against itself in {seconds:.1f} s: {verdicts}, seconds {phases}")
    for reason in screened["reasons"]:
        click.echo(f"   {reason}")


if __name__ == "__main__":
    main()
