"""``python -m benchmarks.winners [--seeds 20] [--budget 24c] [--examples softmax,matmul] [--json FILE]``

For each example and seed: a whole run without a GPU, then a second opinion on its winner (recheck.py). The times are
estimates; what is measured here is whether winners are found, and whether any is wrong.
"""

from __future__ import annotations

import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from evolve_core.cli.selection import select, select_task
from evolve_core.journal.model import RunSpec
from evolve_core.journal.reader import JournalReader
from evolve_core.search.budget import parse_budget
from evolve_core.search.runner import Resources, carry_out

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RECHECK = Path(__file__).with_name("recheck.py")


@dataclass(frozen=True, slots=True)
class Row:
    """One run. ``estimated_ratio`` is None without a winner; ``wrong`` holds the second opinion's objections."""

    example: str
    seed: int
    state: str
    judged: int
    correct: int
    estimated_ratio: float | None
    summary: str
    wrong: tuple[str, ...]
    seconds: float


@click.command()
@click.option("--seeds", default=20, show_default=True)
@click.option("--budget", default="24c", show_default=True)
@click.option("--examples", default="softmax,layernorm,matmul,swiglu", show_default=True)
@click.option("--draws", default=12, show_default=True, help="Inputs that each winner is checked on again.")
@click.option("--json", "output", type=click.Path(path_type=Path), default=None)
def main(seeds: int, budget: str, examples: str, draws: int, output: Path | None) -> None:
    rows = [one(name, seed, budget, draws) for seed in range(seeds) for name in examples.split(",")]
    table = Table("example", "winners", "median estimated ratio", "least", "wrong winners", "median s", box=None)
    for name in examples.split(","):
        mine = [row for row in rows if row.example == name]
        ratios = [row.estimated_ratio for row in mine if row.estimated_ratio is not None]
        wrong = sum(bool(row.wrong) for row in mine)
        middle, least = (f"{statistics.median(ratios):.2f}×", f"{min(ratios):.2f}×") if ratios else ("–", "–")
        seconds = statistics.median(row.seconds for row in mine)
        table.add_row(name, f"{len(ratios)}/{len(mine)}", middle, least, str(wrong), f"{seconds:.0f}")
    Console().print(table)
    if output:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    sys.exit(any(row.wrong for row in rows))


def one(name: str, seed: int, budget: str, draws: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-winners-") as folder:
        for suffix in (".py", ".evolve.py"):
            shutil.copy(EXAMPLES / f"{name}{suffix}", folder)
        workspace, run_id = Path(folder), secrets.token_hex(4)
        selection = select(str(workspace / f"{name}.py"))
        kernels, task = select_task(selection)
        limits = parse_budget(budget)
        spec = RunSpec(
            source_file=str(task.source_file),
            kernels=tuple(k.qualified_name for k in kernels),
            versions=tuple(k.version for k in kernels),
            base_source=selection.text,
            task_file=str(task.task_file),
            entry=task.entry,
            target="sm_90",
            seed=seed,
            budget_seconds=limits.seconds,
            budget_candidates=limits.candidates,
            proposers=("rewrite", "tune"),
        )
        resources = Resources(Path(sys.executable), knowledge=f"sqlite:///{folder}/knowledge.sqlite")
        run = carry_out(workspace, run_id, task, spec, resources)
        winner = JournalReader(workspace).candidate(run.best) if run.best else None
        wrong: tuple[str, ...] = ()
        if winner is not None:
            path = workspace / f"{name}_winner.py"
            path.write_text(winner.source, encoding="utf-8")
            wrong = second_opinion(task.task_file, task.source_file, path, draws, seed)
        seconds = (run.ended_at or run.updated_at) - run.created_at
        row = Row(
            name, seed, str(run.state), run.judged, run.correct,
            run.best_ratio, winner.summary if winner else run.reason, wrong, round(seconds, 1),
        )  # fmt: skip
    print(json.dumps(asdict(row)), flush=True)
    return row


def second_opinion(task: Path, source: Path, winner: Path, draws: int, seed: int) -> tuple[str, ...]:
    finished = subprocess.run(
        [sys.executable, str(RECHECK), str(task), str(source), str(winner), str(draws), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        return (finished.stderr.strip().splitlines()[-1],)
    return tuple(json.loads(finished.stdout.splitlines()[-1])["wrong"])


if __name__ == "__main__":
    main()
