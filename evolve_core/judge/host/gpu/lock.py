"""One measurement at a time on a device: a file lock named by the device's UUID, gone with the process that holds
it.

Every user of the machine writes into the folder of these locks: what lies there is a stranger's until its owner is
known, and may be a link or a pipe in a file's place.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StepError

_POLL_S = 0.05
_MAX_NOTE_BYTES = 4096
_AS_IT_LIES = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Neither through a link nor waiting for whoever writes to a pipe."""


class DeviceBusy(Exception):
    """Another run holds the device for longer than this request may wait."""


def lock_folder() -> Path:
    """Where every run on this machine locks a device, whoever's it is and wherever their own temporary files go.

    Raises StepError where something else lies there: it would be opened to everybody in the folder's place.
    """
    shared = Path("/tmp")
    return open_to_all((shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())) / "kernel-evolve-locks")


def open_to_all(folder: Path) -> Path:
    """The folder, in which every user may leave files and nobody take away another's. Raises as ``lock_folder``."""
    with suppress(FileExistsError):
        folder.mkdir()
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as refused:
        message = f"{folder} is no folder that locks could lie in ({refused.strerror}); remove it and start again"
        raise StepError("host-failure", message) from None
    try:
        with suppress(PermissionError):  # Another user's, who has done it.
            os.fchmod(descriptor, 0o1777)
    finally:
        os.close(descriptor)
    return folder


@contextmanager
def device_lock(uuid: str, folder: Path, timeout_s: float) -> Iterator[None]:
    """Hold the device ``uuid`` (locked through ``folder``/UUID.lock) or raise ``DeviceBusy`` after ``timeout_s``
    seconds.

    The descriptor is not inheritable by programs but is shared with forked children; a child must not outlive the
    request anyway, and closing in the child does not release the parent's lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid}.lock"
    descriptor = _opened(path)
    try:
        _acquire(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """For reading alone, which is enough for a lock: every user of the machine shares the device, and so the file.

    In a folder like /tmp the kernel lets nobody create a file "if it is not there" that is another user's.
    """
    while True:
        with suppress(FileNotFoundError):
            return _regular(path)
        with suppress(FileExistsError):
            leave_for_all(path, "")


def _regular(path: Path) -> int:
    try:
        descriptor = os.open(path, _AS_IT_LIES)
    except FileNotFoundError:
        raise
    except OSError as refused:
        raise DeviceBusy(f"{path} cannot be locked ({refused.strerror}); remove it, or have its owner do so") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DeviceBusy(f"{path} is no file, so nobody can lock the GPU by it; remove it, or have its owner do so")
    return descriptor


def leave_for_all(path: Path, text: str, *, anew: bool = False) -> None:
    """A file that every user may read, whatever the umask says: there whole, or not at all. ``anew``: in the place of
    an earlier one; else raises FileExistsError where there is one.
    """
    # A name that nobody can know before: what lay under it, a link say, would be written to.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text)
        if anew:
            unfinished.replace(path)
        else:
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def own_text(path: Path) -> str:
    """What this user left at ``path``. Raises OSError where it cannot be read, PermissionError where somebody else
    left it, ValueError where it is no text.
    """
    descriptor = os.open(path, _AS_IT_LIES)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{path} is another user's, or no file")
        return os.read(descriptor, _MAX_NOTE_BYTES).decode()
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                message = f"another measurement holds the GPU ({path}); wait for it to end or cancel that run"
                raise DeviceBusy(message) from None
            time.sleep(_POLL_S)
