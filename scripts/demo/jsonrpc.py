"""JSON-RPC with Content-Length framing to a child process: what an editor's language client does underneath."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[[Any], Any]


class ServerError(Exception):
    """The server answered a request with an error."""


class Connection:
    """Requests, notifications and the other side's calls. ``handlers`` answer the server by method name."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, *command: str, cwd: str, env: Mapping[str, str]) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=cwd, env=env)
        self._reader = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def request(self, method: str, params: Any) -> Any:
        """Return the result. Raises ServerError, and TimeoutError after a minute."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._waiting[number], timeout=60)

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    async def close(self) -> int:
        """Shut the server down as the protocol wants it; return its exit code."""
        assert self._process is not None and self._reader is not None, "close comes after start"
        await self.request("shutdown", None)
        self.notify("exit", None)
        code = await asyncio.wait_for(self._process.wait(), timeout=10)
        await self._reader
        return code

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None, "nothing is sent before start"
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout
        while header := await stream.readline():
            length = 0
            while header.strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                header = await stream.readline()
            self._take(json.loads(await stream.readexactly(length)))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ServerError("the server has ended"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            future = self._waiting.pop(message["id"])
            if "error" in message:
                future.set_exception(ServerError(message["error"]["message"]))
            else:
                future.set_result(message["result"])
            return
        handler = self._handlers.get(message["method"], lambda _params: None)
        result = handler(message.get("params"))
        if "id" in message:
            self._send({"id": message["id"], "result": result})
