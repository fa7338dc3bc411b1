"""``workspace/didChangeWatchedFiles``: a checkout, another editor, a generated task file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolve_server.documents import path_of

if TYPE_CHECKING:
    from lsprotocol import types

    from evolve_server.app import App


def handle(app: App, params: types.DidChangeWatchedFilesParams) -> None:
    """Look again at the tasks of every open file beside one that changed."""
    folders = {path.parent for change in params.changes if (path := path_of(change.uri)) is not None}
    for document in app.view.documents.values():
        if document.path is not None and document.path.parent in folders:
            app.stale_tasks.add(document.uri)
    app.wake.set()
