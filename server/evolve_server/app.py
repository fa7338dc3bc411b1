"""The server's state and what follows from a change of it. Features read it, the background feeds it."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from evolve_server.documents import Document, open_document, path_of, uri_of
from evolve_server.features.diagnostics import diagnostics_of, task_file_diagnostics
from evolve_server.features.progress import Tokens
from evolve_server.jobs import Cancel, Job, workspace_of
from evolve_server.positions import Encoding
from evolve_server.protocol import RUN_CHANGED, SERVER_STATUS, RunChanged, ServerStatus
from evolve_server.refresh import Refresher
from evolve_server.settings import Client, Settings
from evolve_server.view import View

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from evolve_core.task.model import TaskProblem
    from evolve_server.server import EvolveServer
    from evolve_server.view import RunView

logger = logging.getLogger(__name__)

SETTINGS_SECONDS = 1.0


@dataclass(slots=True)
class App:
    """Touched on the event loop only. ``wake`` asks the background to look at files, tasks and journals now."""

    server: EvolveServer
    client: Client
    settings: Settings
    encoding: Encoding
    folders: tuple[Path, ...]
    view: View = field(default_factory=View)
    jobs: dict[str, Job] = field(default_factory=dict)
    cancels: dict[str, Cancel] = field(default_factory=dict)
    lone_task_problems: dict[str, tuple[TaskProblem, ...]] = field(default_factory=dict)
    """Problems of open task files whose source file is not open, by the task file's URI."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stale_tasks: set[str] = field(default_factory=set)
    """URIs of documents whose tasks have to be looked for again."""
    stale_suggestions: set[str] = field(default_factory=set)
    settings_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has answered what its settings are."""
    tokens: Tokens = field(default_factory=Tokens)
    refresher: Refresher = field(init=False)
    _published: dict[str, list[types.Diagnostic]] = field(default_factory=dict)
    _status: ServerStatus | None = None
    _workspaces: dict[Path, Path] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def reconfigured(self, settings: Settings) -> None:
        if settings != self.settings:
            self.settings = settings
            self.stale_suggestions |= {d.uri for d in self.view.documents.values() if d.is_source}
            self.publish_all()

    def __post_init__(self) -> None:
        self.refresher = Refresher(self)
        self.view.workspace_of = self.workspace
        if not self.client.configuration:
            self.settings_known.set()

    async def configured(self) -> None:
        """Wait for the client's settings, but not for ever: a start right after the file was opened needs them."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.settings_known.wait(), SETTINGS_SECONDS)
        self.settings_known.set()

    # Documents -------------------------------------------------------------------------------------------------

    def opened(self, item: types.TextDocumentItem) -> None:
        document = open_document(item)
        self.view.documents[item.uri] = document
        if document.is_source:
            self.stale_suggestions.add(item.uri)
        self._look_for_tasks(document)
        self.publish(document)

    def changed(self, params: types.DidChangeTextDocumentParams) -> None:
        document = self.view.documents.get(params.text_document.uri)
        if document is None:
            logger.warning("change of a document that is not open: %s", params.text_document.uri)
            return
        before = _launch_shape(document)
        for change in params.content_changes:
            document.apply(change, self.encoding)
        document.version = params.text_document.version
        is_parsed = document.parse(patiently=True)
        if document.is_task or _launch_shape(document) != before:
            self._look_for_tasks(document)
        if is_parsed:
            self.publish(document)
        # Offers are computed anew, and slow parses done, once typing pauses.
        self.wake.set()

    def saved(self, uri: str) -> None:
        document = self.view.documents.get(uri)
        if document is not None:
            self._look_for_tasks(document)
            if document.is_source:
                self.stale_suggestions.add(uri)

    def closed(self, uri: str) -> None:
        document = self.view.documents.pop(uri, None)
        for of_document in (self.view.tasks, self.view.suggestions, self.lone_task_problems):
            of_document.pop(uri, None)
        self.view.offers = {key: offer for key, offer in self.view.offers.items() if key[0] != uri}
        self.refresher.forget(uri)
        self._send_diagnostics(uri, [], None)
        if document is not None and document.is_task:
            self._look_for_tasks(document)
        self.publish_task_files()

    def document(self, uri: str) -> Document | None:
        return self.view.documents.get(uri)

    def uri_of(self, path: Path) -> str:
        """The client's own spelling where it has the file open: clients escape different characters."""
        document = self.view.document_of(path)
        return document.uri if document is not None else uri_of(path)

    def workspace(self, path: Path) -> Path:
        """The project that holds a file; found once per folder, as it takes a look at every folder above."""
        if path.parent not in self._workspaces:
            self._workspaces[path.parent] = workspace_of(path, self.folders)
        return self._workspaces[path.parent]

    def use_folders(self, folders: tuple[Path, ...]) -> None:
        self.folders = folders
        self._workspaces.clear()
        self.wake.set()

    def workspace_of_run(self, run: RunView) -> Path:
        return self.workspace(Path(run.record.spec.source_file))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with something after its request was answered; the task is held until it ends."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("fault in what followed a request", exc_info=error)

    def _look_for_tasks(self, document: Document) -> None:
        """A task file concerns every open source beside it; its own problems are looked for the same way."""
        self.stale_tasks.add(document.uri)
        if document.is_task and document.path is not None:
            beside = document.path.parent
            self.stale_tasks |= {
                d.uri for d in self.view.documents.values() if d.path is not None and d.path.parent == beside
            }
        self.wake.set()

    # What goes out ---------------------------------------------------------------------------------------------

    def publish(self, document: Document) -> None:
        """Send the document's diagnostics where they differ from what the client has."""
        if not document.is_task:
            self._send_diagnostics(document.uri, diagnostics_of(self, document), document.version)

    def publish_all(self) -> None:
        """After anything but a keystroke: tasks, runs or settings have changed."""
        for document in self.view.documents.values():
            self.publish(document)
        self.publish_task_files()
        self.refresher.poke()

    def publish_task_files(self) -> None:
        wanted = task_file_diagnostics(self)
        sources = {d.uri for d in self.view.documents.values() if not d.is_task}
        for uri in set(self._published) - sources - set(wanted):
            self._send_diagnostics(uri, [], None)
        for uri, diagnostics in wanted.items():
            self._send_diagnostics(uri, diagnostics, None)

    def notify_run(self, change: RunChanged) -> None:
        self.server.protocol.notify(RUN_CHANGED, change)

    def send_status(self, *, quiescent: bool) -> None:
        problem = self.view.journal_problem
        status: ServerStatus = {"health": "warning" if problem else "ok", "quiescent": quiescent}
        if problem:
            status["message"] = problem
        if status != self._status:
            self._status = status
            self.server.protocol.notify(SERVER_STATUS, status)

    def show_error(self, message: str) -> None:
        """Only for the failure of a command just invoked, and only where the client does not show it itself."""
        self.server.window_show_message(types.ShowMessageParams(types.MessageType.Error, message))

    def _send_diagnostics(self, uri: str, diagnostics: list[types.Diagnostic], version: int | None) -> None:
        if self._published.get(uri, []) == diagnostics:
            return
        if diagnostics:
            self._published[uri] = diagnostics
        else:
            self._published.pop(uri, None)
        self.server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, version))

    def health(self) -> dict[str, Any]:
        """The answer to ``kernelEvolve/health``: for ``:checkhealth``, bug reports and the tests."""
        heavy = ("torch", "triton", "numpy", "sqlalchemy", "anthropic", "openai", "evolve_core.search")
        return {
            "python": sys.executable,
            "client": self.client.name,
            "trusted": self.client.trusted,
            "settings": asdict(self.settings),
            "heavyModules": [name for name in heavy if name in sys.modules],
            "documents": len(self.view.documents),
            "activeRuns": [run.record.run_id for run in self.view.active_runs()],
            "pendingRuns": list(self.view.pending),
            "journalProblem": self.view.journal_problem,
            "workspaces": sorted({str(self.workspace(d.path)) for d in self.view.documents.values() if d.path}),
        }


def _launch_shape(document: Document) -> object:
    """What a task depends on: which kernels there are and who launches them."""
    return tuple((a.kernel.qualified_name, a.kernel.hosts) for a in document.anchored)


def folders_of(params: types.InitializeParams) -> tuple[Path, ...]:
    """The editor's folders, absolute; none where it opened a single file."""
    uris = [folder.uri for folder in params.workspace_folders or ()]
    if not uris and params.root_uri:
        uris = [params.root_uri]
    return tuple(path for path in map(path_of, uris) if path is not None)
