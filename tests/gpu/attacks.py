"""What host code might do outside its kernel, as functions that say whether they got through.

Opening, connecting and asking is proof enough: nothing is written, stopped or read. The first five are the red team's
(``tests/judge/redteam``), where they are candidates; here they tell which layer of the bench's confinement stops what.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import triton

from evolve_core.judge.host.gpu import bench


@dataclass(frozen=True)
class Target:
    """What is there to be reached: other processes' folders, and an abstract socket that somebody listens on."""

    own: Path
    other_cache: Path
    secret: Path
    listening: str


def edited_harness(_: Target) -> bool:
    return _opens(bench.__file__, os.O_RDWR)


def compiler_cache(target: Target) -> bool:
    places = (target.other_cache, Path.home() / ".triton", Path.home() / ".cache", Path(triton.__file__).parent)
    return _any(_touches(place) for place in places if place.is_dir())


def download(_: Target) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
            return line.connect_ex(("127.0.0.1", 9)) in (0, errno.ECONNREFUSED)
    except OSError:
        return False


def signals(_: Target) -> bool:
    try:
        os.kill(os.getppid(), 0)
    except OSError:
        return False
    return True


def parents_memory(_: Target) -> bool:
    own = os.path.realpath("/proc/self")
    others = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and str(entry) != own]
    return _any(_opens(entry / "mem", os.O_RDONLY) for entry in others)


def other_results(target: Target) -> bool:
    return _opens(target.secret / "outputs-0.bin", os.O_RDONLY)


def datagrams(_: Target) -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def kernel_settings(_: Target) -> bool:
    return _opens("/proc/sys/kernel/core_pattern", os.O_WRONLY)


def parents_entry(_: Target) -> bool:
    return _opens(f"/proc/{os.getppid()}/oom_score_adj", os.O_WRONLY)


def abstract_socket(target: Target) -> bool:
    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.connect(target.listening)
        return True
    return False


def shared_memory(_: Target) -> bool:
    return _touches(Path("/dev/shm"))


ATTACKS: dict[str, Callable[[Target], bool]] = {
    "edited-harness": edited_harness,
    "compiler-cache": compiler_cache,
    "download": download,
    "signals": signals,
    "parents-memory": parents_memory,
    "other-results": other_results,
    "datagrams": datagrams,
    "kernel-settings": kernel_settings,
    "parents-entry": parents_entry,
    "abstract-socket": abstract_socket,
    "shared-memory": shared_memory,
}


def _any(outcomes: Iterable[bool]) -> bool:
    return any(list(outcomes))


def _opens(path: str | Path, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def _touches(folder: Path) -> bool:
    file = folder / f".redteam-{os.getpid()}"
    try:
        file.touch()
        file.unlink()
    except OSError:
        return False
    return True
