"""pygls' protocol, with what an editor's background server needs changed.

Each override says which behaviour of pygls 2.1.1 it replaces. The documents are ours (``documents.py``): pygls splits
lines at form feeds and at U+2028, which no editor does, and copies the whole text on every keystroke.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

if TYPE_CHECKING:
    from pygls.protocol.json_rpc import RPCMessage

    from evolve_server.server import EvolveServer

logger = logging.getLogger(__name__)

SERVER_NOT_INITIALIZED = -32002


class CommandFailed(JsonRpcException):
    """A command that was just invoked cannot be carried out. ``str(error)`` is the message to show."""

    # LSP's RequestFailed: the request was sound and could not be fulfilled.
    CODE = -32803
    MESSAGE = "Request failed"


class NotInitialized(JsonRpcException):
    CODE = SERVER_NOT_INITIALIZED
    MESSAGE = "The server has not been initialized yet."


class Protocol(LanguageServerProtocol):
    """Text synchronisation without pygls' workspace, and no per-keystroke leftovers.

    pygls runs its own notification handlers as generators and keeps a future of each for ever; plain functions leave
    nothing behind.
    """

    _server: EvolveServer

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        self.fm.features[types.TEXT_DOCUMENT_DID_OPEN](params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE](params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE](params)

    @lsp_method(types.WINDOW_WORK_DONE_PROGRESS_CANCEL)
    def lsp_work_done_progress_cancel(self, params: types.WorkDoneProgressCancelParams) -> None:
        self.fm.features[types.WINDOW_WORK_DONE_PROGRESS_CANCEL](params)

    @property
    def is_shut_down(self) -> bool:
        return self._shutdown

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(self, params: types.ExecuteCommandParams) -> Any:  # type: ignore[override]
        """pygls matches arguments to signatures; ours are one object each, checked where they are used."""
        from evolve_server.features import execute_command

        return await execute_command.handle(self._server.app, params)

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: object) -> None:  # type: ignore[override]
        self._server.leave(0 if self._shutdown else 1)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Answer a request that is not as the protocol wants it; pygls leaves its client waiting for ever."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "method" in data and "id" in data:
                refusal = JsonRpcInvalidParams(f"Malformed {data['method']}: {error.__cause__ or error}")
                self._send_response(data["id"], None, refusal.to_response_error())
            raise

    def handle_message(self, message: RPCMessage) -> None:
        """Refuse requests that come before ``initialize``, as the protocol asks; pygls lets them run into nothing."""
        method = getattr(message, "method", "")
        early = self._workspace is None and method not in ("", types.INITIALIZE, types.EXIT)
        if not early:
            super().handle_message(message)
        elif (msg_id := getattr(message, "id", None)) is not None:
            self._send_response(msg_id, None, NotInitialized().to_response_error())


class QuietCommandFailures(logging.Filter):
    """pygls logs every failed request with a traceback; a command's failure is an answer, not a fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], CommandFailed))
