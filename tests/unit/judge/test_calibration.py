"""What a host's raw measurements come to, where they are kept, and what times are then held against."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calibrations import DEVICE, answer, timing

from evolve_core.cli import doctor
from evolve_core.judge.calibration import Calibration, NotCalibrated, calibration_of, noise_of
from evolve_core.judge.calibration_store import calibration_file, save, stored
from evolve_core.judge.client import Device
from evolve_core.judge.floor import LeastWork
from evolve_core.judge.observation import parse_timing
from evolve_core.judge.yardstick import NOTHING_KNOWN, Yardstick, calibrated, from_data_sheets, yardstick_of
from evolve_core.report import roofline


@pytest.fixture
def found() -> Calibration:
    return calibration_of(answer(), 1_780_000_000.0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_peaks_are_the_fastest_of_the_samples(found: Calibration) -> None:
    assert found.bandwidth_gbps == {"read": 4000.0, "write": 3000.0, "copy": 3500.0, "triad": 3600.0}
    assert found.tflops == {"fp32": 50.0, "tf32": 400.0, "fp16": 800.0, "bf16": 790.0}
    assert found.peak_gbps == 4000.0
    assert found.launch_us == 2.1
    assert found.empty_us == 1.32


def test_delta_is_the_machines_own_noise_and_never_below_half_a_percent(found: Calibration) -> None:
    assert found.noise.percentile == pytest.approx(0.009 - 0.1 * 0.007)
    assert found.delta == pytest.approx(math.expm1(found.noise.percentile))
    assert found.noise.spread > 0
    quiet = replace(found, noise=replace(found.noise, percentile=0.001))
    assert quiet.delta == 0.005


def test_every_size_counts_for_the_noise() -> None:
    rows = [parse_timing(timing(process, 0.0)) for process in range(3)]
    rows += [parse_timing(timing(process, 0.02, "large")) for process in range(3)]
    noise = noise_of(rows)
    assert noise.percentile == pytest.approx(0.02)
    assert (noise.processes, noise.pairs) == (3, 60)
    with pytest.raises(ValueError, match="two processes"):
        noise_of(rows[:1])


def test_a_measurement_that_failed_says_what_to_do() -> None:
    failure = {"kind": "contended", "message": "another process computes on this GPU (pids [7])"}
    with pytest.raises(NotCalibrated, match=r"pids \[7\].*Nothing was stored.*calibrate` again"):
        calibration_of(answer(failure=failure, probes=[], timing=[]), 0.0)


@pytest.mark.parametrize("broken", [{"probes": []}, {"timing": []}, {"environment": {}}])
def test_half_an_answer_is_none(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        calibration_of(answer(**broken), 0.0)


def test_it_is_kept_for_this_device_and_driver_alone(found: Calibration, cache: Path) -> None:
    file = save(found)
    assert file.is_relative_to(cache)
    assert stored("GPU-1", "580.1") == found
    assert stored("GPU-1", "590.0") is None
    assert stored("GPU-2", "580.1") is None
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_damaged_file_means_not_calibrated(found: Calibration, cache: Path) -> None:
    file = save(found)
    for text in ("", "[]", "{}", json.dumps({**found.to_json(), "tflops": {"fp32": 0.0}})):
        file.write_text(text)
        assert stored("GPU-1", "580.1") is None
    # A copy under another device's name does not speak for that device.
    calibration_file("GPU-2", "580.1").write_text(json.dumps(found.to_json()))
    assert stored("GPU-2", "580.1") is None


def test_a_write_that_fails_leaves_the_old_one(found: Calibration, cache: Path) -> None:
    file = save(found)
    unwritable: Any = {"read": {1, 2}}
    with pytest.raises(TypeError):
        save(replace(found, bandwidth_gbps=unwritable))
    assert stored("GPU-1", "580.1") == found
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_cache_is_where_xdg_says() -> None:
    assert calibration_file("a/b", "1", {"XDG_CACHE_HOME": "/c"}) == Path("/c/kernel-evolve/calibration/a_b-1.json")
    home = Path.home() / ".cache/kernel-evolve/calibration/u-1.json"
    assert calibration_file("u", "1", {}) == calibration_file("u", "1", {"XDG_CACHE_HOME": "relative"}) == home


def test_a_calibrated_device_is_held_against_itself(found: Calibration, cache: Path) -> None:
    device = Device(**DEVICE)  # type: ignore[arg-type]
    before = yardstick_of([device])
    assert "not calibrated" in before.origin and before.delta is None
    save(found)
    after = yardstick_of([device])
    assert after == calibrated(found)
    assert after.delta == found.delta and "calibrated on 2026-05-28" in after.origin
    assert yardstick_of([]) == NOTHING_KNOWN


def test_doctor_says_whether_when_and_how_finely(found: Calibration, cache: Path) -> None:
    device = Device(**DEVICE)  # type: ignore[arg-type]
    before = doctor._calibration(device)
    assert (before.ok, before.next_step) == (None, "kernel-evolve calibrate")
    save(found)
    after = doctor._calibration(device)
    assert after.ok and "0.83 %" in after.detail and "2026-05-28" in after.detail


def test_without_one_the_best_data_sheet_of_the_architecture_counts() -> None:
    hopper = from_data_sheets("9.0")
    assert (hopper.gbps, hopper.launch_us) == (4800.0, 0.0)
    assert "H200" in hopper.origin and "H100" in hopper.origin
    unknown = from_data_sheets("99.0")
    assert unknown.gbps == 0.0 and "no peaks are known of sm_990" in unknown.origin
    assert unknown.floor(LeastWork(1 << 40, {"fp16": 1e18})).us == 0.0


def test_the_floor_is_the_largest_of_launch_memory_and_products(found: Calibration) -> None:
    known = calibrated(found)
    assert known.floor(LeastWork()).us == 2.1
    memory = known.floor(LeastWork(400_000_000))
    assert memory.us == pytest.approx(100.0) and "400 MB" in memory.why
    products = known.floor(LeastWork(0, {"fp16": 800e9}))
    assert products.us == pytest.approx(1000.0) and "fp16" in products.why
    # Three tf32 products give fp32's accuracy.
    assert known.floor(LeastWork(0, {"fp32": 400e9})).us == pytest.approx(1000.0)
    assert known.floor(LeastWork(0, {"int8": 1e15})).us == 2.1


def test_a_yardstick_goes_through_json(found: Calibration) -> None:
    known = calibrated(found)
    fields = {name: getattr(known, name) for name in ("delta", "gbps", "tflops", "launch_us", "origin")}
    assert Yardstick.from_json(json.loads(json.dumps(fields))) == known


def test_the_picture_needs_nothing_else_and_escapes_names(found: Calibration) -> None:
    page = roofline.page(found)
    assert "<svg" in page and "fp16 800 TFLOP/s" in page and "memory 4000 GB/s" in page
    assert "NVIDIA &lt;fast&gt;" in page and "<fast>" not in page
    heights = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>\w+ \d+ TFLOP/s</text>', page)]
    assert len(heights) == 4 and all(low - high >= 14 for high, low in itertools.pairwise(heights))
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
