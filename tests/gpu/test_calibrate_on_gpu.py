"""A calibration on a real GPU, through the command, and what the judge and doctor make of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.calibration import Calibration
from evolve_core.judge.calibration_store import stored
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Speed, Stage
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example, variants

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def cli(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "evolve_core", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def told(cache: Path) -> dict[str, Any]:
    assert "not measured under driver" in cli(cache, "doctor").stdout
    began = time.monotonic()
    done = cli(cache, "calibrate", "--json")
    print(f"calibrated in {time.monotonic() - began:.1f} s\n{done.stdout}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def found(told: dict[str, Any], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Calibration:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    device = list_devices()[0]
    kept = stored(device["uuid"], device["driver"])
    assert kept is not None
    return kept


@pytest.fixture
def judges(found: Calibration, tmp_path: Path) -> Iterator[Judges]:
    judges = Judges(tmp_path, lambda name: Texts(*example(name)))
    yield judges
    judges.close()


def test_the_figures_are_in_the_order_that_hardware_has(found: Calibration, told: dict[str, Any]) -> None:
    assert found.to_json() == {key: told[key] for key in found.to_json()}
    assert 50 < found.peak_gbps < 20_000
    assert found.bandwidth_gbps["copy"] > 0.5 * found.peak_gbps
    assert found.tflops["fp16"] > found.tflops["fp32"]
    assert 0 < found.empty_us < found.launch_us < 50
    assert found.l2_bytes > 0 and found.flush_us > 0
    assert 0.005 <= found.delta < 0.1
    assert found.noise.processes == 10 and found.noise.pairs == 60
    assert "<svg" in Path(told["picture"]).read_text()


def test_doctor_says_so(found: Calibration, cache: Path) -> None:
    line = next(line for line in cli(cache, "doctor").stdout.splitlines() if "calibration" in line)
    assert line.startswith("ok") and f"{100 * found.delta:.2f} %" in line


@pytest.mark.parametrize(
    ("name", "variant", "speed"), [("softmax", "baseline", Speed.SAME), ("layernorm", "single-warps8", Speed.FASTER)]
)
def test_honest_kernels_are_judged_as_before(judges: Judges, name: str, variant: str, speed: Speed) -> None:
    verdict = judges.judge(name, variants(name)[variant], Stage.CONFIRMATION)
    print(f"{name} {variant}: {verdict.speed}, {verdict.reason}, {dict(verdict.environment).get('held against')}")
    assert (verdict.correctness, verdict.failure, verdict.speed) == (Correctness.CORRECT, None, speed)
    assert "calibrated on" in dict(verdict.environment)["held against"]
