"""The protocol's two pipes, kept apart from everything else that may read stdin or print.

At start the protocol's descriptors are duplicated, fd 0 is pointed at /dev/null and fd 1 at stderr: a stray ``print``,
a C library's ``printf`` or a child that inherits stdout can no longer reach the client.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Awaitable

DRAIN_SECONDS = 0.2
"""How long the last bytes may take at exit: VS Code gives a server 2 s, a closing window about 150 ms."""


def take_over() -> tuple[int, int]:
    """Return private (input, output) descriptors of the protocol; neither is inherited by children."""
    protocol_in, protocol_out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A stray print is worth reading in the log, and the end of the process does not wait for its buffer.
        sys.stdout.reconfigure(line_buffering=True)
    return protocol_in, protocol_out


class ProtocolWriter:
    """Writes without ever blocking the loop: what the client does not take yet waits in memory, in order."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._loop = loop
        self._waiting = bytearray()
        self.broken = False

    def write(self, data: bytes) -> None:
        if self.broken:
            return
        if self._waiting:
            self._waiting += data
            return
        rest = memoryview(data)[self._push(data) :]
        if rest and not self.broken:
            self._waiting += rest
            self._loop.add_writer(self._descriptor, self._drain)

    def close(self) -> None:
        """Hand over what still waits, for at most DRAIN_SECONDS."""
        if self._waiting:
            self._loop.remove_writer(self._descriptor)
        deadline = self._loop.time() + DRAIN_SECONDS
        while self._waiting and not self.broken and (left := deadline - self._loop.time()) > 0:
            select.select([], [self._descriptor], [], left)
            self._take_off(self._push(self._waiting))

    def _drain(self) -> None:
        self._take_off(self._push(self._waiting))
        if self.broken or not self._waiting:
            self._loop.remove_writer(self._descriptor)

    def _take_off(self, count: int) -> None:
        del self._waiting[:count]

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            # The client is gone. The end of our input says so too, and that is what ends the server.
            self.broken = True
            return 0


class ThreadReader:
    """Reads a descriptor that the event loop cannot watch (a regular file, in tests and when debugging)."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readline(self) -> Awaitable[bytes]:
        return asyncio.to_thread(self._stream.readline)

    def readexactly(self, n: int) -> Awaitable[bytes]:
        return asyncio.to_thread(self._stream.read, n)


async def open_reader(descriptor: int) -> asyncio.StreamReader | ThreadReader:
    """Read on the loop where it can watch the descriptor: pygls' own reader costs three thread hops a message."""
    loop = asyncio.get_running_loop()
    stream = os.fdopen(descriptor, "rb")
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or stream.isatty()):
        # Files and devices such as /dev/null: asyncio takes some of them, and then cannot watch them.
        return ThreadReader(stream)
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    return reader
