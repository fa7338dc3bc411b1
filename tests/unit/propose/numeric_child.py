"""Runs candidates and their originals under Triton's interpreter: JSON jobs on stdin, JSON results on stdout.

A job is {"id", "case", "base", "source"}; "base" "" compares with the product of the inputs instead of a kernel.
A result is {"worst"}: the largest difference relative to 1 + max|base|, or {"error"}.
"""

import importlib.util
import json
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"

import torch
from corpus_cases import CASES


def entry(source, name, folder, number):
    file = Path(folder) / f"candidate_{number}.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def tensors(specs):
    generator = torch.Generator().manual_seed(7)
    for dtype, shape in specs:
        if dtype.startswith("below "):
            yield torch.randint(0, int(dtype.split()[1]), shape, generator=generator)
        else:
            yield torch.randn(shape, generator=generator).to(getattr(torch, dtype))


def outputs(function, specs):
    made = function(*tensors(specs))
    return made if isinstance(made, tuple) else (made,)


def worst(job, folder, number):
    case = CASES[job["case"]]
    base = entry(job["base"], case.entry, folder, f"{number}_base") if job["base"] else torch.matmul
    candidate = entry(job["source"], case.entry, folder, number)
    found = 0.0
    for specs in case.calls:
        for one, other in zip(outputs(base, specs), outputs(candidate, specs), strict=True):
            if one.shape != other.shape or one.dtype != other.dtype or not torch.isfinite(other).all():
                return float("inf")
            difference = (one.double() - other.double()).abs().max() / (1 + one.double().abs().max())
            found = max(found, difference.item())
    return found


def main():
    # The interpreter computes masked-off lanes with numpy, which warns of what the GPU does in silence.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, job in enumerate(json.load(sys.stdin)):
            try:
                results[job["id"]] = {"worst": worst(job, folder, number)}
            except Exception:  # noqa: BLE001 - whatever a candidate raises is its result
                results[job["id"]] = {"error": traceback.format_exc(limit=-3)}
    json.dump(results, sys.stdout)


main()
