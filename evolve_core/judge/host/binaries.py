"""Compiled kernels out of the folders of processes that ran foreign code, kept under the hash of their bytes."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .codehash import code_hash
from .keeping import device_calls

MAX_BYTES = 64 << 20
"""Of one binary: the largest of the studied kernels have a few hundred KiB."""


class BinaryStore:
    """Files ``<sha256>.cubin`` in ``folder``. What lies there has the bytes that its name says. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._users = Counter[str]()
        self._lock = threading.Lock()

    def at_hand(self) -> set[str]:
        """The hashes of all that is kept."""
        return {file.stem for file in self.folder.glob("*.cubin")}

    def code_of(self, plans: str) -> str:
        """A hash of ``plans`` (text) with each binary in them that is kept here by what it does, not by its bytes."""
        for file in self.folder.glob("*.cubin"):
            if file.stem in plans:
                plans = plans.replace(file.stem, code_hash(file.read_bytes()))
        return hashlib.sha256(plans.encode()).hexdigest()

    def take(self, source: Path, names: Iterable[str]) -> set[str]:
        """Copy those of ``names`` in that ``source`` really has; returns the ones that are in the store afterwards.

        They stay until ``release`` was called as often.
        """
        found = set()
        for name in names:
            kept = self.folder / f"{name}.cubin"
            with self._lock:
                if kept.exists() or self._copy(source / kept.name, name, kept):
                    self._users[name] += 1
                    found.add(name)
        return found

    def release(self, names: Iterable[str]) -> None:
        """Who took ``names`` needs them no more. Few files are ever shared: a binary knows its source's path."""
        for name in names:
            with self._lock:
                self._users[name] -= 1
                if self._users[name] <= 0:
                    del self._users[name]
                    (self.folder / f"{name}.cubin").unlink(missing_ok=True)

    def _copy(self, file: Path, name: str, kept: Path) -> bool:
        content = regular_content(file)
        if content is None or hashlib.sha256(content).hexdigest() != name:
            return False
        unfinished = kept.with_suffix(f".{os.getpid()}-{id(content)}")
        unfinished.write_bytes(content)
        unfinished.replace(kept)
        return True


def device_calls_of(folder: Path, names: Iterable[str]) -> frozenset[str]:
    """What the binaries of these names in ``folder`` call of the device's runtime (keeping.py)."""
    contents = [regular_content(folder / f"{name}.cubin") for name in names]
    return frozenset().union(*(device_calls(content) for content in contents if content is not None))


def regular_content(file: Path) -> bytes | None:
    """None for anything but a regular file of a moderate size: a link or a pipe was put there by a candidate."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        return opened.read(MAX_BYTES + 1)
