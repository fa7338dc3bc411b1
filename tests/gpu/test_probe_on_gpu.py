"""Whether a real GPU answers, asked by a new process as after a crash on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.host.gpu.trial import probe_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]


@pytest.mark.parametrize(("uuid", "answers"), [("", True), ("GPU-00000000-0000-0000-0000-000000000000", False)])
def test_only_a_device_that_is_there_answers(tmp_path: Path, uuid: str, answers: bool) -> None:
    payload = {"device_uuid": uuid or list_devices()[0]["uuid"], "lock_folder": str(tmp_path), "deadline_s": 60.0}
    assert probe_step(payload, tmp_path) == {"answers": answers}
