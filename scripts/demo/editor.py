"""A headless editor: a language client that keeps one document and what the server says about it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lsprotocol import types
from pygls.lsp.client import LanguageClient


class Editor:
    """Speaks to a real ``kernel-evolve lsp`` over stdio. ``on_progress`` gets each progress line as it arrives."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self.client = LanguageClient("kernel-evolve-demo", "1")
        self.diagnostics: dict[str, list[types.Diagnostic]] = {}
        self.text = ""
        self.version = 0
        self.uri = ""

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def _(params: types.PublishDiagnosticsParams) -> None:
            self.diagnostics[params.uri] = list(params.diagnostics)

        @self.client.feature(types.WINDOW_WORK_DONE_PROGRESS_CREATE)
        def _(_params: types.WorkDoneProgressCreateParams) -> None:
            return None

        @self.client.feature(types.PROGRESS)
        def _(params: types.ProgressParams) -> None:
            value = params.value
            message = value.get("message") if isinstance(value, dict) else getattr(value, "message", None)
            if message:
                on_progress(str(message))

        @self.client.feature(types.WINDOW_SHOW_MESSAGE)
        def _(params: types.ShowMessageParams) -> None:
            on_progress(f"[{params.type.name.lower()}] {params.message}")

        for ignored in (types.WORKSPACE_CODE_LENS_REFRESH, types.WORKSPACE_INLAY_HINT_REFRESH):
            self.client.feature(ignored)(lambda *_: None)
        for ignored in ("experimental/serverStatus", "$/kernelEvolve/runChanged", types.WINDOW_LOG_MESSAGE):
            self.client.feature(ignored)(lambda *_: None)

    async def start(self, workspace: Path, settings: dict[str, object], environ: dict[str, str]) -> None:
        await self.client.start_io(
            sys.executable, "-m", "evolve_server", "lsp", cwd=str(workspace), env={**os.environ, **environ}
        )
        capabilities = types.ClientCapabilities(
            workspace=types.WorkspaceClientCapabilities(
                workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
                code_lens=types.CodeLensWorkspaceClientCapabilities(refresh_support=True),
            ),
            text_document=types.TextDocumentClientCapabilities(
                code_action=types.CodeActionClientCapabilities(
                    code_action_literal_support=types.ClientCodeActionLiteralOptions(
                        code_action_kind=types.ClientCodeActionKindOptions(value_set=["refactor.rewrite", "source"])
                    ),
                    resolve_support=types.ClientCodeActionResolveOptions(properties=["edit"]),
                ),
            ),
            window=types.WindowClientCapabilities(work_done_progress=True),
        )
        await self.client.initialize_async(
            types.InitializeParams(
                capabilities=capabilities,
                process_id=os.getpid(),
                root_uri=workspace.as_uri(),
                workspace_folders=[types.WorkspaceFolder(workspace.as_uri(), workspace.name)],
                initialization_options={"settings": {"kernelEvolve": settings}, "trusted": True},
            )
        )
        self.client.initialized(types.InitializedParams())
        self.client.workspace_did_change_configuration(
            types.DidChangeConfigurationParams(settings={"kernelEvolve": settings})
        )

    def open(self, path: Path) -> None:
        self.uri, self.text, self.version = path.as_uri(), path.read_text(encoding="utf-8"), 1
        item = types.TextDocumentItem(self.uri, "python", self.version, self.text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    @property
    def document(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    async def lenses(self) -> list[types.CodeLens]:
        answer = await self.client.text_document_code_lens_async(types.CodeLensParams(self.document))
        return list(answer or ())

    async def inlays(self) -> list[types.InlayHint]:
        everything = types.Range(types.Position(0, 0), types.Position(self.text.count("\n") + 1, 0))
        answer = await self.client.text_document_inlay_hint_async(types.InlayHintParams(self.document, everything))
        return list(answer or ())

    async def hover(self, position: types.Position) -> str:
        answer = await self.client.text_document_hover_async(types.HoverParams(self.document, position))
        contents = answer.contents if answer else ""
        return contents.value if isinstance(contents, types.MarkupContent) else str(contents)

    async def actions(self, line: int) -> list[types.CodeAction]:
        place = types.Range(types.Position(line, 0), types.Position(line, 0))
        answer = await self.client.text_document_code_action_async(
            types.CodeActionParams(self.document, place, types.CodeActionContext(diagnostics=[]))
        )
        return [a for a in answer or () if isinstance(a, types.CodeAction)]

    async def resolve(self, action: types.CodeAction) -> types.CodeAction:
        return await self.client.code_action_resolve_async(action)

    async def execute(self, command: types.Command) -> object:
        return await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(command.command, command.arguments)
        )

    def apply(self, edit: types.WorkspaceEdit) -> None:
        """Change the document as an editor would, and tell the server."""
        edits = [
            one
            for change in edit.document_changes or ()
            if isinstance(change, types.TextDocumentEdit)
            for one in change.edits
        ]
        lines = self.text.splitlines(keepends=True)
        for one in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
            start, end = (_offset(lines, p) for p in (one.range.start, one.range.end))
            self.text = self.text[:start] + one.new_text + self.text[end:]  # type: ignore[union-attr]
        self.version += 1
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.version, self.uri),
                [types.TextDocumentContentChangeWholeDocument(self.text)],
            )
        )

    async def close(self) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await asyncio.wait_for(self.client.stop(), timeout=10)


def _offset(lines: list[str], position: types.Position) -> int:
    """Offset of a position. The examples are ASCII, where UTF-16 units and characters are the same."""
    return sum(map(len, lines[: position.line])) + position.character
