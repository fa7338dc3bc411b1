"""The user's kernel beside eager, torch.compile and a library: how it is timed, kept, and put into words."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo.config  # Here, and not in every child.
import torch._inductor.config
from calibrations import DEVICE, timing
from test_gpu_rounds import double, job, recorded_once, runner
from test_launched import opened

from evolve_core.cache import cache_folder
from evolve_core.judge.baselines import beside, figures
from evolve_core.judge.client import Device, HostError
from evolve_core.judge.host import baselines as host_side
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu.beside import COMPILED, EAGER, LIBRARY, baseline_job
from evolve_core.judge.host.gpu.job import GpuJob
from evolve_core.judge.host.gpu.run import judge_on_gpu
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import Cancel, StepResult
from evolve_core.judge.host.tasks import TaskModule, load_task
from evolve_core.judge.host.tier import Plans
from evolve_core.judge.verdict import Baseline, Interval

__all__ = ["job", "recorded_once"]

TASK = """import torch


def workloads():
    yield None


def reference(x):
    return x + x


def library(x):
    return torch.mul(x, 2)
"""


@pytest.fixture
def task(tmp_path: Path) -> TaskModule:
    return load_task(TASK, tmp_path / "t.evolve.py", tmp_path)


@pytest.fixture
def quick(job: GpuJob) -> GpuJob:
    return replace(job, stage="confirmation", pairs=3, processes=2)


@pytest.mark.parametrize("which", [EAGER, COMPILED, LIBRARY])
def test_each_takes_a_candidates_place_in_fresh_processes(
    quick: GpuJob, task: TaskModule, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(function: Any, dynamic: bool) -> Any:
        """The compiler itself takes minutes here; on a GPU it is the real one."""
        assert function is task.module.reference and not dynamic
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    seen = judge_on_gpu(baseline_job(quick, which, lambda: task))
    assert seen["failure"] is None
    assert [one["process"] for one in seen["timing"]] == [0, 1]
    assert all(len(one["candidate_ns"]) == 3 for one in seen["timing"])
    assert all(check["timed"] and check["outputs"][0]["exact"] for check in seen["checks"])


def test_what_the_users_own_code_keeps_running_is_no_cheating(quick: GpuJob, task: TaskModule) -> None:
    def threaded(x: torch.Tensor) -> torch.Tensor:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return double(x)

    task.module.library = threaded  # type: ignore[attr-defined]
    trusted = baseline_job(quick, LIBRARY, lambda: task)
    assert judge_on_gpu(trusted)["failure"] is None
    assert judge_on_gpu(replace(quick, load_candidate=runner(threaded)))["failure"]["kind"] == "cheating"


def test_one_that_raises_is_a_failure_with_its_reason(quick: GpuJob, task: TaskModule) -> None:
    def refuses(x: torch.Tensor) -> torch.Tensor:
        raise TypeError("no such dtype")

    task.module.library = refuses  # type: ignore[attr-defined]
    assert "no such dtype" in judge_on_gpu(baseline_job(quick, LIBRARY, lambda: task))["failure"]["message"]


def of_host(**task: Any) -> tuple[Any, Any, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    def step(name: str, payload: dict[str, Any], *unused: Any) -> StepResult:
        assert name == "gpu-baseline"
        asked.append(payload)
        return StepResult("finished", 0, {"failure": None, "timing": [1]}, None, "", 0.0, Path(), Patience(1.0))

    text = SimpleNamespace(mode="gpu", **dict.fromkeys(("task_text", "source_file", "entry", "kind", "source"), ""))
    text.task_file, text.kernels = "", ()
    judge = SimpleNamespace(
        step=step, spool=Path("none"), hidden=[], bench_layers=None, binaries=SimpleNamespace(folder=Path("none"))
    )
    has = {"has_reference": True, "has_library": False, "guards_inputs": True, **task}
    return judge, SimpleNamespace(text=text, timed=[], drawn=[], plans=Plans(), precision="strict", **has), asked


@pytest.mark.parametrize(
    ("has", "names"),
    [
        ({}, [EAGER, COMPILED]),
        ({"has_library": True}, [EAGER, COMPILED, LIBRARY]),
        ({"has_reference": False}, []),
    ],
)
def test_the_host_times_what_the_task_has(
    has: dict[str, bool], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolve_core.judge.host.measuring.find_devices", lambda: [DEVICE])
    judge, task, asked = of_host(folder=tmp_path, **has)
    found = host_side.baselines(judge, task, 60.0, Cancel())
    assert [one["name"] for one in found] == [one["which"] for one in asked] == names
    assert all(one["stage"] == "confirmation" and one["candidate"] is None for one in asked)


def test_without_a_gpu_they_are_refused() -> None:
    judge, task, _ = of_host()
    task.text.mode = "no-gpu"
    with pytest.raises(StepError, match="on a GPU only"):
        host_side.baselines(judge, task, 60.0, Cancel())


# -- our side ---------------------------------------------------------------------------------------------------------


class FakeHost:
    """Answers with baselines that take 1.3 times and 0.9 times as long as the user's kernel."""

    info = SimpleNamespace(devices=(Device(**DEVICE),), python="3.11", torch="2.11", triton="3.6")  # type: ignore[arg-type]

    def __init__(self, failure: dict[str, Any] | None = None, error: Exception | None = None) -> None:
        self.asked, self._failure, self._error = 0, failure, error

    def baselines(self, task: Any, deadline_s: float) -> list[dict[str, Any]]:
        self.asked += 1
        if self._error is not None:
            raise self._error
        return [
            {"name": "eager", "failure": None, "timing": slower(-0.2624)},
            {"name": "library", "failure": self._failure, "timing": [] if self._failure else slower(0.1054)},
        ]


