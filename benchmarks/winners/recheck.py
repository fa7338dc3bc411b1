"""A second opinion on a winner. Of the judge's code it shares only what lets every Triton's interpreter count loops.

Fresh draws of the domain, Triton's interpreter, fp64 references, one plain tolerance per dtype. Runs in a process
of its own, ``recheck.py TASK SOURCE WINNER DRAWS SEED``, and prints one JSON line:
{"checked": n, "worst": error over tolerance, "wrong": [descriptions]}.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import importlib.util
import json
import random
import sys
from types import ModuleType

import torch

from evolve_core.judge.host.interpret.compat import indexable_tensors

# About ten times the rounding of the output's dtype, relative to the largest true value.
TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float32: 1e-5}


def load(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(task_file: str, source_file: str, winner_file: str, draws: int, seed: int) -> None:
    task, winner = load(task_file, "task"), load(winner_file, "winner")
    rng = random.Random(seed)
    wrong, worst = [], 0.0
    for number in range(draws):
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        inputs = task.domain(rng)(generator, "cpu")
        wide = {
            k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in inputs.items()
        }
        truth = task.reference(**wide)
        with indexable_tensors():
            found = getattr(winner, task.entry)(**inputs)
        scale = max(float(truth.abs().max()), 1e-30)
        error = float((found.double() - truth).abs().max()) / scale / TOLERANCE[found.dtype]
        worst = max(worst, error)
        if not error <= 1.0:
            shapes = {k: tuple(v.shape) for k, v in inputs.items() if isinstance(v, torch.Tensor)}
            wrong.append(f"draw {number} {shapes}: {error:.3g} times the tolerance")
    print(json.dumps({"checked": draws, "worst": worst, "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
