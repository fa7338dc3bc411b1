"""What a judge host would answer to ``calibrate``: figures that are easy to reckon with."""

from __future__ import annotations

import math
from typing import Any

DEVICE = {
    "index": 0,
    "uuid": "GPU-1",
    "name": "NVIDIA <fast>",
    "capability": "9.0",
    "memory_bytes": 1 << 37,
    "driver": "580.1",
}


def timing(process: int, log_ratio: float, workload: str = "small") -> dict[str, Any]:
    return {
        "workload": workload,
        "stage": "confirmation",
        "process": process,
        "baseline_ns": [10_000.0 * math.exp(log_ratio)] * 60,
        "candidate_ns": [10_000.0] * 60,
        "cold_l2": True,
        "all_outputs_checked": True,
    }


def answer(**changes: Any) -> dict[str, Any]:
    """Memory at up to 4000 GB/s, products at up to 800 TFLOP/s, processes that differ by up to 0.9 %."""
    work = {"read": 4_000_000, "write": 3_000_000, "copy": 3_500_000, "triad": 3_600_000}
    products = {"fp32": 50_000_000, "tf32": 400_000_000, "fp16": 800_000_000, "bf16": 790_000_000}
    times = {"nothing": (0, 1300.0), "empty kernel": (0, 2100.0), "flush": (1 << 27, 40_000.0)}
    probes = [
        {"name": name, "work": units, "ns": [1000.0, 1200.0, 1100.0]} for name, units in {**work, **products}.items()
    ]
    probes += [{"name": name, "work": units, "ns": [ns, ns + 50, ns + 20]} for name, (units, ns) in times.items()]
    whole = {
        "failure": None,
        "device": DEVICE,
        "probes": probes,
        "timing": [timing(process, ratio) for process, ratio in enumerate((0.001, -0.009, 0.002, 0.0, -0.001))],
        "environment": {"torch": "2.11", "triton": "3.6", "l2_bytes": 60 << 20},
    }
    return {**whole, **changes}
