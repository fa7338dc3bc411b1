"""What the bench gives up before its first CUDA call: it runs a candidate's host code with the device in its hands.

Namespaces, behind which the other children stand, are not for it: CUDA's handles for device memory name the process
that exports them. What is left are layers that a driver can work under, and each can be left out by itself where it
does not. The conductor runs the user's own code and stays as free as that.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from glob import glob
from pathlib import Path

from .. import kernelcalls as kernel
from .. import landlock, seccomp
from ..sandbox import DEVICES
from ..settling import settle_in

_DEVICE_FILES = ("/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg")
"""What a CUDA driver opens for writing: of a discrete GPU, of a Jetson, of WSL."""


class Layer(StrEnum):
    """In the order in which they are put on."""

    FILES = "files"
    """Landlock: no writing but to what ``Confinement`` names; no sight of what it hides, nor of others' memory."""
    PROC = "proc"
    """Part of ``FILES``: of /proc no more than its own entry, so neither other processes nor the kernel's settings."""
    SIGNALS = "signals"
    """No signals to processes outside: by Landlock, on older kernels by a filter of system calls."""
    SOCKETS = "sockets"
    """Landlock: no Unix socket of a process outside that has no place in the file system."""
    PRIVILEGES = "privileges"
    """No capabilities, which root has and others do not."""
    CALLS = "calls"
    """The filter of system calls: no network, no other process's memory, no corners of the kernel."""


@dataclass(frozen=True)
class Confinement:
    """``own``: the one process's folder; ``cache``: what it compiles, shared with those that come after it."""

    own: Path
    cache: Path
    hidden: tuple[str, ...] = ()
    """Folders that it must not see into, except for ``kept`` inside them."""
    kept: str = ""

    def writable(self, proc: str) -> list[str]:
        devices = [path for pattern in _DEVICE_FILES for path in glob(pattern)]  # noqa: PTH207 - no common folder
        return [str(self.own), str(self.cache), *DEVICES, *devices, proc]


def own_folder(spool: Path) -> Path:
    """This process's own in ``spool``: what one process writes, no other may write or find half written."""
    return spool / Path("/proc/self").resolve().name


def confine(confinement: Confinement, layers: Collection[Layer] = tuple(Layer)) -> tuple[Layer, ...]:
    """Put on ``layers``; returns those that this system has. Only in a process with one thread: others go free."""
    settle_in(confinement.own / "tmp", confinement.cache)
    return tuple(layer for layer in Layer if layer in layers and _put_on(layer, confinement, layers))


def _put_on(layer: Layer, confinement: Confinement, layers: Collection[Layer]) -> bool:
    match layer:
        case Layer.FILES:
            writable = confinement.writable(_own_entry() if Layer.PROC in layers else "/proc")
            return landlock.restrict(writable, confinement.hidden, confinement.kept, scopes=0)
        case Layer.PROC:
            return Layer.FILES in layers and landlock.abi() > 0
        case Layer.SIGNALS:
            return landlock.restrict_scopes(landlock.SIGNALS) or seccomp.keep_signals_to_itself()
        case Layer.SOCKETS:
            return landlock.restrict_scopes(landlock.ABSTRACT_SOCKETS)
        case Layer.PRIVILEGES:
            kernel.drop_capabilities()
            return True
        case Layer.CALLS:
            return seccomp.install()


def _own_entry() -> str:
    """This process's folder in /proc, where CUDA names its threads (cuInit fails with error 304 where it cannot).

    A rule holds for the folder as it was found, and the kernel forgets and finds it anew as it likes, unless somebody
    has it open: so this process keeps it open.
    """
    os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return os.path.realpath("/proc/self")
