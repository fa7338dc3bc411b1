"""The same candidates through KernelBench's own evaluator (github.com/ScalingIntelligence/KernelBench).

``python -m benchmarks.judging.kernelbench CHECKOUT``: one JSON object on stdin (``original``, ``candidates``: sources;
``precision``: a dtype's name), rows on the last line of stdout. A process of its own, because the evaluator executes
candidates where it stands. As its scripts do, it asks for five inputs to be right on and a hundred timed calls.

Everything is in the evaluator's favour: one process for all candidates, whose start does not count; inputs drawn on the
device; and one workload for each candidate, where the judge takes all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click

CORRECT_TRIALS, PERFORMANCE_TRIALS = 5, 100
"""The defaults of KernelBench's scripts/eval_from_generations.py."""
PATIENCE_S = 3600.0
_NEVER_CALLED = ("openai", "litellm", "dotenv", "requests", "tqdm")
"""KernelBench's utilities import clients of language models and a progress bar, which its evaluator does not use."""
_ORIGINAL = """{task}

class Model(torch.nn.Module):
    def forward(self, *inputs):
        return reference(*inputs)


def get_init_inputs():
    return []


def get_inputs():
    generator = torch.Generator("cuda").manual_seed(int(torch.randint(2**31, ())))
    return list(next(iter(workloads()))(generator, "cuda").values())
"""
_CANDIDATE = """{source}

class ModelNew(torch.nn.Module):
    def forward(self, *inputs):
        return {entry}(*inputs)
"""


@dataclass(frozen=True)
class Evaluated:
    """One candidate: how long the evaluator took, and what it found."""

    seconds: float
    compiled: bool
    correct: bool


def evaluated(checkout: Path, task_file: Path, entry: str, sources: list[str], precision: str) -> list[Evaluated]:
    """Every candidate, one after the other, on the first workload of the task. ``precision``: of its inputs.

    Raises click.ClickException where the evaluator does not run here.
    """
    asked = {
        "original": _ORIGINAL.format(task=task_file.read_text()),
        "candidates": [_CANDIDATE.format(source=source, entry=entry) for source in sources],
        "precision": precision,
    }
    command = [sys.executable, "-m", "benchmarks.judging.kernelbench", str(checkout)]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise click.ClickException(
            f"KernelBench's evaluator in {checkout} does not run here: {said[0]}; give its checkout's folder, and "
            f"install what it needs into {sys.executable}"
        )
    return [Evaluated(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def an_hour(rows: list[Evaluated]) -> float:
    """Candidates."""
    return 3600 * len(rows) / sum(row.seconds for row in rows)


def main() -> None:
    asked = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        torch, evaluate = importlib.import_module("torch"), _evaluator(Path(sys.argv[1]))
        rows = [_evaluate(evaluate, torch, asked, candidate) for candidate in asked["candidates"]]
    print(json.dumps(rows))


def _evaluate(evaluate: Any, torch: Any, asked: dict[str, Any], candidate: str) -> dict[str, Any]:
    began = time.monotonic()
    result = evaluate(
        asked["original"],
        candidate,
        num_correct_trials=CORRECT_TRIALS,
        num_perf_trials=PERFORMANCE_TRIALS,
        measure_performance=True,
        device=torch.device("cuda:0"),
        backend="triton",
        precision=getattr(torch, asked["precision"]),
    )
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "compiled": bool(result and result.compiled),
        "correct": bool(result and result.correctness),
    }


def _evaluator(checkout: Path) -> Any:
    for name in _NEVER_CALLED:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = _stand_in(name)
    sys.path.insert(0, str(checkout / "src"))
    return importlib.import_module("kernelbench.eval").eval_kernel_against_ref


def _stand_in(name: str) -> ModuleType:
    """A module that has every name, for ``from NAME import …``."""

    def named(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return lambda *args, **options: None

    module = ModuleType(name)
    vars(module)["__getattr__"] = named
    return module


if __name__ == "__main__":
    main()
