"""``textDocument/inlayHint``: the result behind a kernel's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_server.positions import client_length
from evolve_server.words import age, inlay

if TYPE_CHECKING:
    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView


def handle(app: App, params: types.InlayHintParams) -> list[types.InlayHint]:
    document = app.document(params.text_document.uri)
    if document is None or not app.settings.inlay_hints:
        return []
    app.refresher.answered("inlay", document.uri)
    shown = range(params.range.start.line, params.range.end.line + 1)
    return [
        _hint(app, document, view, text)
        for view in app.view.kernels(document)
        if view.anchored.name_line in shown and (text := inlay(view))
    ]


def _hint(app: App, document: Document, view: KernelView, text: str) -> types.InlayHint:
    line = view.anchored.name_line
    written = document.lines[line].rstrip("\r") if line < len(document.lines) else ""
    return types.InlayHint(
        position=types.Position(line, client_length(written, app.encoding)),
        label=text,
        tooltip=_tooltip(view),
        padding_left=True,
    )


def _tooltip(view: KernelView) -> str | None:
    run = view.run
    if run is None or run.best is None:
        return None
    ended = run.record.ended_at
    return f"{run.best.summary} · {age(ended)}" if ended is not None else run.best.summary
