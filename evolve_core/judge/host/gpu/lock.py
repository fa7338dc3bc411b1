"""One measurement at a time on a device: a file lock named by the device's UUID, gone with the process that holds
it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POLL_S = 0.05


class DeviceBusy(Exception):
    """Another run holds the device for longer than this request may wait."""


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
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with suppress(FileExistsError):
            leave_for_all(path, "")


def leave_for_all(path: Path, text: str, *, anew: bool = False) -> None:
    """A file that every user may read, whatever the umask says: there whole, or not at all. ``anew``: in the place of
    an earlier one; else raises FileExistsError where there is one.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.chmod(0o644)
    try:
        if anew:
            unfinished.replace(path)
        else:
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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
