"""Writing a file of the user's: whole or not at all, and a failure that names the cause and the next step."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from evolve_core.errors import CannotWrite

_FULL = {
    errno.ENOSPC: ("the disk is full", "Free some space"),
    errno.EDQUOT: ("your disk quota is used up", "Free some of it"),
    errno.EFBIG: ("it would be larger than files may be here (ulimit -f)", "Raise that limit"),
    errno.EROFS: ("the file system is read-only", "Move the project to one that can be written"),
    errno.EACCES: ("its folder may not be written", "Change the folder's permissions"),
    errno.EPERM: ("its folder may not be written", "Change the folder's permissions"),
    errno.ENOENT: ("its folder is not there", "Make the folder"),
}
"""errno → the cause in words, and what to do about it."""


def write_new_file(path: Path, text: str) -> None:
    """Write a file that does not exist yet. It appears with its whole text, or there is nothing.

    A file that is there already, also one that somebody writes in the meantime, is left as it is. Raises CannotWrite.
    """
    scratch = path.with_name(f".{path.name}.kernel-evolve-{os.getpid()}")
    try:
        if path.exists():
            raise CannotWrite(_exists(path))
        with scratch.open("wb") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            # Some file systems notice only here that they are full.
            os.fsync(stream.fileno())
        _give_name(scratch, path)
    except FileExistsError:
        raise CannotWrite(_exists(path)) from None
    except OSError as error:
        raise CannotWrite(not_written(path, error)) from error
    finally:
        # It may be that nothing can be removed for the reason that nothing could be written: that one counts.
        with suppress(OSError):
            scratch.unlink()


def not_written(path: Path, error: OSError) -> str:
    """Why a file could not be written, and the next step, as one message."""
    cause, step = _FULL.get(error.errno or 0, (error.strerror or str(error), "Mend that"))
    return f"{path} was not written: {cause}. {step}, then try again."


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
