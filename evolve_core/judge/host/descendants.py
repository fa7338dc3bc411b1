"""Find and kill what a child left behind: the zygote is a subreaper, so orphans of its children become its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

_GONE = (-1, 0)


@dataclass(frozen=True)
class Family:
    """``processor_s`` counts what has ended, too, where somebody waited for it."""

    members: int
    processor_s: float


def children_of(parent: int) -> list[int]:
    """Direct children of a process, from /proc (which lists them by the parent's number in this namespace)."""
    return [process for process, (above, _) in _processes().items() if above == parent]


def family_of(leader: int) -> Family:
    """A process with all its descendants, as they are now."""
    known = _processes()
    children: dict[int, list[int]] = {}
    for process, (parent, _) in known.items():
        children.setdefault(parent, []).append(process)
    waiting, members, ticks = [leader], 0, 0
    while waiting:
        process = waiting.pop()
        members += 1
        ticks += known.get(process, _GONE)[1]
        waiting += children.get(process, [])
    return Family(members, ticks / os.sysconf("SC_CLK_TCK"))


def _processes() -> dict[int, tuple[int, int]]:
    """Every process with its parent and its processor time in ticks, that of the children it has reaped included."""
    with os.scandir("/proc") as entries:
        return {int(entry.name): _parent_and_ticks(entry.name) for entry in entries if entry.name.isdigit()}


def _parent_and_ticks(name: str) -> tuple[int, int]:
    # Bare calls: after a fork bomb there are hundreds to read, and they leave this process little time to do it.
    try:
        descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
    except OSError:
        return _GONE
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    except OSError:
        return _GONE
    finally:
        os.close(descriptor)
    return int(fields[1]), sum(map(int, fields[11:15]))


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