def slower(log_ratio: float) -> list[dict[str, Any]]:
    return [timing(process, log_ratio + process * 1e-4, "w0") for process in range(5)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def ask(host: FakeHost, **changes: Any) -> Any:
    return beside(host, replace(opened(), **changes), 60.0)  # type: ignore[arg-type]


def test_figures_are_of_the_users_kernel_and_have_intervals(cache: Path) -> None:
    eager, library = ask(FakeHost()).figures
    assert eager.ratio == pytest.approx(0.769, abs=1e-3) and library.ratio == pytest.approx(1.111, abs=1e-3)
    assert eager.interval is not None and eager.interval.low < eager.ratio < eager.interval.high
    assert eager.workloads[0].baseline_us == pytest.approx(7.69, abs=0.01)
    assert eager.workloads[0].candidate_us == 10.0
    assert eager.words == "eager: 1.30× slower than your kernel (1.30–1.30)"
    assert library.words == "library: 1.11× faster than your kernel (1.11–1.11)"


def test_they_are_measured_once_for_a_task_and_toolchain(cache: Path) -> None:
    host = FakeHost()
    first, second = ask(host), ask(host)
    assert host.asked == 1 and first.figures == second.figures and len(second.raw) == 2
    ask(host, source="another kernel")
    ask(host, task_text="another task")
    assert host.asked == 3
    newer = FakeHost()
    newer.info = SimpleNamespace(**{**vars(FakeHost.info), "torch": "2.12"})
    ask(newer)
    assert newer.asked == 1
    for file in (cache / "baselines").iterdir():
        file.write_text("{}")
    ask(host)
    assert host.asked == 4


def test_one_that_failed_is_noted_and_tried_again(cache: Path) -> None:
    host = FakeHost(failure={"kind": "crash", "message": "NotImplementedError: bf16"})
    _, library = ask(host).figures
    assert library == Baseline("library", note="not measured: NotImplementedError: bf16")
    assert library.words == "library: not measured: NotImplementedError: bf16"
    ask(host)
    assert host.asked == 2


def test_a_host_that_fails_and_a_cache_that_cannot_be_written_spoil_nothing(cache: Path) -> None:
    (note,) = ask(FakeHost(error=HostError("host-failure", "the disk is full"))).figures
    assert note.ratio is None and "the disk is full" in note.note
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert len(ask(FakeHost()).figures) == 2


def test_a_malformed_answer_is_a_note() -> None:
    host = FakeHost()
    host.baselines = lambda task, deadline_s: [{"name": "eager"}]  # type: ignore[method-assign,assignment]
    (note,) = ask(host).figures
    assert "malformed" in note.note


def test_no_difference_is_said_to_be_none() -> None:
    assert "as fast as your kernel (0.99–1.01×" in Baseline("eager", 1.0, Interval(0.99, 1.01)).words
    assert figures(opened(), []) == ()
