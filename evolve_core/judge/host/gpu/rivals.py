"""Who else computes on the device: a measurement beside another process's work is worth nothing.

The judge's own processes that stay between candidates are no rivals: they do nothing while somebody else holds the
device's lock. What the driver calls them is kept beside that lock, for every judge of this user: another user's word
is not taken for it, since theirs need not be idle.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from .lock import leave_for_all, own_text
from .nvml import DeviceWatch, others_computing

_LOAD_LOOKS, _LOAD_PERIOD_S = 4, 0.5


class Neighbours:
    """Who computes on one device, and which of them are the judge's own. For whoever holds the device's lock."""

    def __init__(self, uuid: str, lock_folder: str) -> None:
        self._uuid, self._folder = uuid, Path(lock_folder)
        # Not to be foreseen: in a folder that everybody writes to, the name could be taken by then.
        self._file = self._folder / f"{uuid}.{secrets.token_hex(8)}.{os.getpid()}.own"
        self._watch: DeviceWatch | None = None

    def rivals(self) -> list[int]:
        """Processes that keep the device busy. Its load is an average over the last second, so our own last work may
        still show beside an idle notebook's name: only what stays busy while we do nothing belongs to somebody else.
        """
        own = self._own()
        for _ in range(_LOAD_LOOKS):
            if not others_computing(self._state(), own):
                return []
            time.sleep(_LOAD_PERIOD_S)
        return others_computing(self._state(), own)

    def computing(self) -> frozenset[int]:
        """All processes that the driver lists now, by its ids."""
        state = self._state()
        return frozenset(state["processes"]) if state else frozenset()

    def add_own(self, before: Collection[int], children: Collection[int]) -> None:
        """This process's ``children`` came up since ``before`` was listed.

        In a container the driver may know them by other ids than we do: then they are those that are new. Where more
        are new, somebody else came up with them, and nobody can tell which.
        """
        now = self.computing()
        new = frozenset(children) if now & frozenset(children) else now - frozenset(before)
        if len(new) <= len(children):
            leave_for_all(self._file, " ".join(map(str, sorted(new))), anew=True)

    def remove_own(self) -> None:
        """This process's children have ended."""
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Before this process forks; looking again opens the driver's library again."""
        if self._watch is not None:
            self._watch.close()
        self._watch = None

    def _own(self) -> frozenset[int]:
        """The benches and conductors of every session of this user that lives."""
        found: set[int] = set()
        for file in self._folder.glob(f"{self._uuid}.*.own"):
            # A session that ends takes its file away without the lock. What is no list of ours says nothing.
            with suppress(OSError, ValueError):
                listed = [int(word) for word in own_text(file).split()]
                if _user_of(int(file.suffixes[-2][1:])) == os.getuid():
                    found.update(pid for pid in listed if _user_of(pid) in (None, os.getuid()))
                else:
                    file.unlink(missing_ok=True)
        return frozenset(found)

    def _state(self) -> dict[str, Any] | None:
        self._watch = self._watch or DeviceWatch(self._uuid)
        return self._watch.state()


def _user_of(pid: int) -> int | None:
    """Whose process that is; None where there is none of that number here: in a container the driver's are others."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    # Not the owner of the folder: of a process whose memory is closed, as ours is, that is root.
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:")), None)
