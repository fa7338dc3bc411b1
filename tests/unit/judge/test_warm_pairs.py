"""Timed calls with their inputs in the L2 cache: when there are some, and that they are as honest as the others.

The bench and the conductor are the real ones, on the CPU: only the device's clock is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gpu_rounds import HostClock, double, job, judged, recorded_once, runner
from test_planned_rounds import FINISHED, launched, load, planned_job

from evolve_core.judge.host.gpu import bench
from evolve_core.judge.host.gpu.beside import EAGER, baseline_job
from evolve_core.judge.host.gpu.calibrate import noise_job
from evolve_core.judge.host.gpu.clock import Sample
from evolve_core.judge.host.gpu.job import CONFIRMATION_PAIRS, CONFIRMATION_PROCESSES, WARM_PAIRS, GpuJob
from evolve_core.judge.host.gpu.kernels import Kernels
from evolve_core.judge.host.gpu.run import judge_on_gpu
from evolve_core.judge.host.tasks import MAX_LISTED
from evolve_core.judge.host.untrusted import MAX_CHECKS, MAX_ITEMS, Malformed, checked_answer

__all__ = ["job", "planned_job", "recorded_once"]

WARM_NS, COLD_NS = 1_000.0, 2_000.0
CALLED_WITH: list[int] = []
"""Addresses of the inputs of every call in this process, the latest last."""


class WarmingClock(HostClock):
    """Shows ``WARM_NS`` for a call of which the very inputs, and nothing else, were put into the cache."""

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "hold": "gate"}

    def sample(self, call: Any, warm: Iterable[Any] = ()) -> tuple[Sample, Any]:
        before, read = len(CALLED_WITH), [value.data_ptr() for value in warm]
        result = call()
        assert len(CALLED_WITH) <= before + 1, "a timed call is made once"
        shown = WARM_NS if read == CALLED_WITH[-1:] else COLD_NS
        return Sample(shown, 1, self.tail_ns(bool(read)), True), result

    def tail_ns(self, warm: bool) -> int:
        return 0


def told(function: Any) -> Any:
    def run(x: torch.Tensor) -> torch.Tensor:
        CALLED_WITH.append(x.data_ptr())
        result: torch.Tensor = function(x)
        return result

    return run


@pytest.fixture
def confirmed(job: GpuJob, monkeypatch: pytest.MonkeyPatch) -> GpuJob:
    monkeypatch.setattr(bench, "Stopwatch", WarmingClock)
    own = runner(told(double))
    return replace(job, load_baseline=own, load_native=runner(double), stage="confirmation", processes=2, pairs=3)


def test_a_confirmation_times_more_pairs_with_their_inputs_in_the_cache(confirmed: GpuJob) -> None:
    seen = judged(confirmed, told(double))
    assert seen["failure"] is None
    assert [one["process"] for one in seen["timing"]] == [0, 1]
    for one in seen["timing"]:
        for which in ("baseline", "candidate"):
            assert one[f"{which}_ns"] == [COLD_NS] * 3
            assert one[f"{which}_warm_ns"] == [WARM_NS] * WARM_PAIRS
        assert (one["held"], one["warm_held"]) == (2 * 3, 2 * WARM_PAIRS)
    timed = [check for check in seen["checks"] if check["timed"]]
    assert len(timed) == 2 * (3 + WARM_PAIRS)
    assert len({check["seed"] for check in timed}) == len(timed)
    assert all(check["outputs"][0]["exact"] for check in timed)


def test_nobody_else_does(confirmed: GpuJob, tmp_path: Path) -> None:
    payload = {"device_uuid": "GPU-test", "lock_folder": str(tmp_path), "deadline_s": 60.0}
    jobs = (noise_job(payload, tmp_path), baseline_job(confirmed, EAGER, lambda: None))  # type: ignore[arg-type, return-value]
    assert [one.warm_pair_count for one in (confirmed, *jobs)] == [WARM_PAIRS, 0, 0]
    (screened,) = judged(replace(confirmed, stage="screening", processes=1), told(double))["timing"]
    assert not any("warm" in name for name in screened)


def test_a_clock_that_cannot_warm_a_cache_says_nothing_of_one(confirmed: GpuJob, monkeypatch: Any) -> None:
    monkeypatch.setattr(WarmingClock, "describe", HostClock.describe)
    seen = judged(confirmed, told(double))
    assert seen["failure"] is None and len(seen["timing"]) == 2
    assert not any("warm" in name for one in seen["timing"] for name in one)


def test_a_kernel_that_is_wrong_there_alone_is_wrong(confirmed: GpuJob) -> None:
    """The last process makes three calls to warm up and three cold ones before."""
    calls: list[torch.Tensor] = []

    def cheat(x: torch.Tensor) -> torch.Tensor:
        calls.append(double(x))
        return calls[min(len(calls) - 1, 5)]

    seen = judged(replace(confirmed, processes=1, checked=[]), told(cheat))
    timed = [check["outputs"][0]["exact"] for check in seen["checks"] if check["timed"]]
    assert timed == [True] * 3 + [False] * WARM_PAIRS


def test_what_an_earlier_call_left_in_a_plans_memory_is_gone_there_too(planned_job: GpuJob, monkeypatch: Any) -> None:
    """Six calls of each kernel come before those on a warm cache; afterwards nobody writes anything any more."""
    calls: list[None] = []

    def once(kernels: Kernels, *rest: Any) -> None:
        calls.append(None)
        if len(calls) <= 12:
            launched(kernels, *rest)

    monkeypatch.setattr(bench, "Stopwatch", WarmingClock)
    monkeypatch.setattr(Kernels, "launch", once)
    what = {"stage": "confirmation", "processes": 1, "pairs": 3, "checked": [], "timed": ["a"]}
    seen = judge_on_gpu(replace(planned_job, load_candidate=load(FINISHED), **what))
    assert seen["failure"] is None
    timed = [check["outputs"][0] for check in seen["checks"]]
    assert [one["exact"] for one in timed] == [True] * 3 + [False] * WARM_PAIRS
    assert not any(one["nonfinite_ok"] for one in timed[3:])


def test_work_that_goes_on_after_the_call_is_cheating_there_too(confirmed: GpuJob, monkeypatch: Any) -> None:
    running: list[bool] = []

    def busy(x: torch.Tensor) -> torch.Tensor:
        running.append(True)
        return double(x)

    def tail_ns(clock: Any, warm: bool) -> int:
        found = 10_000_000 if warm and running else 0
        running.clear()
        return found

    monkeypatch.setattr(WarmingClock, "tail_ns", tail_ns)
    failure = judged(confirmed, told(busy))["failure"]
    assert failure["kind"] == "cheating" and "after the call" in failure["message"]


def test_every_check_of_the_largest_confirmation_arrives(tmp_path: Path) -> None:
    def arrived(**what: list[None]) -> dict[str, Any]:
        answer = {"failure": None, "checks": [], "timing": [], "environment": {}, **what}
        found: dict[str, Any] = checked_answer("gpu", answer, tmp_path)
        return found

    most = MAX_LISTED * CONFIRMATION_PROCESSES * (CONFIRMATION_PAIRS + WARM_PAIRS)
    assert len(arrived(checks=[None] * most)["checks"]) == most
    for too_much in ({"checks": [None] * (MAX_CHECKS + 1)}, {"timing": [None] * (MAX_ITEMS + 1)}):
        with pytest.raises(Malformed):
            arrived(**too_much)
