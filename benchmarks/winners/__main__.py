"""``python -m benchmarks.winners [--seeds 20] [--budget 24c] [--examples softmax,matmul] [--jobs 1] [--json FILE]``

For each example and seed: a whole run without a GPU, then a second opinion on its winner (recheck.py). The times are
estimates; what is measured here is whether winners are found, and whether any is wrong.
"""

from __future__ import annotations

import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.winners.runs import one


@click.command()
@click.option("--seeds", default=20, show_default=True)
@click.option("--budget", default="24c", show_default=True)
@click.option("--examples", default="softmax,layernorm,matmul,swiglu", show_default=True)
@click.option("--draws", default=12, show_default=True, help="Inputs that each winner is checked on again.")
@click.option("--jobs", default=1, show_default=True, help="Runs at once; each wants two cores.")
@click.option("--json", "output", type=click.Path(path_type=Path), default=None)
def main(seeds: int, budget: str, examples: str, draws: int, jobs: int, output: Path | None) -> None:
    # Each process carries out its runs in its main thread, as the command line does.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        asked = [(name, seed, budget, draws) for seed in range(seeds) for name in examples.split(",")]
        rows = list(pool.map(one, *zip(*asked, strict=True)))
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


if __name__ == "__main__":
    main()
