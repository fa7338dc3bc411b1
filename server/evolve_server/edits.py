"""Edits of ours as the protocol wants them: versioned, minimal, in the client's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_core.task.native import new_task_file
from evolve_server.documents import uri_of
from evolve_server.positions import client_length

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from evolve_core.source.model import Kernel, TextEdit
    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView, Offer


def current_offer(view: KernelView, document: Document) -> Offer | None:
    """The offer that the background computed, if it is about this very text."""
    return view.offer if view.offer is not None and view.offer.revision == document.revision else None


def workspace_edit(app: App, document: Document, edits: Iterable[TextEdit]) -> types.WorkspaceEdit:
    """Line edits of one open document, with its version where the client understands that."""
    changes = [types.TextEdit(_lines(app, document, edit), edit.new_text) for edit in edits]
    if not app.client.versioned_edits:
        return types.WorkspaceEdit(changes={document.uri: changes})
    identifier = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, list(changes))])


def task_file_edit(document: Document, kernel: Kernel) -> types.WorkspaceEdit:
    """Create a task file beside the document, with as much as can be inferred."""
    return new_file_edit(*task_file(document, kernel))


def new_file_edit(path: Path, text: str) -> types.WorkspaceEdit:
    """Create a file that is not there yet, with this text."""
    uri = uri_of(path)
    create = types.CreateFile(uri, options=types.CreateFileOptions(overwrite=False, ignore_if_exists=True))
    start = types.Range(types.Position(0, 0), types.Position(0, 0))
    fill = types.TextDocumentEdit(
        types.OptionalVersionedTextDocumentIdentifier(uri, None), [types.TextEdit(start, text)]
    )
    return types.WorkspaceEdit(document_changes=[create, fill])


def task_file(document: Document, kernel: Kernel) -> tuple[Path, str]:
    """Where the task file of a kernel goes, and the skeleton in it."""
    from evolve_core.task.skeleton import skeleton

    assert document.path is not None and document.parsed is not None, "only source documents have kernels"
    text = skeleton(document.path, document.parsed, document.text, kernel)
    return new_task_file(document.path, kernel), text


def _lines(app: App, document: Document, edit: TextEdit) -> types.Range:
    return types.Range(_line_start(app, document, edit.start_line), _line_start(app, document, edit.end_line))


def _line_start(app: App, document: Document, line: int) -> types.Position:
    if line < len(document.lines):
        return types.Position(line, 0)
    # Past the last line: its end is the last position there is.
    last = len(document.lines) - 1
    return types.Position(last, client_length(document.lines[last], app.encoding))
