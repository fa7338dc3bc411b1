"""After a failure the device is asked whether it still answers; the same code is screened once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evolve_core.judge.client import HostError
from evolve_core.judge.host import measuring
from evolve_core.judge.host.binaries import BinaryStore
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu import trial
from evolve_core.judge.host.lost import LOST, refuse_lost_device
from evolve_core.judge.host.opened import OpenTask, TaskText
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import Cancel, StepResult
from evolve_core.judge.session import DEVICE_LOST, JudgeFailed, TaskJudge
from evolve_core.judge.verdict import Stage

DEVICE = {"name": "NVIDIA X", "uuid": "GPU-1"}


class FakeJudge:
    """Answers the probe with ``value``."""

    def __init__(self, folder: Path, value: Any) -> None:
        self.spool = folder
        self.asked: list[str] = []
        self._value = value

    def step(self, name: str, *_: Any) -> StepResult:
        self.asked.append(name)
        how = "finished" if self._value is not None else "timeout"
        return StepResult(how, 0, self._value, None, "", 0.0, self.spool, Patience(1.0))


def failed(kind: str) -> dict[str, Any]:
    return {"kind": kind, "message": "not finished within 60 s"}


@pytest.mark.parametrize("kind", ["timeout", "crash", "out-of-memory", "host-failure"])
def test_a_device_that_still_answers_costs_a_question(tmp_path: Path, kind: str) -> None:
    judge: Any = FakeJudge(tmp_path, {"answers": True})
    refuse_lost_device(judge, DEVICE, "locks", failed(kind), Cancel())
    assert judge.asked == ["gpu-probe"]


@pytest.mark.parametrize("failure", [None, failed("cheating"), failed("contended"), failed("compile-error")])
def test_what_cannot_have_hurt_it_costs_nothing(tmp_path: Path, failure: dict[str, Any] | None) -> None:
    judge: Any = FakeJudge(tmp_path, None)
    refuse_lost_device(judge, DEVICE, "locks", failure, Cancel())
    assert judge.asked == []


@pytest.mark.parametrize("value", [{"answers": False}, None], ids=["says no", "hangs"])
def test_a_device_that_does_not_answer_is_named_with_what_to_do(tmp_path: Path, value: Any) -> None:
    judge: Any = FakeJudge(tmp_path, value)
    with pytest.raises(StepError, match=r"NVIDIA X does not answer any more .*nvidia-smi") as lost:
        refuse_lost_device(judge, DEVICE, "locks", failed("timeout"), Cancel())
    assert lost.value.kind == LOST


@pytest.mark.parametrize("works", [True, False])
def test_the_probe_asks_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    monkeypatch.setattr(trial, "use_the_device", (lambda: None) if works else _refused)
    payload = {"device_uuid": "GPU-1", "lock_folder": str(tmp_path), "deadline_s": 20.0}
    assert trial.probe_step(payload, tmp_path) == {"answers": works}


def _refused() -> None:
    raise OSError("no such device")


def test_the_same_code_is_screened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def in_session(judge: Any, task: OpenTask, payload: dict[str, Any]) -> dict[str, Any]:
        measured.append(payload)
        failure = failed("contended") if len(measured) == 1 else None
        return {"failure": failure, "checks": [], "timing": [len(measured)], "environment": {"device": "X"}}

    monkeypatch.setattr(measuring, "_in_session", in_session)
    text = TaskText("a.py", "", "a.evolve.py", "", "a", "entry", (), "gpu")
    task, judge = OpenTask("t", text, tmp_path, []), SimpleNamespace(binaries=BinaryStore(tmp_path / "binaries"))

    def screened(binary: str) -> dict[str, Any]:
        found = measuring._screened(judge, task, {"plans": {"candidate": {"w0": {"binary": binary}}}})  # type: ignore[arg-type]
        assert found is not None
        return found

    assert screened("a")["failure"] is not None
    # What failed is tried again.
    assert screened("a")["timing"] == [2]
    again = screened("a")
    assert (again["timing"], again["environment"]["measured"]) == ([2], "as an earlier candidate of the same code")
    assert screened("b")["timing"] == [3]
    assert len(measured) == 3


class LostHost:
    def judge(self, *_: Any) -> None:
        raise HostError(DEVICE_LOST, "NVIDIA X does not answer any more")

    def close(self) -> None:
        pass


def test_a_run_does_not_go_on_without_its_device(tmp_path: Path) -> None:
    """Every further candidate would fail, through no fault of its own."""
    start: Any = SimpleNamespace(workers=1, spool=tmp_path, target="sm_90")
    sitting: Any = SimpleNamespace(host=LostHost(), opened=None, yardstick=None, teeth=None)
    judge = TaskJudge(start, None, "", sitting)  # type: ignore[arg-type]
    with pytest.raises(JudgeFailed, match="does not answer any more"):
        judge.submit("c1", "", Stage.SCREENING).result(60)
    judge.close()
