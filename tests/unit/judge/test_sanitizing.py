"""A finalist under the sanitizer beside its confirmation, on the CPU: a script stands for the tool."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gpu_rounds import double, job, recorded_once, runner
from test_planned_rounds import DECOY, OWN, load, planned_job
from test_sanitizer import CLEAN, MEMCHECK, NO_RACE, RACECHECK, STANDING_IN, executable

from evolve_core.judge.host.gpu import sanitizing, step
from evolve_core.judge.host.gpu.job import GpuJob, PlansToWatch
from evolve_core.judge.host.gpu.run import judge_on_gpu
from evolve_core.judge.observation import Outcome, parse_observation

__all__ = ["job", "planned_job", "recorded_once"]

QUIET = {"memcheck": CLEAN, "racecheck": NO_RACE}


def tool(folder: Path, candidate: Mapping[str, str], baseline: Mapping[str, str] = QUIET, sleeps: float = 0) -> Path:
    """One that runs nothing, and whose logs are these, by kernel and tool."""
    for which, logs in (("candidate", candidate), ("baseline", baseline)):
        for name, log in logs.items():
            (folder / f"{which}-{name}.log").write_text(log)
    report = json.dumps({"finished": True, "allocations": [[0x710FDC800000, 1024, "x"], [0x710FDC900000, 4, "out"]]})
    text = f"""{STANDING_IN}
echo $$ > "$7/pid"
sleep {sleeps}
cp {folder}/$(basename "$6")-$(basename "$7").log "$log"
echo '{report}' > "$7/report.json"
"""
    return executable(folder / "compute-sanitizer", text)


@pytest.fixture
def finalist(planned_job: GpuJob) -> GpuJob:
    """A confirmation of a plan that is right, with one pair of processes that times."""
    watched = PlansToWatch("a", "no-binaries", OWN.as_json(), OWN.as_json())
    host_code = runner(double)
    changes: dict[str, Any] = {"timed": ["a"], "processes": 1, "pairs": 2, "stage": "confirmation"}
    return replace(planned_job, load_candidate=load(OWN), load_host_code=host_code, watched=watched, **changes)


def confirmed(finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, found: Path | None) -> dict[str, Any]:
    monkeypatch.setattr(sanitizing, "find_sanitizer", lambda: found)
    result = judge_on_gpu(finalist)
    assert result["failure"] is None, result["failure"]
    return result


def test_what_is_clean_is_timed_and_said(finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = confirmed(finalist, monkeypatch, tool(tmp_path, QUIET))
    assert len(seen["timing"]) == 1
    said = seen["environment"]["sanitizer"]
    assert said.startswith("memcheck found nothing on x=float32[33]; racecheck found nothing on x=float32[33] (")


@pytest.mark.parametrize(
    ("logs", "outcome", "message"),
    [
        ({"memcheck": MEMCHECK}, Outcome.OUT_OF_BOUNDS, "an invalid write in out_of_bounds_kernel near x, by "),
        ({"racecheck": RACECHECK}, Outcome.MISMATCH, "a race in shared memory in sumKernel at line 41, by "),
    ],
)
def test_a_finding_is_a_check_that_failed_and_ends_the_confirmation(
    finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logs: dict[str, str], outcome: str, message: str
) -> None:
    found = confirmed(finalist, monkeypatch, tool(tmp_path, {**QUIET, **logs}))
    assert found["timing"] == []
    seen = parse_observation({"kernels": [], "launches": [], "work": [], **found})
    (check,) = [one for one in seen.checks if one.outcome is not Outcome.COMPARED]
    assert (check.workload, check.outcome) == ("a", outcome)
    assert check.message.startswith(message)
    if outcome is Outcome.OUT_OF_BOUNDS:
        (outside,) = check.out_of_bounds
        assert (outside.kernel, outside.tensor, outside.access) == ("out_of_bounds_kernel", "x", "store")


def test_what_the_users_own_kernel_does_too_is_held_against_nobody(
    finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    racy = {**QUIET, "racecheck": RACECHECK}
    seen = confirmed(finalist, monkeypatch, tool(tmp_path, racy, racy))
    assert len(seen["timing"]) == 1
    assert {check["outcome"] for check in seen["checks"]} == {"compared"}
    assert "racecheck complains about your own kernel, too: Error: Race reported" in seen["environment"]["sanitizer"]


def test_without_a_tool_or_with_operators_of_torch_that_is_a_note(
    finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosted = confirmed(
        replace(finalist, watched=None, load_plans=None, load_candidate=runner(double)), monkeypatch, None
    )
    assert hosted["environment"]["sanitizer"] == "not sanitized: its kernels are not launched by a plan"
    own = confirmed(replace(finalist, watched=None, load_candidate=None, load_host_code=None), monkeypatch, None)
    assert "sanitizer" not in own["environment"]
    seen = confirmed(finalist, monkeypatch, None)
    assert seen["environment"]["sanitizer"] == "not sanitized: compute-sanitizer is not installed"
    assert len(seen["timing"]) == 1
    assert finalist.watched is not None
    decoy = replace(finalist, watched=replace(finalist.watched, candidate=DECOY.as_json()))
    seen = confirmed(decoy, monkeypatch, tool(tmp_path, QUIET))
    assert seen["environment"]["sanitizer"] == "not sanitized: its plan has torch operators (aten::mul.Tensor)"
    assert not pids(tmp_path)


def test_one_that_takes_too_long_is_a_note(finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sanitizing, "PATIENCE_S", 1.0)
    seen = confirmed(finalist, monkeypatch, tool(tmp_path, QUIET, sleeps=60))
    assert len(seen["timing"]) == 1
    assert "not sanitized: memcheck took longer than" in seen["environment"]["sanitizer"]
    assert len(pids(tmp_path)) == 2 and no_tool_lives(tmp_path)


def test_a_task_that_cannot_be_drawn_there_is_a_note(
    finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the user's task does, to draw for the sanitizer is no reason to judge a candidate."""
    monkeypatch.setattr(sanitizing, "sanitized", lambda *unused: 1 / 0)
    seen = confirmed(finalist, monkeypatch, tool(tmp_path, QUIET))
    assert len(seen["timing"]) == 1
    assert "not sanitized: the process that draws its inputs ended" in seen["environment"]["sanitizer"]


