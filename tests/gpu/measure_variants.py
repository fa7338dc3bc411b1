"""Measure every hand-made variant of the examples on this machine's GPU: ``python -m tests.gpu.measure_variants
OUT.json``.

All variants of one kernel take turns in one process, on the same inputs and with a cold L2 cache, fifteen rounds in a
new random order each; every output is compared with the reference. The file carries the sources, so that whoever
predicts these times compiles exactly what was measured. These are screening numbers: good for ranking, no claims."""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import triton

from evolve_core.judge.host import tasks
from evolve_core.judge.host.buffers import flatten_outputs
from evolve_core.judge.host.gpu.clock import Stopwatch
from evolve_core.judge.host.gpu.forking import fork_child
from evolve_core.judge.host.gpu.nvml import device_state, list_devices
from evolve_core.judge.host.loading import load_source

from .variants import NAMES, example, variants

ROUNDS = 15
COMPILERS = 12
SEED = 20


def main(out: Path) -> None:
    device = list_devices()[0]
    os.environ.update(CUDA_DEVICE_ORDER="PCI_BUS_ID", CUDA_VISIBLE_DEVICES=device["uuid"])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / "cache")
        started = time.monotonic()
        _compile_all(Path(folder))
        print(f"compiled in {time.monotonic() - started:.0f} s", flush=True)
        report = Path(folder) / "report.json"
        child = fork_child(lambda: report.write_text(json.dumps(_measure(Path(folder)))), "measure", 280, ())
        if child.wait(280) != 0:
            raise SystemExit("measuring failed; see the log above")
        result = json.loads(report.read_text())
    result["environment"] |= {"device": device, "state_after": device_state(device["uuid"])}
    out.write_text(json.dumps(result, indent=1))
    print(f"measured in {time.monotonic() - started:.0f} s", flush=True)


def _compile_all(folder: Path) -> None:
    """Compile in parallel, by calling each variant once: the timing process then finds everything in Triton's cache."""
    jobs = [(name, variant) for name in NAMES for variant in variants(name)]
    children = []
    for number in range(COMPILERS):
        mine = jobs[number::COMPILERS]
        children.append(fork_child(lambda mine=mine: _compile(mine, folder), f"compile-{number}", 200, ()))
    for child in children:
        child.wait(200)


def _compile(jobs: list[tuple[str, str]], folder: Path) -> None:
    for name, variant in jobs:
        try:
            entry = _entry(name, variants(name)[variant], folder / f"c-{os.getpid()}-{name}-{variant}")
            for inputs in _workloads(name, folder / f"t-{os.getpid()}-{name}-{variant}").values():
                entry(**inputs)
            torch.cuda.synchronize()
        except Exception as failed:  # noqa: BLE001 — the timing process meets the same failure and records it
            print(f"{name} {variant}: {type(failed).__name__}: {str(failed)[:200]}", flush=True)


def _measure(folder: Path) -> dict[str, Any]:
    watch = Stopwatch()
    empty_ns = [watch.sample(lambda: None)[0].device_ns for _ in range(31)]
    kernels = {name: _measure_kernel(name, watch, folder) for name in NAMES}
    properties = torch.cuda.get_device_properties(0)
    return {
        "environment": {
            "torch": torch.__version__,
            "triton": triton.__version__,
            "python": platform.python_version(),
            "device_name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "l2_bytes": watch.l2_bytes,
            "hold": watch.hold_kind,
            "empty_us": median(empty_ns) / 1e3,
            "copy_gbps": _copy_gbps(watch),
            "rounds": ROUNDS,
            "cold_l2": True,
        },
        "kernels": kernels,
    }


def _measure_kernel(name: str, watch: Stopwatch, folder: Path) -> dict[str, Any]:
    sources = variants(name)
    workloads = _workloads(name, folder / f"m-{name}")
    reference = tasks.load_task(
        example(name)[1], folder / f"{name}.evolve.py", _made(folder / f"r-{name}")
    ).module.reference
    times: dict[str, dict[str, Any]] = {}
    for label, inputs in workloads.items():
        truth = reference(**inputs).double()
        entries = {}
        for variant, source in sources.items():
            row = times.setdefault(variant, {})
            try:
                entry = _entry(name, source, folder / f"v-{name}-{variant}-{label}")
                worst = float((entry(**inputs).double() - truth).abs().max())
                torch.cuda.synchronize()
            except Exception as failed:  # noqa: BLE001 — a variant that cannot run here is part of the result
                row[label] = {"failed": f"{type(failed).__name__}: {str(failed)[:300]}"}
                continue
            row[label] = {"max_error": worst, "samples_us": [], "host_us": [], "held": 0}
            entries[variant] = entry
        _rounds(watch, entries, inputs, times, label)
    return {"task": example(name)[1], "workloads": list(workloads), "variants": {
        variant: {"source": sources[variant], "workloads": times[variant]} for variant in sources
    }}  # fmt: skip


def _rounds(
    watch: Stopwatch, entries: dict[str, Any], inputs: dict[str, Any], times: dict[str, dict[str, Any]], label: str
) -> None:
    order, rng = list(entries), random.Random(SEED)
    watch.expect(200_000)
    for number in range(ROUNDS + 2):
        rng.shuffle(order)
        for variant in order:
            sample, _ = watch.sample(lambda entry=entries[variant]: entry(**inputs))
            if number < 2:
                continue  # clocks are still coming up
            row = times[variant][label]
            row["samples_us"].append(round(sample.device_ns / 1e3, 3))
            row["host_us"].append(round(sample.host_ns / 1e3, 1))
            row["held"] += sample.held
    for variant in order:
        row = times[variant][label]
        row["us"] = median(row["samples_us"])
        row["host_us"] = median(row["host_us"])


def _copy_gbps(watch: Stopwatch) -> float:
    """Device-to-device copy of 2 GiB, bytes read plus bytes written."""
    source = torch.empty(1 << 31, dtype=torch.uint8, device="cuda").fill_(7)
    target = torch.empty_like(source)
    target.copy_(source)
    best = median(watch.sample(lambda: target.copy_(source))[0].device_ns for _ in range(7))
    return 2 * (1 << 31) / best


def _workloads(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The task's listed workloads on the device, by a label of shapes."""
    task = tasks.load_task(example(name)[1], folder / f"{name}.evolve.py", _made(folder))
    found = {}
    for _, workload in tasks.listed(task):
        inputs = tasks.draw_from(task, workload, SEED, "cuda")
        label = " ".join(f"{key}[{','.join(map(str, value.shape))}]" for key, value in inputs.items())
        found[label] = inputs
    return found


def _entry(name: str, source: str, folder: Path) -> Any:
    module = load_source(source, folder / f"{name}.py", _made(folder), "compile-error")
    function = getattr(module, name)
    return lambda **inputs: flatten_outputs(function(**inputs), inputs)[0][1]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
