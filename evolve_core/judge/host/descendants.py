"""Find and kill what a child left behind: the zygote is a subreaper, so orphans of its children become its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Family:
    """``processor_s`` counts what has ended, too, where somebody waited for it. ``resident_bytes``: of its largest
    member, because forked ones share most of theirs. ``added_bytes``: of all members together, what each has beyond
    this process, out of which they were forked.
    """

    members: int
    processor_s: float
    resident_bytes: int
    added_bytes: int


@dataclass(frozen=True)
class Stat:
    """What /proc says of a process. ``ticks``: processor time, that of the children it has reaped included."""

    parent: int
    ticks: int
    resident_bytes: int


_GONE = Stat(-1, 0, 0)


@dataclass(frozen=True)
class Processes:
    """All processes of this system at one moment: one reading of /proc serves everybody who asks."""

    _stats: dict[int, Stat]
    _children: dict[int, list[int]]

    @classmethod
    def now(cls) -> Processes:
        stats: dict[int, Stat] = {}
        children: dict[int, list[int]] = {}
        with os.scandir("/proc") as entries:
            for entry in entries:
                if entry.name.isdigit():
                    stat = stats[int(entry.name)] = read_stat(_read(f"/proc/{entry.name}/stat"))
                    children.setdefault(stat.parent, []).append(int(entry.name))
        return cls(stats, children)

    def children_of(self, parent: int) -> list[int]:
        """Direct ones, by the parent's number in this namespace."""
        return self._children.get(parent, [])

    def family_of(self, leader: int) -> Family:
        """A process with all its descendants."""
        waiting, members, added = [leader], list[Stat](), 0
        inherited = _private_bytes("self")
        while waiting:
            process = waiting.pop()
            members.append(self._stats.get(process, _GONE))
            added += max(0, _private_bytes(str(process)) - inherited)
            waiting += self.children_of(process)
        processor_s = sum(one.ticks for one in members) / os.sysconf("SC_CLK_TCK")
        return Family(len(members), processor_s, max(one.resident_bytes for one in members), added)


def _private_bytes(name: str) -> int:
    """Resident memory of a process that is no file's; what it still shares with who forked it is in it."""
    pages = _read(f"/proc/{name}/statm").split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 2 else 0


def _read(path: str) -> bytes:
    # Bare calls: after a fork bomb there are hundreds to read, and they leave this process little time to do it.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def read_stat(stat: bytes) -> Stat:
    """A process that is ending, or an odd system, may leave fields out: nobody's child then."""
    fields = stat.rpartition(b")")[2].split()
    try:
        return Stat(int(fields[1]), sum(map(int, fields[11:15])), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
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
