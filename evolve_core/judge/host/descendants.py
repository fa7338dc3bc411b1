"""Find and kill what a child left behind: the zygote is a subreaper, so orphans of its children become its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def children_of(parent: int) -> list[int]:
    """Direct children of a process, from /proc (which lists them by the parent's number in this namespace)."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in entries if _parent_of(entry) == parent]


def _parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


def kill_group(leader: int) -> None:
    """SIGKILL a process group and its leader; both may be gone already."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_strays(known: set[int]) -> None:
    """Kill every child of this process that is not in ``known``, with its group, and reap it."""
    me = os.getpid()
    for stray in children_of(me):
        if stray not in known:
            kill_group(stray)
            reap(stray)


def kill_everything(patience_s: float = 5.0) -> None:
    """Kill all descendants, generation by generation, until none is left or ``patience_s`` is over."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            for child in children_of(os.getpid()):
                kill_group(child)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.01)
        except ChildProcessError:
            return


def reap(child: int) -> None:
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        return
