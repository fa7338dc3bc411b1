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


def left(folder: Path, owner: int, text: str) -> Path:
    """What a session of the process ``owner`` leaves beside the lock."""
    file = folder / f"GPU-x.0123456789abcdef.{owner}.own"
    file.write_text(text)
    return file


def test_the_processes_of_a_session_that_died_are_nobodys(listed: list[int], tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left(tmp_path, ended.pid, "7")
    living = left(tmp_path, os.getpid(), "8")
    listed.append(8)
    assert Neighbours("GPU-x", str(tmp_path)).rivals() == [7]
    assert [*tmp_path.iterdir()] == [living]


def test_a_session_that_ends_while_another_looks_is_no_longer_known(
    listed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = left(tmp_path, os.getpid(), "7")
    session = Neighbours("GPU-x", str(tmp_path))
    assert session.rivals() == []
    read = rivals.own_text

    def when_it_has_ended(path: Path) -> str:
        file.unlink()
        return read(path)

    monkeypatch.setattr(rivals, "own_text", when_it_has_ended)
    assert session.rivals() == [7]


def test_another_user_says_nothing_about_whose_processes_are_the_judges(
    listed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = left(tmp_path, os.getpid(), "7")
    assert Neighbours("GPU-x", str(tmp_path)).rivals() == []
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    assert Neighbours("GPU-x", str(tmp_path)).rivals() == [7]
    assert file.exists()


def test_a_process_of_another_user_is_a_rival_whoever_lists_it(
    listed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the end of ours, when the number is another's."""
    program = subprocess.Popen(["sleep", "60"])
    try:
        listed[:] = [program.pid]
        left(tmp_path, os.getpid(), str(program.pid))
        assert Neighbours("GPU-x", str(tmp_path)).rivals() == []
        user_of = rivals._user_of
        monkeypatch.setattr(rivals, "_user_of", lambda pid: user_of(pid) + (pid == program.pid))
        assert Neighbours("GPU-x", str(tmp_path)).rivals() == [program.pid]
    finally:
        program.kill()
        program.wait()


@pytest.mark.parametrize("instead", ["link", "pipe", "folder", "long"])
def test_what_is_no_list_in_a_file_says_nothing(listed: list[int], tmp_path: Path, instead: str) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    place = folder / f"GPU-x.0123456789abcdef.{os.getpid()}.own"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("7")
    make = {
        "link": lambda: place.symlink_to(elsewhere),
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "long": lambda: place.write_text("x" * 100_000 + " 7"),
    }
    make[instead]()
    assert Neighbours("GPU-x", str(folder)).rivals() == [7]
