"""The host's side of a calibration on the CPU: only the device and its clock are replaced."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gpu_rounds import HostClock, double, job, recorded_once, runner

from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu import calibrate
from evolve_core.judge.host.gpu.calibrate import SIZES, calibrated, noise_job
from evolve_core.judge.host.gpu.job import GpuJob
from evolve_core.judge.host.gpu.least import least_work, written_bytes
from evolve_core.judge.host.gpu.lock import device_lock
from evolve_core.judge.host.gpu.probes import SAMPLES, _products, _traffic, measured
from evolve_core.judge.host.tasks import load_task

__all__ = ["job", "recorded_once"]

PEAKS = {"probes": [{"name": "read", "work": 1, "ns": [1.0]}], "environment": {"l2_bytes": 1, "throttle": []}}


@pytest.fixture
def noisy(job: GpuJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuJob:
    """The job of a calibration with smaller sizes, fewer samples, and a kernel that needs no GPU."""
    monkeypatch.setattr(calibrate, "SIZES", {"small": 33, "large": 65})
    payload = {"device_uuid": "GPU-test", "lock_folder": str(tmp_path / "locks"), "deadline_s": 60.0}
    made = noise_job(payload, tmp_path)
    assert made.timed == ["small", "large"] and made.load_candidate is None and made.process_count == 10
    return replace(made, load_baseline=runner(double), pairs=3, processes=2, device="cpu")


def test_noise_is_a_confirmation_of_a_kernel_against_itself(noisy: GpuJob) -> None:
    seen = calibrated(noisy, lambda: PEAKS)
    assert seen["failure"] is None
    assert seen["probes"] == PEAKS["probes"]
    assert [(one["process"], one["workload"]) for one in seen["timing"]] == [
        (process, size) for process in (0, 1) for size in SIZES
    ]
    assert all(len(one["baseline_ns"]) == len(one["candidate_ns"]) == 3 for one in seen["timing"])
    assert seen["environment"]["l2_bytes"] == 1


def test_a_measuring_process_that_ends_is_told_and_nothing_else_is_run(noisy: GpuJob) -> None:
    seen = calibrated(noisy, partial(os._exit, 3))  # type: ignore[arg-type]
    assert seen["failure"]["kind"] == "crash" and "ended with 3" in seen["failure"]["message"]
    assert seen["timing"] == seen["probes"] == []


def test_a_device_that_slowed_down_is_not_what_it_can_do(noisy: GpuJob) -> None:
    slow = {**PEAKS, "environment": {"throttle": ["hardware-thermal"]}}
    assert calibrated(noisy, lambda: slow)["failure"]["kind"] == "contended"


def test_it_waits_for_its_turn(noisy: GpuJob, tmp_path: Path) -> None:
    with device_lock("GPU-test", tmp_path / "locks", 1.0):
        failure = calibrated(replace(noisy, deadline_s=0.2), lambda: PEAKS)["failure"]
    assert failure["kind"] == "contended" and "another measurement" in failure["message"]


def test_every_probe_is_timed_and_says_how_much_it_does() -> None:
    watch: Any = HostClock(None)
    rows = [measured(probe, watch) for probe in (*_traffic(4096, "cpu"), *_products(16, "cpu"))]
    assert {row["name"]: row["work"] for row in rows} == {
        "read": 4096,
        "write": 4096,
        "copy": 8192,
        "triad": 12288,
        **dict.fromkeys(("fp32", "tf32", "fp16", "bf16"), 2 * 16**3),
    }
    assert all(len(row["ns"]) == SAMPLES and min(row["ns"]) > 0 for row in rows)


def least(tmp_path: Path, reference: str, inputs: dict[str, Any], more: str = "") -> dict[str, Any]:
    text = f"import torch\n\n\ndef workloads():\n    yield None\n\n\n{reference}\n\n\n{more}\n"
    return least_work(load_task(text, tmp_path / "t.evolve.py", tmp_path), inputs)


def test_what_a_softmax_depends_on_is_every_element(tmp_path: Path) -> None:
    x = torch.linspace(1, 2, 128).reshape(8, 16)  # A value near zero would contribute nothing.
    assert least(tmp_path, "def reference(x):\n    return torch.softmax(x, -1)", {"x": x})["read_bytes"] == 8 * 16 * 4


def test_rows_that_nobody_looks_up_need_not_be_read(tmp_path: Path) -> None:
    inputs = {"table": torch.randn(100, 4), "rows": torch.tensor([3, 3, 7])}
    found = least(tmp_path, "def reference(table, rows):\n    return table[rows]", inputs)
    assert found["read_bytes"] == 2 * 4 * 4


def test_rounding_is_no_dependence(tmp_path: Path) -> None:
    """The bias before a normalisation changes nothing: its derivative is zero but for rounding."""
    text = "def reference(x, b):\n    y = x + b\n    return (y - y.mean()) / y.std()"
    inputs = {"x": torch.randn(64, dtype=torch.float64), "b": torch.full((1,), 0.3, dtype=torch.float64)}
    assert least(tmp_path, text, inputs)["read_bytes"] == 64 * 8


@pytest.mark.parametrize(
    "text",
    [
        "def reference(x):\n    return x.mul_(2)",
        "def reference(x):\n    return x.argmax()",
        "def reference(x):\n    raise ValueError",
        "pass",
    ],
    ids=["in place", "no derivative", "raises", "no reference"],
)
def test_where_nothing_can_be_shown_nothing_is_claimed(tmp_path: Path, text: str) -> None:
    assert least(tmp_path, text, {"x": torch.randn(16)}) == {"read_bytes": 0, "flops": {}}


def test_memory_that_is_shared_or_repeated_counts_once_or_not_at_all(tmp_path: Path) -> None:
    x = torch.linspace(1, 2, 16)
    text = "def reference(x, y):\n    return x * y"
    assert least(tmp_path, text, {"x": x, "y": x})["read_bytes"] == 64
    assert least(tmp_path, text, {"x": x, "y": torch.randn(1).expand(16)})["read_bytes"] == 64
    # An entry may also return numbers.
    plain: Any = ("count", 3)
    assert written_bytes([("out", x), ("again", x), ("y", torch.randn(2)), plain], {"y"}) == 64


def test_operations_are_the_tasks_own_word(tmp_path: Path) -> None:
    text = "def least_flops(x):\n    return {'fp16': 2 * x.numel()}"
    assert least(tmp_path, "", {"x": torch.randn(16)}, text)["flops"] == {"fp16": 32.0}
    with pytest.raises(Exception, match=r"least_flops\(\) must return"):
        least(tmp_path, "", {"x": torch.randn(16)}, "def least_flops(x):\n    return 32")


def test_only_who_asks_is_told_the_least_work(job: GpuJob) -> None:
    from evolve_core.judge.host.gpu.run import judge_on_gpu

    asked = replace(job, least_work=lambda inputs: {"read_bytes": inputs["x"].numel() * 4, "flops": {}})
    (timing,) = judge_on_gpu(asked)["timing"]
    assert timing["least"] == {"dram_bytes": 2 * 33 * 4 - 1, "flops": {}}
    draws = iter((400, 80, 400))
    varying = replace(job, least_work=lambda inputs: {"read_bytes": next(draws), "flops": {"fp16": 7.0}})
    (smallest,) = judge_on_gpu(varying)["timing"]
    assert smallest["least"] == {"dram_bytes": 80 + 33 * 4 - 1, "flops": {"fp16": 7.0}}

    def refuses(inputs: dict[str, Any]) -> dict[str, Any]:
        raise StepError("task-error", "least_flops() must return", "t.evolve.py")

    failure = judge_on_gpu(replace(job, least_work=refuses))["failure"]
    assert (failure["message"], failure["file"]) == ("least_flops() must return", "t.evolve.py")
    (plain,) = judge_on_gpu(job)["timing"]
    assert "least" not in plain
    assert math.isfinite(plain["empty_ns"])
