"""One runner per run: a file lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evolve_core.errors import RunError
from evolve_core.workspace import STATE_FOLDER, state_folder


def _lock_file(workspace: Path, run_id: str) -> Path:
    return workspace / STATE_FOLDER / "locks" / f"{run_id}.lock"


@contextmanager
def runner_lock(workspace: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock. Raises RunError where another runner has it."""
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
        yield
    finally:
        os.close(descriptor)


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
