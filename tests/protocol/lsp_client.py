"""A small LSP client over a real server process: strict about framing, with the answers an editor would give.

Profiles hold what current editors say they can do, as far as it changes what the server sends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "evolve_server", "lsp", "--log-level", "info")
PATIENCE_SECONDS = 60.0

VSCODE: dict[str, Any] = {
    "name": "Visual Studio Code",
    "capabilities": {
        "general": {"positionEncodings": ["utf-16"]},
        "window": {"workDoneProgress": True, "showDocument": {"support": True}, "showMessage": {}},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create", "rename", "delete"]},
            "codeLens": {"refreshSupport": True},
            "inlayHint": {"refreshSupport": True},
            "didChangeWatchedFiles": {"dynamicRegistration": True},
        },
        "textDocument": {
            "codeAction": {
                "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["", "quickfix", "refactor"]}},
                "resolveSupport": {"properties": ["edit"]},
                "dataSupport": True,
            },
            "hover": {"contentFormat": ["markdown", "plaintext"]},
            "publishDiagnostics": {"versionSupport": True},
        },
    },
}
NEOVIM: dict[str, Any] = {
    "name": "Neovim",
    "capabilities": {
        "general": {"positionEncodings": ["utf-8", "utf-16", "utf-32"]},
        "window": {"workDoneProgress": True, "showDocument": {"support": True}, "showMessage": {}},
        "workspace": {
            "applyEdit": True,
            "configuration": True,
            "workspaceEdit": {"resourceOperations": ["rename", "create", "delete"], "documentChanges": True},
            "inlayHint": {"refreshSupport": True},
            "didChangeWatchedFiles": {"dynamicRegistration": False},
        },
        "textDocument": {
            "codeAction": {
                "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["", "quickfix", "refactor"]}},
                "resolveSupport": {"properties": ["edit", "command"]},
                "dataSupport": True,
            },
            "hover": {"contentFormat": ["markdown", "plaintext"]},
        },
    },
}
PLAIN: dict[str, Any] = {"name": "", "capabilities": {}}
"""A client that says nothing about itself."""


def knowledge_of(root: Path) -> Path:
    return root.parent / "knowledge.sqlite"


class ResponseError(Exception):
    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.message: str = error["message"]


class Lsp:
    """One client and its server. Everything the server sent is kept in ``received``, in order."""

    def __init__(
        self, process: asyncio.subprocess.Process, profile: dict[str, Any], delays: dict[str, float] | None = None
    ) -> None:
        self.process = process
        self.profile = profile
        self.received: list[dict[str, Any]] = []
        self.initialized: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.delays = delays or {}
        """Method of a server's request → how many seconds its answer takes."""
        self.answers: dict[str, Any] = {
            "workspace/applyEdit": {"applied": True},
            "window/showDocument": {"success": True},
        }
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._arrived = asyncio.Condition()
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(
        cls,
        root: Path,
        profile: dict[str, Any] = VSCODE,
        *,
        options: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        command: tuple[str, ...] = COMMAND,
        env: dict[str, str] | None = None,
        delays: dict[str, float] | None = None,
    ) -> Lsp:
        """Start a server on ``root`` and shake hands."""
        with (root.parent / "server.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=root,
                # A knowledge base of the test's own: what it learns is nobody's business, nor what others learned its.
                env={**os.environ, "KERNEL_EVOLVE_KNOWLEDGE": str(knowledge_of(root)), **(env or {})},
                limit=1 << 24,
            )
        client = cls(process, profile, delays)
        client.settings = settings or {}
        client.initialized = await client.request(
            "initialize",
            {
                "processId": None,
                "clientInfo": {"name": profile["name"]} if profile["name"] else None,
                "rootUri": root.as_uri(),
                "workspaceFolders": [{"uri": root.as_uri(), "name": root.name}],
                "capabilities": profile["capabilities"],
                "initializationOptions": options,
            },
        )
        client.notify("initialized", {})
        return client

    async def stop(self) -> int:
        """Leave politely; the server's exit code."""
        if self.process.returncode is None:
            await self.request("shutdown", None)
            self.notify("exit", None)
        code = await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)
        await self._reading
        return code

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def request(self, method: str, params: Any) -> Any:
        self._next_id += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._next_id] = future
        self._send({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        return await asyncio.wait_for(future, PATIENCE_SECONDS)

    def notify(self, method: str, params: Any) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def command(self, name: str, **target: Any) -> Any:
        return await self.request(
            "workspace/executeCommand", {"command": f"kernelEvolve.{name}", "arguments": [target]}
        )

    # Documents

    def open(self, path: Path, text: str | None = None, version: int = 1) -> str:
        uri = path.as_uri()
        text = path.read_text() if text is None else text
        language = "python" if path.suffix == ".py" else "cuda-cpp"
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})
        return uri

    def change(self, uri: str, version: int, *changes: dict[str, Any]) -> None:
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": list(changes)})

    async def lenses(self, uri: str) -> list[dict[str, Any]]:
        return await self.request("textDocument/codeLens", {"textDocument": {"uri": uri}}) or []

    async def titles(self, uri: str) -> list[str]:
        return [lens["command"]["title"] for lens in await self.lenses(uri)]

    async def until_title(
        self, uri: str, wanted: Callable[[str], bool], patience_s: float = PATIENCE_SECONDS
    ) -> list[str]:
        """Ask for lenses until one reads as wanted."""
        return await self._until(lambda: self.titles(uri), lambda titles: any(map(wanted, titles)), patience_s)

    async def actions(self, uri: str, line: int, only: list[str] | None = None) -> list[dict[str, Any]]:
        where = {"start": {"line": line, "character": 0}, "end": {"line": line, "character": 0}}
        context: dict[str, Any] = {"diagnostics": []}
        if only:
            context["only"] = only
        params = {"textDocument": {"uri": uri}, "range": where, "context": context}
        return await self.request("textDocument/codeAction", params) or []

    async def action(self, uri: str, line: int, title: str) -> dict[str, Any]:
        found = await self._until(
            lambda: self.actions(uri, line), lambda actions: any(a["title"].startswith(title) for a in actions)
        )
        return next(a for a in found if a["title"].startswith(title))

    async def hover(self, uri: str, line: int, character: int = 5) -> str:
        position = {"line": line, "character": character}
        answer = await self.request("textDocument/hover", {"textDocument": {"uri": uri}, "position": position})
        return answer["contents"]["value"] if answer else ""

    async def inlays(self, uri: str) -> list[dict[str, Any]]:
        everything = {"start": {"line": 0, "character": 0}, "end": {"line": 100_000, "character": 0}}
        return await self.request("textDocument/inlayHint", {"textDocument": {"uri": uri}, "range": everything}) or []

    # What the server sent by itself

    def sent(self, method: str) -> list[dict[str, Any]]:
        return [message["params"] for message in self.received if message.get("method") == method]

    async def until(self, method: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first notification or request of that method, past or to come, that is as wanted."""
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            found[:] = [params for params in self.sent(method) if wanted(params)]
            return bool(found)

        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(arrived), PATIENCE_SECONDS)
        return found[0]

    def diagnostics(self, uri: str) -> list[dict[str, Any]]:
        """What the client shows now."""
        published = [p for p in self.sent("textDocument/publishDiagnostics") if p["uri"] == uri]
        return published[-1]["diagnostics"] if published else []

    async def until_diagnostics(self, uri: str, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(lambda: wanted(self.diagnostics(uri))), PATIENCE_SECONDS)
        return self.diagnostics(uri)

    async def _until(
        self, ask: Callable[[], Any], wanted: Callable[[Any], bool], patience_s: float = PATIENCE_SECONDS
    ) -> Any:
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            answer = await ask()
            if wanted(answer):
                return answer
            assert asyncio.get_running_loop().time() < deadline, f"never as wanted; last answer: {answer}"
            await asyncio.sleep(0.05)

    # The wire

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while (header := await self._header(stream)) is not None:
            message = json.loads(await stream.readexactly(header))
            self._take(message)
            async with self._arrived:
                self._arrived.notify_all()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the server went away"))
                future.exception()

    async def _header(self, stream: asyncio.StreamReader) -> int | None:
        length = None
        while line := await stream.readline():
            if line == b"\r\n":
                assert length is not None, "a header without a length"
                return length
            name, _, value = line.decode("ascii").partition(": ")
            assert name in ("Content-Length", "Content-Type"), f"not a header: {line!r}"
            if name == "Content-Length":
                length = int(value)
        return None

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            future = self._waiting.pop(message["id"])
            if "error" in message:
                future.set_exception(ResponseError(message["error"]))
            else:
                future.set_result(message["result"])
            return
        self.received.append(message)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": self._answer(message)}
            delay = self.delays.get(message["method"], 0.0)
            if delay:
                asyncio.get_running_loop().call_later(delay, self._send, answer)
            else:
                self._send(answer)

    def _answer(self, message: dict[str, Any]) -> Any:
        if message["method"] == "workspace/configuration":
            return [self.settings for _ in message["params"]["items"]]
        answer = self.answers.get(message["method"])
        return answer(message["params"]) if callable(answer) else answer
