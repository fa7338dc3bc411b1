"""How much memory there is for what the judge starts: this machine's, or what its control groups leave of it.

A judge in a container is ended as a whole, with its run, where its children take more than the container may have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_MOST_RESIDENT, _MOST_TOGETHER = 0.6, 0.8


def most_resident_bytes() -> int:
    """What one process may hold; CUDA maps terabytes, so that no limit on addresses can say it."""
    return int(_MOST_RESIDENT * _there_is())


def most_together_bytes() -> int:
    """What all processes of a zygote's children may hold."""
    return int(_MOST_TOGETHER * _there_is())


@cache
def _there_is() -> int:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *group_limits()])


def group_limits(proc: Path = Path("/proc/self")) -> list[int]:
    """The memory limits, in bytes, of this process's control groups and of all above them that can be seen.

    See the kernel's admin-guide, cgroup-v2 (``memory.max``) and cgroup-v1/memory (``memory.limit_in_bytes``). In a
    container the group may be named as it is outside, and lie where the container's own files begin.
    """
    try:
        groups = dict(_groups((proc / "cgroup").read_text()))
        mounts = list(_mounts((proc / "mountinfo").read_text()))
    except OSError:
        return []
    found: list[int] = []
    for version, root, place in mounts:
        file = "memory.max" if version == 2 else "memory.limit_in_bytes"
        inside = _below(root, groups[version]) if version in groups else Path()
        found += [limit for folder in (inside, *inside.parents) if (limit := _limit(place / folder / file)) is not None]
    return found


def _groups(text: str) -> Iterator[tuple[int, str]]:
    """(version, path) of the groups that count memory, out of /proc/PID/cgroup: ``HIERARCHY:CONTROLLERS:PATH``."""
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield 2, path
        elif "memory" in controllers.split(","):
            yield 1, path


def _mounts(text: str) -> Iterator[tuple[int, str, Path]]:
    """(version, the group at its root, where it is) of the file systems that show them, out of /proc/PID/mountinfo."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        if kind[0] == "cgroup2":
            yield 2, fields[3], Path(fields[4])
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            yield 1, fields[3], Path(fields[4])


def _below(root: str, path: str) -> Path:
    """Where the group ``path`` is under the place that shows ``root``; that place itself where it is not under it."""
    inside = Path(path)
    return inside.relative_to(root) if inside.is_relative_to(root) else Path()


def _limit(file: Path) -> int | None:
    """None where there is none: no such file, or "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
