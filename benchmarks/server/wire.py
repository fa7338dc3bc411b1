"""A blocking LSP client for timing: no threads, no loop, nothing between the pipe and the clock."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OURS = (sys.executable, "-m", "evolve_server", "lsp")
NULL = (sys.executable, str(Path(__file__).with_name("null.py")))
CAPABILITIES = {
    "window": {"workDoneProgress": True},
    "textDocument": {
        "codeAction": {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": [""]}},
            "resolveSupport": {"properties": ["edit"]},
        }
    },
}


class Server:
    """One server process. Requests of the server are answered with null as they are met."""

    def __init__(self, command: tuple[str, ...], root: Path, options: dict[str, Any] | None = None) -> None:
        self.started_at = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root
        )
        self._id = 0
        parameters = {
            "processId": None,
            "rootUri": root.as_uri(),
            "capabilities": CAPABILITIES,
            "initializationOptions": options,
        }
        self.request("initialize", parameters)
        self.initialize_seconds = time.perf_counter() - self.started_at
        self.notify("initialized", {})

    def request(self, method: str, params: Any) -> Any:
        self._id += 1
        self._send({"id": self._id, "method": method, "params": params})
        answer = self.read_until(lambda message: message.get("id") == self._id and "method" not in message)
        return answer.get("result")

    def timed(self, method: str, params: Any) -> float:
        started = time.perf_counter()
        self.request(method, params)
        return time.perf_counter() - started

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def open(self, path: Path) -> str:
        uri = path.as_uri()
        item = {"uri": uri, "languageId": "python", "version": 1, "text": path.read_text()}
        self.notify("textDocument/didOpen", {"textDocument": item})
        return uri

    def read_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message = self._read()
            if wanted(message):
                return message
            if "id" in message and "method" in message:
                self._send({"id": message["id"], "result": None})

    def stop(self) -> float:
        """Seconds from ``shutdown`` to the end of the process."""
        started = time.perf_counter()
        self.request("shutdown", None)
        self.notify("exit", None)
        self.process.wait()
        return time.perf_counter() - started

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        stream = self.process.stdout
        assert stream is not None
        length = 0
        while (line := stream.readline()) != b"\r\n":
            if not line:
                raise ConnectionError("the server went away")
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(stream.read(length))
        return message
