"""The calibrate command with a judge host that only speaks: what is printed, kept and said when it fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from evolve_core.cli import calibrate
from evolve_core.errors import UsageError
from evolve_core.judge.calibration import NotCalibrated
from evolve_core.judge.calibration_store import stored
from evolve_core.judge.client import Device, HostError, Missing
from tests.unit.judge.calibrations import DEVICE, answer

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def with_host(*arguments: str, said: dict[str, Any] | None = None, missing: tuple[Missing, ...] = ()) -> Any:
        info = SimpleNamespace(devices=(Device(**DEVICE),), missing=missing)  # type: ignore[arg-type]
        host = SimpleNamespace(info=info, calibrate=lambda deadline_s: said or answer(), close=lambda: None)
        monkeypatch.setattr(calibrate, "JudgeHost", SimpleNamespace(start=lambda *unused: host))
        return CliRunner().invoke(calibrate.command, ["--python", sys.executable, *arguments])

    return with_host


def test_figures_are_printed_and_kept(run: Run, tmp_path: Path) -> None:
    done = run()
    assert done.exit_code == 0
    assert "smallest difference      0.83 %" in done.output and "matrix products, fp16    800.0 TFLOP/s" in done.output
    kept = stored("GPU-1", "580.1")
    assert kept is not None and kept.delta == pytest.approx(0.00833, abs=1e-4)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == 1 and str(pages[0]) in done.output


def test_json_holds_every_figure(run: Run, tmp_path: Path) -> None:
    told = json.loads(run("--json", "--picture", str(tmp_path / "roof.html")).output)
    kept = stored("GPU-1", "580.1")
    assert kept is not None and told["delta"] == kept.delta and Path(told["file"]).is_file()
    assert {name: told[name] for name in kept.to_json()} == kept.to_json()
    assert "<svg" in (tmp_path / "roof.html").read_text()


def test_what_fails_keeps_nothing_and_names_the_log(run: Run, tmp_path: Path) -> None:
    failed = answer(failure={"kind": "contended", "message": "the GPU slowed itself down"}, timing=[], probes=[])
    error = run(said=failed).exception
    assert isinstance(error, NotCalibrated) and "slowed itself down" in str(error)
    log = Path(str(error).split("log is ")[1].rstrip("."))
    assert log.is_file() and stored("GPU-1", "580.1") is None
    assert isinstance(run(said=answer(probes=[])).exception, HostError)


def test_a_missing_torch_is_named(run: Run) -> None:
    error = run(missing=(Missing("torch", "torch is not installed in P"),)).exception
    assert isinstance(error, UsageError) and str(error) == "torch is not installed in P"
