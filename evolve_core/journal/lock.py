"""One runner per run: a file lock that the kernel drops when its holder dies, however it dies.

The locked file also takes the runner's last words. Its room is taken when the run starts, so that a runner which ends
because the disk is full can still say so.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evolve_core.errors import RunError
from evolve_core.workspace import STATE_FOLDER, state_folder


def _lock_file(workspace: Path, run_id: str) -> Path:
    return workspace / STATE_FOLDER / "locks" / f"{run_id}.lock"


WORDS_BYTES = 4096
"""One block of the usual file systems. Overwriting it in place needs no new one, except where every write is a copy."""


@contextmanager
def runner_lock(workspace: Path, run_id: str) -> Iterator[Callable[[str], None]]:
    """Hold the run's lock, and get the function that writes the holder's last words.

    Raises RunError where another runner has the lock, OSError where there is no room for it.
    """
    state_folder(workspace)
    path = _lock_file(workspace, run_id)
    path.parent.mkdir(exist_ok=True)
    # The descriptor is closed on exec (PEP 446), so no child can keep the lock alive.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"Run {run_id} is already going on in another process; nothing was started.") from None
        try:
            _write_words(descriptor, "")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        yield lambda words: _write_words(descriptor, words)
    finally:
        os.close(descriptor)


def last_words(workspace: Path, run_id: str) -> str:
    """What the run's last runner said when it stopped, "" where it said nothing."""
    try:
        return _lock_file(workspace, run_id).read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _write_words(descriptor: int, words: str) -> None:
    block = words.encode("utf-8", "replace")[:WORDS_BYTES].ljust(WORDS_BYTES)
    if os.pwrite(descriptor, block, 0) < WORDS_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_runner_alive(workspace: Path, run_id: str) -> bool:
    """Say whether some process holds the run's lock."""
    try:
        descriptor = os.open(_lock_file(workspace, run_id), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        # Another user's run: whether it goes on cannot be seen, and saying that it died would be a guess.
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