def test_a_confirmation_that_ends_early_leaves_no_tool_behind(
    finalist: GpuJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another measurement of the device would be beside it."""

    def broken(x: torch.Tensor) -> torch.Tensor:
        deadline = time.monotonic() + 20.0
        while len(pids(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        raise ValueError("no such luck")

    monkeypatch.setattr(sanitizing, "find_sanitizer", lambda: tool(tmp_path, QUIET, sleeps=60))
    failure = judge_on_gpu(replace(finalist, load_host_code=runner(broken)))["failure"]
    assert failure["kind"] == "crash"
    assert len(pids(tmp_path)) == 2 and no_tool_lives(tmp_path)


def pids(folder: Path) -> list[int]:
    """Of the tools that began: the spool is in ``folder``."""
    return [int(file.read_text()) for file in folder.rglob("pid") if file.read_text().strip()]


def no_tool_lives(folder: Path) -> bool:
    return not any((Path("/proc") / str(pid)).exists() for pid in pids(folder))


def test_only_a_finalist_with_plans_is_watched_on_the_smallest_workload() -> None:
    plans = {"baseline": {"a": {"of": "own"}, "b": {}}, "candidate": {"a": {"of": "candidate"}, "b": {}}}
    payload: dict[str, Any] = {"plans": plans, "candidate": "source", "stage": "confirmation", "binaries": "folder"}
    watched = step.plans_to_watch({**payload, "smallest": "a"})
    assert watched == PlansToWatch("a", "folder", {"of": "candidate"}, {"of": "own"})
    for other in ({"plans": None}, {"candidate": None}, {"stage": "screening"}, {"smallest": ""}):
        assert step.plans_to_watch({**payload, "smallest": "a", **other}) is None
