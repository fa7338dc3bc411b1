"""``python -m benchmarks.mutants [--operators softmax,matmul] [--seeds N] [--json FILE]``

How good is the acceptance rule of judge/correctness.py? Of every operator there are honest variants, which it should
accept, and mutants, which it should reject; both were written down before the rule was asked. Aims: at most 1 % of
mutants accepted, at most 2 % of honest variants rejected. On a CPU, in fp32, fp16 and bf16 emulated with torch.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.console import Console

from benchmarks.mutants.families import FAMILIES, find
from benchmarks.mutants.study import Row, judged
from benchmarks.mutants.tables import family_table, listings, summary


@click.command()
@click.option("--operators", default="", help="Only those whose name or family contains one of these words.")
@click.option("--seeds", default=1, show_default=True, help="Times that every operator is judged on fresh inputs.")
@click.option("--first-seed", default=0, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--json", "output", type=click.Path(path_type=Path), default=None)
def main(operators: str, seeds: int, first_seed: int, jobs: int, output: Path | None) -> None:
    started = time.monotonic()
    words = [word.strip() for word in operators.split(",") if word.strip()]
    names = [
        (family, operator.name)
        for family, members in FAMILIES.items()
        for operator in members
        if not words or any(word in operator.name or word in family for word in words)
    ]
    wanted = [(family, name, seed) for seed in range(first_seed, first_seed + seeds) for family, name in names]
    with ProcessPoolExecutor(jobs, initializer=_quietly) as pool:
        rows = [row for found in pool.map(_one, wanted) for row in found]
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(family_table(rows))
    for line in listings(rows):
        console.print(line)
    seconds = round(time.monotonic() - started, 1)
    console.print(f"{len(names)} operators, {seeds} seed(s), {seconds:.0f} s")
    if output:
        output.write_text(json.dumps(_document(rows, seconds), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _quietly() -> None:
    torch.set_num_threads(1)


def _one(wanted: tuple[str, str, int]) -> list[Row]:
    family, name, seed = wanted
    return judged(family, find(name), seed)


def _document(rows: Iterable[Row], seconds: float) -> dict[str, object]:
    rows = list(rows)
    return {
        "what": "The acceptance rule on honest variants and mutants of operators that GPU kernels implement.",
        "command": " ".join(["python -m benchmarks.mutants", *sys.argv[1:]]),
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "seconds": seconds,
        "summary": summary(rows),
        "wrongly judged": [asdict(row) for row in rows if row.accepted != (row.kind in ("honest", "native"))],
        "mutants of the first seed, rejected because": [
            f"{row.operator}: {row.name}: {row.where}: {row.reason}"
            for row in rows
            if not row.accepted and row.kind == "mutant" and row.seed == rows[0].seed
        ],
    }


if __name__ == "__main__":
    main()
