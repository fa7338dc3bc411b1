"""``textDocument/hover`` on a kernel's decorators and name: the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_server.evidence import about

if TYPE_CHECKING:
    from evolve_server.app import App


def handle(app: App, params: types.HoverParams) -> types.Hover | None:
    document = app.document(params.text_document.uri)
    if document is None:
        return None
    line = params.position.line
    view = next((v for v in app.view.kernels(document) if v.anchored.line <= line <= v.anchored.name_line), None)
    text = about(view, app.workspace(view.path)) if view is not None else ""
    if not text:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))
