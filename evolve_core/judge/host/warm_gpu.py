"""The host's end of a GPU session: a child that keeps its device processes warm for one task's planned candidates."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .gpu.channel import BadMessage, Channel, PeerGone, PeerSilent
from .pool import remove_folder

START_PATIENCE_S = 180.0
_GRACE_S = 60.0


class SessionLost(Exception):
    """The child ended, or never came up: the candidate is to be judged without it."""


class GpuSession:
    """One request at a time, from any thread. ``run`` runs the child and returns when it has ended."""

    def __init__(self, payload: dict[str, Any], run: Callable[[dict[str, Any]], None]) -> None:
        """Start the child and wait for it. Raises ``SessionLost``."""
        self._turn = threading.Lock()
        token = secrets.token_hex(16)
        place = Path(tempfile.mkdtemp(prefix="kernel-evolve-"))
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(place / "line"))
                listener.listen(1)
                listener.settimeout(START_PATIENCE_S)
                asked = {**payload, "socket": str(place / "line"), "token": token}
                # The thread ends with the child, and the child with the line or with the zygote.
                threading.Thread(target=run, args=(asked,), name="gpu-session", daemon=True).start()
                self._channel = Channel(listener.accept()[0])
            self._expect(token)
        except (OSError, PeerGone, PeerSilent, BadMessage) as lost:
            raise SessionLost(f"it did not come up: {lost}") from lost
        finally:
            remove_folder(place)

    def _expect(self, token: str) -> None:
        known = False
        try:
            known = self._channel.receive(START_PATIENCE_S).get("token") == token
        finally:
            if not known:
                self.close()
        if not known:
            raise SessionLost("somebody else answered")

    def judge(self, plans: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """The observation of one candidate. Raises ``SessionLost``."""
        with self._turn:
            try:
                self._channel.send({"plans": plans, "deadline_s": deadline_s})
                return self._channel.receive(deadline_s + _GRACE_S)
            except (OSError, PeerGone, PeerSilent, BadMessage) as lost:
                self._channel.close()
                raise SessionLost(str(lost)) from lost

    def close(self) -> None:
        self._channel.close()
