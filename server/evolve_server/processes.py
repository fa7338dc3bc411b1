"""Other processes, as Linux's /proc shows them (proc(5))."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

PROC = Path("/proc")


def start_time(pid: int) -> str | None:
    """When a live process started, in clock ticks since boot; None for a zombie and for none."""
    found = _status(pid)
    return found[1] if found is not None else None


def is_alive(pid: int, started: str) -> bool:
    """Whether that very process, not a later one with its id, is alive."""
    return start_time(pid) == started


def descendants(pid: int) -> dict[int, str]:
    """Children, their children and so on: process id → start time."""
    children: dict[int, list[int]] = defaultdict(list)
    started: dict[int, str] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := _status(int(entry.name))) is not None:
            parent, started[int(entry.name)] = found
            children[parent].append(int(entry.name))
    reached = list(children[pid])
    for child in reached:
        reached += children[child]
    return {child: started[child] for child in reached}


def signal_if_alive(pid: int, started: str, number: signal.Signals) -> None:
    if is_alive(pid, started):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def command_line(pid: int) -> str:
    """The arguments with spaces in between, "" where the process is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _status(pid: int) -> tuple[int, str] | None:
    """(parent, start time): fields 4 and 22 of proc(5)'s stat, counted behind the name, which may hold anything."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])
