"""Files on a disk that may be full: written whole or not at all, and what to say when there is no room."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NEARLY_FULL_BYTES = 32 << 20
"""With less than this free a failure says nothing about who failed: one tensor of 4096 by 1024 floats is half of it,
and what a step wrote before it failed may be gone again when somebody looks."""

_NEXT_STEPS = {
    errno.ENOSPC: "Free some space there, then try again. Nothing journaled is lost.",
    errno.EDQUOT: "Free some of your quota, then try again. Nothing journaled is lost.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), then try again. Nothing journaled is lost.",
    errno.EROFS: "Name a place that can be written with --workspace.",
    errno.EACCES: "Make it accessible to you, or name another place.",
    errno.ENOENT: "Check the name, then try again.",
    errno.EISDIR: "Name a file in it.",
    errno.ENOTDIR: "A part of that path is a file; check the name.",
}


def explain(error: OSError) -> str:
    """The cause and the next step of an error of the operating system, as one message for the user."""
    where = f"{error.filename}: " if error.filename else ""
    step = _NEXT_STEPS.get(error.errno or 0, "Mend that, then try again.")
    return f"{where}{error.strerror or error}. {step}"


def shortage(path: Path) -> str:
    """A sentence when the disk that holds ``path`` (a folder) is full or nearly so, else ""."""
    try:
        status = os.statvfs(path)
    except OSError:
        return ""
    free = status.f_bavail * status.f_frsize
    if free >= NEARLY_FULL_BYTES:
        return ""
    mount = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_mount())
    return f"The disk is full: {free / 1e6:.0f} MB are left on {mount}."


def write_new(path: Path, text: str) -> None:
    """Make a file with ``text`` (UTF-8), all of it or no file. Raises FileExistsError, and OSError that names it."""
    with path.open("xb") as stream:
        try:
            _write(stream.fileno(), text)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _naming(error, path) from None


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text, or make the file. A reader (a build, an editor) sees the old file or the new one.

    The old file's permissions stay, a link still leads to it, and a device (/dev/stdout) is written to. Raises OSError
    that names ``path``; then the old file is as it was.
    """
    is_old = path.exists()
    is_replaceable = not is_old or path.is_file()
    target = path.resolve() if is_replaceable else path
    scratch = target.with_name(f".{target.name}.kernel-evolve-{os.getpid()}") if is_replaceable else target
    try:
        with scratch.open("wb") as stream:
            _write(stream.fileno(), text)
        if is_replaceable:
            if is_old:
                scratch.chmod(target.stat().st_mode)
            scratch.replace(target)
    except OSError as error:
        raise _naming(error, path) from None
    finally:
        if is_replaceable:
            scratch.unlink(missing_ok=True)


def _write(descriptor: int, text: str) -> None:
    data = memoryview(text.encode("utf-8"))
    while data:
        data = data[os.write(descriptor, data) :]
    # A network's file system, or a quota, may only now find that there is no room. A pipe has nothing to be synced.
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


def _naming(error: OSError, path: Path) -> OSError:
    return OSError(error.errno, error.strerror, str(path))
