"""``kernel-evolve lsp``: the server from its start to its end.

Until ``initialize`` is answered only pygls and this file are loaded; what the features need (the parser, SQLite, the
contracts) is imported while the editor is busy with our answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio import IncompleteReadError
from importlib import import_module
from threading import Event
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.io_ import run_async
from pygls.lsp.server import LanguageServer

from evolve_core import __version__
from evolve_server.connection import CommandFailed, Protocol, QuietCommandFailures
from evolve_server.options import read_options
from evolve_server.stdio import ProtocolWriter, open_reader, take_over

if TYPE_CHECKING:
    from evolve_server.app import App
    from evolve_server.background import Background

logger = logging.getLogger(__name__)

HEALTH = "kernelEvolve/health"
COMMANDS = (
    *("start", "startAll", "cancel", "pause", "resume", "review", "apply", "showDiff"),
    *("report", "showLog", "createTask", "openTask", "trySuggestion"),
)
"""``protocol.Command`` without its import; a test holds the two together."""

READING = {
    types.TEXT_DOCUMENT_CODE_LENS: ("code_lens", types.CodeLensOptions(resolve_provider=False)),
    types.TEXT_DOCUMENT_INLAY_HINT: ("inlay_hint", types.InlayHintOptions()),
    types.TEXT_DOCUMENT_HOVER: ("hover", None),
    types.TEXT_DOCUMENT_CODE_ACTION: (
        "code_action",
        types.CodeActionOptions(
            code_action_kinds=[
                types.CodeActionKind.QuickFix,
                "refactor.kernelEvolve",
                "refactor.rewrite.kernelEvolve",
            ],
            resolve_provider=True,
        ),
    ),
}
"""Method → the feature's module and its options. Each module has ``handle(app, params)``, a pure read of memory."""


class EvolveServer(LanguageServer):
    """A pygls server with our state. Its own faults go to the log: nobody likes pop-ups they did not ask for."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__("kernel-evolve", __version__, protocol_cls=Protocol)
        self.parameters: types.InitializeParams | None = None
        self.exit_code: int | None = None
        self.left = asyncio.Event()
        self._app: App | None = None
        self._background: Background | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def app(self) -> App:
        """The state, made when it is needed first. Only valid after ``initialize``."""
        if self._app is None:
            self._app = import_module("evolve_server.session").make_app(self, self.parameters)
        return self._app

    def begin(self) -> None:
        """Start what goes on by itself, once the client is ready to be written to."""
        self._background = import_module("evolve_server.background").Background(self.app)
        for work in (self._background.run(), self.app.refresher.run()):
            self._running.add(asyncio.ensure_future(work))

    def leave(self, exit_code: int) -> None:
        if self.exit_code is None:
            self.exit_code = exit_code
        self.left.set()

    def end(self) -> None:
        """End our own child processes; runs go on without us."""
        for work in self._running:
            work.cancel()
        if self._background is not None:
            self._background.close()

    def report_server_error(self, error: Exception, source: Any) -> None:
        if not isinstance(error, CommandFailed):
            logger.error("fault %s in %s: %s", type(error).__name__, getattr(source, "__name__", source), error)


def make_server() -> EvolveServer:
    server = EvolveServer()
    for method, (module, options) in READING.items():
        _register_reading(server, method, module, options)
    for name in COMMANDS:
        server.command(f"kernelEvolve.{name}")(_unused)
    _register_lifecycle(server)
    return server


def _register_reading(server: EvolveServer, method: str, module: str, options: Any) -> None:
    @server.feature(method, options)
    def handle(params: Any) -> Any:
        return import_module(f"evolve_server.features.{module}").handle(server.app, params)


def _unused(*_arguments: object) -> None:
    """Registered for its name only: ``Protocol`` routes every command to ``features.execute_command``."""


def _register_lifecycle(server: EvolveServer) -> None:
    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.parameters = params

    @server.feature(types.INITIALIZED)
    def initialized(_params: types.InitializedParams) -> None:
        server.begin()
        import_module("evolve_server.session").introduce(server.app)

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        resolved: types.CodeAction = await import_module("evolve_server.features.code_action").resolve(
            server.app, action
        )
        return resolved

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        server.app.opened(params.text_document)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        server.app.changed(params)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: types.DidSaveTextDocumentParams) -> None:
        server.app.saved(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.app.closed(params.text_document.uri)

    @server.feature(types.WINDOW_WORK_DONE_PROGRESS_CANCEL)
    def cancel_progress(params: types.WorkDoneProgressCancelParams) -> None:
        import_module("evolve_server.session").cancel_by_token(server.app, params)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched_files(params: types.DidChangeWatchedFilesParams) -> None:
        import_module("evolve_server.features.watched_files").handle(server.app, params)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def configuration(params: types.DidChangeConfigurationParams) -> None:
        import_module("evolve_server.session").configuration_changed(server.app, params)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        import_module("evolve_server.session").folders_changed(server.app, params)

    @server.feature(HEALTH)
    def health(_params: Any) -> Any:
        return server.app.health()


def serve(arguments: list[str]) -> None:
    """Serve the client on stdin and stdout until it leaves."""
    logging.basicConfig(
        stream=sys.stderr,
        level=read_options(arguments).upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Below warnings, pygls formats whole messages.
    logging.getLogger("pygls").setLevel(logging.WARNING)
    logging.getLogger("pygls.protocol.json_rpc").addFilter(QuietCommandFailures())
    descriptors = take_over()
    exit_code = asyncio.run(_serve(*descriptors))
    logging.shutdown()
    sys.stderr.flush()
    # Nothing of ours is left to wait for, and a worker thread in a slow system call must not keep an editor waiting.
    os._exit(exit_code)


async def _serve(protocol_in: int, protocol_out: int) -> int:
    loop = asyncio.get_running_loop()
    server = make_server()
    writer = ProtocolWriter(protocol_out, loop)
    server.protocol.set_writer(writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, server.leave, 128 + number)
    reader = await open_reader(protocol_in)
    reading = asyncio.ensure_future(run_async(Event(), reader, server.protocol, logger, server.report_server_error))
    leaving = asyncio.ensure_future(server.left.wait())
    await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if reading.done() and not isinstance(reading.exception(), IncompleteReadError | None):
        logger.error("the connection failed: %s", reading.exception())
    server.end()
    writer.close()
    if server.exit_code is not None:
        return server.exit_code
    # The input ended without `exit`: fine after `shutdown`, a lost client otherwise.
    return 0 if server.protocol.is_shut_down else 1
