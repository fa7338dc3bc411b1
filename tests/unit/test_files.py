"""A new file appears whole or not at all, on file systems that are real and full."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from evolve_core.errors import CannotWrite
from evolve_core.files import _MEND_PERMISSION, not_written, shortage, write_new, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_the_whole_text_is_written(tmp_path: Path) -> None:
    path = tmp_path / "softmax.evolve.py"
    write_new(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert names(tmp_path) == ["softmax.evolve.py"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "softmax.evolve.py"
    path.write_text("mine")
    with pytest.raises(CannotWrite, match=r"exists already and was left as it is\. Open it"):
        write_new(path, "theirs")
    assert path.read_text() == "mine"


def test_a_file_written_in_the_meantime_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "softmax.evolve.py"
    fsync = os.fsync

    def and_then_somebody_writes(descriptor: int) -> None:
        fsync(descriptor)
        path.write_text("mine")

    monkeypatch.setattr(os, "fsync", and_then_somebody_writes)
    with pytest.raises(CannotWrite, match="exists already"):
        write_new(path, "theirs")
    assert (path.read_text(), names(tmp_path)) == ("mine", ["softmax.evolve.py"])


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from evolve_core.errors import CannotWrite\n"
        "from evolve_core.files import write_new\n"
        "try: write_new(pathlib.Path(sys.argv[1]), 'x' * 10_000)\n"
        "except CannotWrite as error: print(error)"
    )
    path = tmp_path / "softmax.evolve.py"
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # Else it leaves bytecode behind that is cut off there.
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == (
        f"{path} was not written: it would be larger than files may be here (ulimit -f). "
        "Raise that limit, then try again.\n"
    )
    assert names(tmp_path) == []


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "softmax.evolve.py"
    write_new(path, "text")
    assert (path.read_text(), names(tmp_path)) == ("text", ["softmax.evolve.py"])


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free some space, then try again."),
        (errno.EDQUOT, "your disk quota is used up. Free some of it, then try again."),
        (
            errno.EROFS,
            "its file system is read-only. Make that writable, or work in a copy elsewhere, then try again.",
        ),
        (errno.EACCES, f"there is no permission to read or write it. {_MEND_PERMISSION}, then try again."),
        (errno.EPERM, f"there is no permission to read or write it. {_MEND_PERMISSION}, then try again."),
        (errno.EIO, "Input/output error. Mend that, then try again."),
    ],
)
def test_the_cause_and_the_next_step(number: int, words: str) -> None:
    said = not_written(Path("/p/k.evolve.py"), OSError(number, os.strerror(number)))
    assert said == f"/p/k.evolve.py was not written: {words}"


def test_a_device_that_is_full() -> None:
    """The words for what a full disk really raises."""
    with pytest.raises(OSError) as caught, Path("/dev/full").open("wb", buffering=0) as stream:
        stream.write(b"x")
    assert "the disk is full" in not_written(Path("k"), caught.value)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"it, or its folder, is not there\. Check the name"):
        write_new(tmp_path / "gone" / "k.evolve.py", "text")


def test_two_threads_that_write_one_file_do_not_share_what_they_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "softmax.evolve.py"
    fsync = os.fsync

    def and_the_other_one_writes_all(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write_new(path, "the other's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", and_the_other_one_writes_all)
    with pytest.raises(CannotWrite, match="exists already"):
        write_new(path, "mine, which is longer")
    assert path.read_text() == "the other's"
    assert names(tmp_path) == [path.name]


def test_links_that_lead_in_a_circle_are_left_and_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    for path in (one, one / "softmax.py"):
        with pytest.raises(CannotWrite) as caught:
            write_whole(path, "text")
        said = "its symbolic links lead in a circle. Remove or mend the link, then try again."
        assert str(caught.value) == f"{path} was not written: {said}"
    assert sorted(names(tmp_path)) == ["one", "other"] and one.is_symlink()


def test_a_link_still_leads_to_the_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("file")
    for text in ("new", "newer"):
        write_whole(link, text)
        assert (tmp_path / "file").read_text() == text and link.is_symlink()


@pytest.mark.parametrize(("blocks", "said"), [(0, ""), (1000, "The disk is full: 0 MB are left on ")])
def test_a_file_system_that_does_not_count_its_blocks_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, said: str
) -> None:
    counted = os.statvfs_result((4096, 4096, blocks, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: counted)
    found = shortage(tmp_path)
    assert found.startswith(said) and bool(found) == bool(said)
