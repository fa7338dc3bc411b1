"""Which of a device's processes are the judge's own: by their ids, by being new, or not at all."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_gpu_rounds import Watch

from evolve_core.judge.host.gpu import rivals
from evolve_core.judge.host.gpu.rivals import Neighbours

CHILDREN = (1001, 1002)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the driver lists; the device is busy throughout."""
    pids = [7]

    def state(uuid: str) -> dict[str, Any]:
        return {"busy_percent": 50, "processes": [*pids]}

    monkeypatch.setattr(rivals, "DeviceWatch", partial(Watch, state))
    monkeypatch.setattr(rivals, "_LOAD_PERIOD_S", 0.0)
    return pids


@pytest.mark.parametrize(
    ("came", "left"),
    [
        ((1001, 1002), [7]),
        ((1001, 1002, 9), [7, 9]),
        ((501, 502), [7]),
        ((501, 502, 503), [7, 501, 502, 503]),
        ((), [7]),
    ],
    ids=["our-ids", "ours-and-a-rival", "other-ids", "other-ids-and-a-rival", "not-listed"],
)
def test_what_came_up_with_a_session_is_its_own_where_that_can_be_told(
    listed: list[int], tmp_path: Path, came: tuple[int, ...], left: list[int]
) -> None:
    session, another = Neighbours("GPU-x", str(tmp_path)), Neighbours("GPU-x", str(tmp_path))
    before = session.computing()
    listed.extend(came)
    session.add_own(before, CHILDREN)
    assert session.rivals() == another.rivals() == left
    assert Neighbours("GPU-y", str(tmp_path)).rivals() == listed
    session.remove_own()
    assert session.rivals() == listed


def test_the_processes_of_a_session_that_died_are_nobodys(listed: list[int], tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for owner, pid in ((ended.pid, 7), (os.getpid(), 8)):
        (tmp_path / f"GPU-x.{owner}.own").write_text(str(pid))
    listed.append(8)
    assert Neighbours("GPU-x", str(tmp_path)).rivals() == [7]
    assert [file.name for file in tmp_path.iterdir()] == [f"GPU-x.{os.getpid()}.own"]


def test_a_session_that_ends_while_another_looks_is_no_longer_known(
    listed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Neighbours("GPU-x", str(tmp_path))
    (tmp_path / f"GPU-x.{os.getpid()}.own").write_text("7")
    assert session.rivals() == []
    exists = Path.exists

    def and_then_it_ends(path: Path, **options: Any) -> bool:
        found = exists(path, **options)
        if path.is_relative_to("/proc"):
            session.remove_own()
        return found

    monkeypatch.setattr(Path, "exists", and_then_it_ends)
    assert session.rivals() == [7]
