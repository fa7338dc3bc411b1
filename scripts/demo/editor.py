"""A headless editor: a language client that keeps one document and what the server says about it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonrpc import Connection, ServerError

CAPABILITIES = {
    "workspace": {
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]},
        "codeLens": {"refreshSupport": True},
        "inlayHint": {"refreshSupport": True},
        "configuration": True,
    },
    "textDocument": {
        "codeAction": {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix", "refactor.rewrite", "source"]}},
            "resolveSupport": {"properties": ["edit"]},
        },
        "hover": {"contentFormat": ["markdown"]},
    },
    "window": {"workDoneProgress": True},
}


class Editor:
    """Speaks to a real ``kernel-evolve lsp`` over stdio. ``on_progress`` gets each progress line as it arrives."""

    def __init__(self, on_progress: Callable[[str], None], settings: dict[str, Any]) -> None:
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self.text = ""
        self.version = 0
        self.uri = ""
        self.run_id = ""
        self._on_progress = on_progress
        self._settings = settings
        self.connection = Connection(
            {
                "textDocument/publishDiagnostics": self._published,
                "workspace/configuration": lambda params: [self._settings for _ in params["items"]],
                "$/progress": self._progressed,
                "window/showMessage": lambda params: on_progress(f"message: {params['message']}"),
            }
        )

    async def start(self, workspace: Path, environ: dict[str, str]) -> None:
        await self.connection.start(
            sys.executable, "-m", "evolve_server", "lsp", cwd=str(workspace), env={**os.environ, **environ}
        )
        await self.connection.request(
            "initialize",
            {
                "processId": os.getpid(),
                "clientInfo": {"name": "kernel-evolve demo"},
                "rootUri": workspace.as_uri(),
                "workspaceFolders": [{"uri": workspace.as_uri(), "name": workspace.name}],
                "capabilities": CAPABILITIES,
                "initializationOptions": {"trusted": True},
            },
        )
        self.connection.notify("initialized", {})

    def open(self, path: Path) -> None:
        self.uri, self.text, self.version = path.as_uri(), path.read_text(encoding="utf-8"), 1
        item = {"uri": self.uri, "languageId": "python", "version": self.version, "text": self.text}
        self.connection.notify("textDocument/didOpen", {"textDocument": item})

    async def lenses(self) -> dict[int, list[str]]:
        """Line → titles, as they stand beside each other."""
        titles: dict[int, list[str]] = {}
        for lens in await self._ask("textDocument/codeLens") or ():
            titles.setdefault(lens["range"]["start"]["line"], []).append(lens["command"]["title"])
        return titles

    async def inlays(self) -> dict[int, str]:
        """Line → label."""
        end = {"line": self.text.count("\n") + 1, "character": 0}
        found = await self._ask("textDocument/inlayHint", range={"start": {"line": 0, "character": 0}, "end": end})
        return {hint["position"]["line"]: _label(hint["label"]) for hint in found or ()}

    async def hover(self, line: int, character: int) -> str:
        found = await self._ask("textDocument/hover", position={"line": line, "character": character})
        return str(found["contents"]["value"]) if found else ""

    async def actions(self, line: int) -> list[dict[str, Any]]:
        place = {"line": line, "character": 0}
        return (
            await self._ask(
                "textDocument/codeAction", range={"start": place, "end": place}, context={"diagnostics": []}
            )
            or []
        )

    async def resolve(self, action: dict[str, Any]) -> dict[str, Any]:
        resolved: dict[str, Any] = await self.connection.request("codeAction/resolve", action)
        return resolved

    async def execute(self, command: dict[str, Any]) -> Any:
        wanted = {"command": command["command"], "arguments": command.get("arguments", [])}
        return await self.connection.request("workspace/executeCommand", wanted)

    async def cancel_all(self) -> None:
        """Cancel the run that was started, if the server is still there and the run still goes on."""
        if self.run_id and self.connection.alive:
            with contextlib.suppress(ServerError):
                await self.execute({"command": "kernelEvolve.cancel", "arguments": [{"runId": self.run_id}]})
            await self.connection.close()

    def apply(self, edit: dict[str, Any]) -> None:
        """Change the document as an editor would, and tell the server."""
        edits = [one for change in edit["documentChanges"] for one in change["edits"]]
        for one in sorted(edits, key=lambda e: _key(e["range"]["start"]), reverse=True):
            start, end = self._offset(one["range"]["start"]), self._offset(one["range"]["end"])
            self.text = self.text[:start] + one["newText"] + self.text[end:]
        self.version += 1
        self.connection.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": self.uri, "version": self.version},
                "contentChanges": [{"text": self.text}],
            },
        )

    async def _ask(self, method: str, **params: Any) -> Any:
        return await self.connection.request(method, {"textDocument": {"uri": self.uri}, **params})

    def _published(self, params: dict[str, Any]) -> None:
        self.diagnostics[params["uri"]] = params["diagnostics"]

    def _progressed(self, params: dict[str, Any]) -> None:
        if message := params["value"].get("message"):
            self._on_progress(message)

    def _offset(self, position: dict[str, int]) -> int:
        """Offset of a position. The examples are ASCII, where UTF-16 units and characters are the same."""
        lines = self.text.splitlines(keepends=True)
        return sum(map(len, lines[: position["line"]])) + position["character"]


def _key(position: dict[str, int]) -> tuple[int, int]:
    return position["line"], position["character"]


def _label(label: str | list[dict[str, str]]) -> str:
    return label if isinstance(label, str) else "".join(part["value"] for part in label)
