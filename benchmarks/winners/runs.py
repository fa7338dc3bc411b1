"""One run of an example without a GPU, and a second opinion on its winner."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

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
