"""The least a pygls server can do: what ours is compared with. It publishes a diagnostic per keystroke and hovers."""

from lsprotocol import types
from pygls.lsp.server import LanguageServer

server = LanguageServer("null", "1")


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def opened(params: types.DidOpenTextDocumentParams) -> None:
    """Registered so that documents are synchronised."""


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def changed(params: types.DidChangeTextDocumentParams) -> None:
    where = types.Range(types.Position(0, 0), types.Position(0, 1))
    found = [types.Diagnostic(where, "null")]
    document = params.text_document
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(document.uri, found, document.version))


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover(params: types.HoverParams) -> types.Hover:
    return types.Hover("null")


server.start_io()
