"""JSON lines over a pair of descriptors: the host's protocol, and the talk between host and zygotes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

MAX_LINE_BYTES = 64 << 20
"""A longer line is not ours: candidate sources and observations stay far below."""


class LineTooLong(Exception):
    """The other side sent a line over ``MAX_LINE_BYTES``."""


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"


class LineBuffer:
    """Collects bytes and gives back whole lines, parsed."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        self._held += data
        if b"\n" not in data:
            if len(self._held) > MAX_LINE_BYTES:
                raise LineTooLong
            return []
        *lines, rest = bytes(self._held).split(b"\n")
        self._held = bytearray(rest)
        return [json.loads(line) for line in lines if line.strip()]


class Writer:
    """Whole lines to one descriptor, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        data = memoryview(encode(message))
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]


def read_messages(descriptor: int) -> Iterator[dict[str, Any]]:
    """Parsed lines until the other side closes. Raises ValueError where a line is not JSON."""
    buffer = LineBuffer()
    while data := os.read(descriptor, 1 << 16):
        yield from buffer.feed(data)
