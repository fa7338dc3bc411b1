"""The folder in which every user of a machine leaves locks: it may hold anything, and nobody is led elsewhere by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu.lock import DeviceBusy, device_lock, leave_for_all, open_to_all, own_text


def test_a_device_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with device_lock("GPU-1", tmp_path, 1.0):
        with device_lock("GPU-2", tmp_path, 0.0):
            pass
        with pytest.raises(DeviceBusy, match="another measurement holds the GPU"), device_lock("GPU-1", tmp_path, 0.1):
            pass
    with device_lock("GPU-1", tmp_path, 0.0):
        pass


def test_the_lock_of_another_user_will_do(tmp_path: Path) -> None:
    """It can be read, and that is enough."""
    with umask(0o077), device_lock("GPU-1", tmp_path, 0.0):
        assert (tmp_path / "GPU-1.lock").stat().st_mode & 0o777 == 0o644
    (tmp_path / "GPU-1.lock").chmod(0o444)
    with device_lock("GPU-1", tmp_path, 0.0), pytest.raises(DeviceBusy), device_lock("GPU-1", tmp_path, 0.0):
        pass


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


INSTEAD: dict[str, Callable[[Path], None]] = {
    "link": lambda place: place.symlink_to("/etc/passwd"),
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("instead", INSTEAD)
def test_what_is_no_lock_is_said_so_at_once(tmp_path: Path, instead: str) -> None:
    INSTEAD[instead](tmp_path / "GPU-1.lock")
    with pytest.raises(DeviceBusy, match="remove it"), device_lock("GPU-1", tmp_path, 60.0):
        pass


def test_nobody_writes_through_a_link(tmp_path: Path) -> None:
    precious, place = tmp_path / "precious", tmp_path / "note"
    precious.write_text("mine")
    place.symlink_to(precious)
    with pytest.raises(FileExistsError):
        leave_for_all(place, "a note")
    leave_for_all(place, "a note", anew=True)
    assert precious.read_text() == "mine" and own_text(place) == "a note"
    assert sorted(tmp_path.iterdir()) == [place, precious]


def test_a_note_of_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    leave_for_all(note, "a note")
    assert own_text(note) == "a note"
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(PermissionError):
        own_text(note)


def test_the_locks_folder_is_everybodys_and_never_somewhere_else(tmp_path: Path) -> None:
    locks, home, link = tmp_path / "locks", tmp_path / "home", tmp_path / "link"
    for _ in range(2):
        assert open_to_all(locks) == locks
        assert locks.stat().st_mode & 0o7777 == 0o1777
    home.mkdir(mode=0o700)
    link.symlink_to(home)
    with pytest.raises(StepError, match="remove it"):
        open_to_all(link)
    assert home.stat().st_mode & 0o7777 == 0o700
