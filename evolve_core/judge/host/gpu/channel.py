"""Bounded JSON messages between two processes that do not trust each other's timing or size."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

# A message describes tensors and samples, never carries them; whoever sends more is broken or hostile.
MESSAGE_LIMIT_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16


class PeerGone(Exception):
    """The other side closed its end: it ended or was killed."""


class PeerSilent(Exception):
    """No answer before the deadline."""


class BadMessage(Exception):
    """What arrived is no message: too long, or not a JSON object."""


class Channel:
    """One end of a stream socket that carries one JSON object a line, both ways."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object. Raises ``PeerGone`` where nobody listens any more."""
        self._end.settimeout(None)
        try:
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise PeerGone("the other process ended") from gone

    def receive(self, timeout_s: float | None) -> dict[str, Any]:
        """The next object. Raises ``PeerSilent`` after ``timeout_s`` seconds (None: wait), ``PeerGone`` or
        ``BadMessage``.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._received.find(b"\n")) < 0:
            self._fill(deadline)
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return _parse(line)

    def close(self) -> None:
        self._end.close()

    def fileno(self) -> int:
        return self._end.fileno()

    def _fill(self, deadline: float | None) -> None:
        if len(self._received) > MESSAGE_LIMIT_BYTES:
            raise BadMessage(f"a message of more than {MESSAGE_LIMIT_BYTES} bytes")
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise PeerSilent("no answer in time")
        self._end.settimeout(remaining)
        try:
            chunk = self._end.recv(_CHUNK_BYTES)
        except TimeoutError as silent:
            raise PeerSilent("no answer in time") from silent
        except ConnectionResetError as gone:
            raise PeerGone("the other process ended") from gone
        if not chunk:
            raise PeerGone("the other process ended")
        self._received += chunk


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as broken:
        raise BadMessage("a line that is no JSON") from broken
    if not isinstance(message, dict):
        raise BadMessage("a JSON value that is no object")
    return message
