"""The judge's GPU side on the examples, from the step's entry on: ``python -m tests.gpu.judge_examples OUT.json
[GROUP…]``.

Groups: ``screening`` (honest and dishonest candidates), ``null`` (every example against itself, confirmed: what the
noise is), ``confirm`` (one honest candidate each). Prints one line a candidate and writes every observation."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evolve_core.judge.host.gpu.cuda_compiler import compile_cubin
from evolve_core.judge.host.gpu.forking import fork_child
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.host.gpu.step import judge_step

from .candidates import CUDA_SOURCE, CUDA_TASK, SCREENED
from .variants import example, variants

DEADLINE_S = 240.0
CONFIRMED = {
    "layernorm": "single-warps8",
    "matmul": "tile128x128x64-warps8-stages3-grouped",
    "swiglu": "block1024-warps4",
    "softmax": "warps8",
}


def observe(name: str, candidate: str | None, stage: str, *, kind: str = "entry", **options: Any) -> dict[str, Any]:
    """What the step says of ``candidate`` for the example ``name``; in a child, because this process must not meet
    CUDA.
    """
    source, task = (CUDA_SOURCE, CUDA_TASK) if kind == "launches" else example(name)
    suffix = "cu" if kind == "launches" else "py"
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / f"{name}.{suffix}"
        original.write_text(source)
        count = task.count("), (") + 1 if "in [(" in task else 3
        workloads = [{"id": f"w{i}", "recipe": {"origin": "listed", "index": i}} for i in range(count)]
        domain = [{"id": f"d{i}", "recipe": {"origin": "domain", "domain_seed": i}} for i in range(2)]
        payload = {
            "task_text": task,
            "task_file": str(original.with_suffix(".evolve.py")),
            "source_file": str(original),
            "entry": name,
            "kind": kind,
            "kernels": [],
            "baseline": source,
            "candidate": candidate,
            "stage": stage,
            "device_uuid": list_devices()[0]["uuid"],
            "lock_folder": folder,
            "cache_folder": f"{folder}/compiled",
            "deadline_s": DEADLINE_S,
            "checked": [*workloads, *(domain if "def domain" in task else [])],
            "timed": workloads,
            **(_compiled(Path(folder), source, candidate) if kind == "launches" else {}),
            **options,
        }
        report = Path(folder) / "observation.json"
        job = Path(folder) / "job"
        job.mkdir()
        child = fork_child(
            lambda: report.write_text(json.dumps(judge_step(payload, job))) and None, "step", DEADLINE_S, ()
        )
        child.wait(DEADLINE_S)
        return json.loads(report.read_text())


def _compiled(folder: Path, baseline: str, candidate: str | None) -> dict[str, Any]:
    """What the ``compile-cuda`` step leaves to the device's."""
    found = {}
    for which, source in (("baseline", baseline), ("candidate", candidate)):
        if source is not None:
            cubin = compile_cubin(source, "kernel.cu", list_devices()[0]["capability"]).cubin
            found[which] = hashlib.sha256(cubin).hexdigest()
            (folder / f"{found[which]}.cubin").write_bytes(cubin)
    return {"binaries": str(folder), "compiled": found}


def main(out: Path, groups: list[str]) -> None:
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    found: dict[str, Any] = {}
    if "screening" in groups:
        for label, (name, candidate, options) in SCREENED.items():
            _record(out, found, f"screening {label}", name, candidate, "screening", options)
    if "null" in groups:
        for name in ("matmul", "swiglu", "softmax", "layernorm"):
            _record(out, found, f"null {name}", name, None, "confirmation", {})
    if "confirm" in groups:
        for name, variant in CONFIRMED.items():
            _record(out, found, f"confirm {name} {variant}", name, variants(name)[variant], "confirmation", {})


def _record(
    out: Path, found: dict[str, Any], label: str, name: str, candidate: str | None, stage: str, options: dict[str, Any]
) -> None:
    started = time.monotonic()
    observation = observe(name, candidate, stage, **options)
    found[label] = {**observation, "wall_s": time.monotonic() - started}
    out.write_text(json.dumps(found))
    failure = observation["failure"]
    outputs = [row for check in observation["checks"] for row in check["outputs"]]
    worst = max((row["max_error"] or 0.0 for row in outputs), default=None)
    print(
        f"{label}: {time.monotonic() - started:.1f} s, {len(observation['checks'])} checks, worst error {worst}, "
        f"ratios {[_ratio(timing) for timing in observation['timing'][:3]]}, "
        f"seconds of the last round {observation['environment'].get('seconds')}, "
        f"failure {failure and (failure['kind'], failure['message'][:160], failure['line'])}",
        flush=True,
    )


def _ratio(timing: dict[str, Any]) -> float:
    pairs = sorted(a / b for a, b in zip(timing["baseline_ns"], timing["candidate_ns"], strict=True))
    return round(pairs[len(pairs) // 2], 4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["screening", "null", "confirm"])
