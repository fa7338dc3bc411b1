"""Files on a disk that may be full: written whole or not at all, and what to say when something cannot be written."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from evolve_core.errors import CannotWrite

NEARLY_FULL_BYTES = 32 << 20
"""With less than this free a failure says nothing about who failed: one tensor of 4096 by 1024 floats is half of it,
and what a step wrote before it failed may be gone again when somebody looks."""

FULL = "the disk is full"
_MEND_PERMISSION = "Change the permissions of the file or its folder, or work in a copy elsewhere"

_WORDS = {
    errno.ENOSPC: (FULL, "Free some space"),
    errno.EDQUOT: ("your disk quota is used up", "Free some of it"),
    errno.EFBIG: ("it would be larger than files may be here (ulimit -f)", "Raise that limit"),
    errno.EROFS: ("its file system is read-only", "Make that writable, or work in a copy elsewhere"),
    errno.EACCES: ("there is no permission to read or write it", _MEND_PERMISSION),
    errno.EPERM: ("there is no permission to read or write it", _MEND_PERMISSION),
    errno.ENOENT: ("it, or its folder, is not there", "Check the name"),
    errno.EISDIR: ("it is a folder", "Name a file in it"),
    errno.ELOOP: ("its symbolic links lead in a circle", "Remove or mend the link"),
    errno.ENOTDIR: ("a part of that path is a file", "Check the name"),
}
"""errno → the cause in words, and what to do about it."""


def write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet (UTF-8). It appears with its whole text, or there is nothing.

    A file that is there already, also one that somebody writes in the meantime, is left as it is. Raises CannotWrite.
    """
    try:
        if path.exists():
            raise CannotWrite(_exists(path))
        with _written_beside(path, path, text) as scratch:
            _give_name(scratch, path)
    except FileExistsError:
        raise CannotWrite(_exists(path)) from None
    except OSError as error:
        raise CannotWrite(not_written(path, error)) from error


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text (UTF-8), or make the file. A reader (a build, an editor) sees the old file or the new one.

    The old file's permissions stay, a link still leads to it, and a device (/dev/stdout) is written to. Raises
    CannotWrite; then the old file is as it was.
    """
    try:
        if path.exists() and not path.is_file():
            _write(path, text, "wb")
            return
        target = _end_of_links(path)
    except OSError as error:
        raise CannotWrite(not_written(path, error)) from error
    with _written_beside(path, target, text) as scratch:
        if target.exists():
            scratch.chmod(target.stat().st_mode)
        scratch.replace(target)


def not_written(path: Path, error: OSError) -> str:
    """Why a file could not be written, and the next step, as one message."""
    return f"{path} was not written: {_reason(error)}"


def explain(error: OSError, place: Path | None = None) -> str:
    """The cause and the next step of an error of the operating system, as one message for the user.

    ``place`` is named where the error itself names no file: a write into an open one does not.
    """
    named = error.filename or place
    return f"{named}: {_reason(error)}" if named else _reason(error)


def names_full_disk(message: str) -> bool:
    """Whether a message is about a full disk already, in our words or in SQLite's.

    Then it needs no second sentence on it, and a lens has room for two words.
    """
    return "disk is full" in message.lower() or os.strerror(errno.ENOSPC) in message


def shortage(folder: Path) -> str:
    """A sentence when the disk that holds ``folder`` is full or nearly so, else ""."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    free = status.f_bavail * status.f_frsize
    # No blocks at all: a file system that keeps no such count, as a tmpfs without a limit.
    if not status.f_blocks or free >= NEARLY_FULL_BYTES:
        return ""
    mount = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_mount())
    return f"{FULL.capitalize()}: {free / 1e6:.0f} MB are left on {mount}."


def _reason(error: OSError) -> str:
    cause, step = _WORDS.get(error.errno or 0, (error.strerror or str(error), "Mend that"))
    return f"{cause}. {step}, then try again."


def _end_of_links(path: Path) -> Path:
    """The file itself, behind every link; it need not exist. Raises OSError where links lead in a circle."""
    # Not Path.resolve: on a circle it raises RuntimeError up to Python 3.12, and nothing after.
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


@contextmanager
def _written_beside(path: Path, target: Path, text: str) -> Iterator[Path]:
    """A file with ``text`` in the folder of ``target``, to be given its name; gone again afterwards."""
    # A name of this call's own: another thread may write the same file, and in a shared folder a link may be waiting.
    scratch = target.with_name(f".{target.name}.kernel-evolve-{secrets.token_hex(8)}")
    try:
        _write(scratch, text, "xb")
        yield scratch
    except FileExistsError:
        raise
    except OSError as error:
        raise CannotWrite(not_written(path, error)) from error
    finally:
        # It may be that nothing can be removed for the reason that nothing could be written: that one counts.
        with suppress(OSError):
            scratch.unlink()


def _write(path: Path, text: str, mode: Literal["wb", "xb"]) -> None:
    # Without a buffer: what cannot be written fails here, and not once more when the file is closed.
    with path.open(mode, buffering=0) as stream:
        data = memoryview(text.encode("utf-8"))
        while data:
            data = data[stream.write(data) or 0 :]
        # A network's file system, or a quota, may only now find that there is no room. A pipe has nothing to be synced.
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            os.fsync(stream.fileno())


def _give_name(scratch: Path, path: Path) -> None:
    try:
        os.link(scratch, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # No hard links on this file system (FAT, some network mounts). Between look and rename there is a moment.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        scratch.rename(path)


def _exists(path: Path) -> str:
    return f"{path} exists already and was left as it is. Open it, or move it away and try again."
