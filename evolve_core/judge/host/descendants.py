"""Find and kill what a child left behind: the zygote is a subreaper, so orphans of its children become its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_GONE = (-1, 0)


@dataclass(frozen=True)
class Family:
    """``processor_s`` counts what has ended, too, where somebody waited for it."""

    members: int
    processor_s: float


@dataclass(frozen=True)
class Processes:
    """All processes of this system at one moment: one reading of /proc serves everybody who asks."""

    _ticks: dict[int, int]
    """Processor time of each, that of the children it has reaped included."""
    _children: dict[int, list[int]]

    @classmethod
    def now(cls) -> Processes:
        ticks: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        with os.scandir("/proc") as entries:
            for entry in entries:
                if entry.name.isdigit():
                    parent, ticks[int(entry.name)] = parent_and_ticks(_stat_of(entry.name))
                    children.setdefault(parent, []).append(int(entry.name))
        return cls(ticks, children)

    def children_of(self, parent: int) -> list[int]:
        """Direct ones, by the parent's number in this namespace."""
        return self._children.get(parent, [])

    def family_of(self, leader: int) -> Family:
        """A process with all its descendants."""
        waiting, members, ticks = [leader], 0, 0
        while waiting:
            process = waiting.pop()
            members += 1
            ticks += self._ticks.get(process, 0)
            waiting += self.children_of(process)
        return Family(members, ticks / os.sysconf("SC_CLK_TCK"))


def _stat_of(name: str) -> bytes:
    # Bare calls: after a fork bomb there are hundreds to read, and they leave this process little time to do it.
    try:
        descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def parent_and_ticks(stat: bytes) -> tuple[int, int]:
    """What /proc says of a process. One that is ending, or an odd system, may leave fields out: nobody's child then."""
    fields = stat.rpartition(b")")[2].split()
    try:
        return int(fields[1]), sum(map(int, fields[11:15]))
    except (IndexError, ValueError):
        return _GONE


def kill_group(leader: int) -> None:
    """SIGKILL a process group and its leader; both may be gone already."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_strays(known: set[int], patience_s: float = 1.0) -> None:
    """Kill the children of this process that are not in ``known``, with their groups, and reap them.

    Again until none is left or ``patience_s`` is over: what a stray started becomes a child of this process as it dies.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        strays = set(_own_children()) - known
        if not strays:
            return
        for stray in strays:
            kill_group(stray)
        for stray in strays:
            reap(stray)


def _own_children() -> list[int]:
    """From the lists of this process's threads where the kernel keeps them: all of /proc takes longer to read than a
    process that is after that needs to start its successor and end.
    """
    me = os.getpid()
    if not Path(f"/proc/self/task/{me}/children").exists():
        return Processes.now().children_of(me)
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            listed = (thread / "children").read_bytes()
        except OSError:
            continue  # The thread has ended; its children are another's now.
        found += map(int, listed.split())
    return found


def kill_everything(patience_s: float = 5.0) -> None:
    """Kill all descendants, generation by generation, until none is left or ``patience_s`` is over."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            for child in _own_children():
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
