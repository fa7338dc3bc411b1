"""What the server does when nobody asks: watch journals, files and children, and fill the view.

Everything that reads a disk or takes long runs in one worker thread; results are applied on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from evolve_core.errors import KernelEvolveError
from evolve_core.journal.control import request_control
from evolve_core.journal.model import Control
from evolve_core.journal.reader import UNREADABLE
from evolve_server import jobs, suggestions
from evolve_server.features import progress
from evolve_server.journal_book import JournalBook, Snapshot
from evolve_server.offers import offer
from evolve_server.protocol import run_changed
from evolve_server.tasks import Stamp, TaskQuestion, look_for_tasks, problems_of_task_file, stamps
from evolve_server.view import Offer, StartFailure

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import RunView

    P = ParamSpec("P")
    T = TypeVar("T")

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.2
IDLE_SECONDS = 1.0
FILES_SECONDS = 1.0
TYPING_PAUSE_SECONDS = 0.25
COALESCE_SECONDS = 0.05


class Background:
    """One loop, one worker thread. A fault of one round is logged and the next round goes on."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._book = JournalBook()
        self._stamps: dict[str, tuple[Stamp, ...]] = {}
        self._files_looked_at = 0.0
        self._parent = os.getppid()
        self._suggester = suggestions.Suggester(app)

    async def run(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:  # the one boundary of this process
                logger.exception("fault %s in the background; going on", secrets.token_hex(4))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._app.wake.wait(), self._pause())
            # A burst of keystrokes is one reason to look, not twenty.
            await asyncio.sleep(COALESCE_SECONDS)
            self._app.wake.clear()

    def close(self) -> None:
        """End what must not outlive the server: looking for suggestions. Runs go on."""
        self._suggester.close()

    async def off_loop(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that reads a disk in the worker thread, in order with everything else there."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def _pause(self) -> float:
        app = self._app
        running = app.jobs or app.cancels or app.view.active_runs()
        typing = any(not _is_resting(document) for document in app.view.documents.values())
        return BUSY_SECONDS if running or typing else IDLE_SECONDS

    async def _round(self) -> None:
        self._follow_parent()
        # First, as what a round stumbles over (a journal that cannot be read) must not keep a runner alive.
        await self._press_cancels()
        changed = self._parse_late()
        changed |= await self._look_at_files()
        changed |= await self._find_tasks()
        # In this order: what a runner wrote before it ended is read before its end is judged.
        ended = [job for job in self._app.jobs.values() if job.process.poll() is not None]
        try:
            changed |= await self._read_journals()
        finally:
            changed |= self._reap(ended)
        changed |= await self._compute_offers()
        changed |= await self._suggester.step(self.off_loop)
        if changed:
            self._app.publish_all()
        progress.report(self._app)
        self._app.send_status(quiescent=not (self._app.view.pending or self._app.view.active_runs()))

    def _follow_parent(self) -> None:
        """An editor that was killed closes our input; a wrapper in between may keep it open."""
        if os.getppid() != self._parent:
            logger.warning("the process that started this server is gone; leaving")
            self._app.server.leave(1)

    def _parse_late(self) -> bool:
        """Files too slow to parse on every keystroke are parsed once typing pauses."""
        due = [d for d in self._app.view.documents.values() if d.parse_is_due and _is_resting(d)]
        for document in due:
            document.parse()
        return bool(due)

    async def _look_at_files(self) -> bool:
        """Notice task files that changed on disk, for clients that do not watch files for us."""
        now = time.monotonic()
        if now - self._files_looked_at < FILES_SECONDS:
            return False
        self._files_looked_at = now
        sources = [(d.uri, d.path) for d in self._app.view.documents.values() if d.is_source and d.path is not None]
        found = await self.off_loop(lambda: {uri: stamps(path) for uri, path in sources})
        self._app.stale_tasks |= {uri for uri, stamp in found.items() if self._stamps.get(uri) != stamp}
        return False

    async def _find_tasks(self) -> bool:
        app = self._app
        uris, app.stale_tasks = app.stale_tasks, set()
        documents = [d for d in map(app.document, uris) if d is not None]
        if not documents:
            return False
        unsaved = {d.path: d.text for d in app.view.documents.values() if d.is_task and d.path is not None}
        for document in documents:
            if document.is_task and document.path is not None:
                alone = not any(
                    d.is_source and d.path is not None and d.path.parent == document.path.parent
                    for d in app.view.documents.values()
                )
                found = await self.off_loop(problems_of_task_file, document.path, document.text) if alone else ()
                if document.uri in app.view.documents:
                    app.lone_task_problems[document.uri] = found
            elif document.parsed is not None and document.path is not None:
                question = TaskQuestion(document.uri, document.path, document.parsed)
                answer = await self.off_loop(look_for_tasks, question, unsaved)
                if document.uri not in app.view.documents:
                    continue
                # Kernels hidden by half-typed text keep the task they had.
                app.view.tasks[document.uri] = app.view.tasks.get(document.uri, {}) | answer.tasks
                app.view.task_times |= {path: changed_ns / 1e9 for path, changed_ns, _ in answer.stamps}
                self._stamps[document.uri] = answer.stamps
        return True

    async def _read_journals(self) -> bool:
        documents = self._app.view.documents.values()
        open_files = frozenset(str(d.path) for d in documents if d.is_source and d.path is not None)
        snapshot = await self.off_loop(self._book.poll, self._workspaces(), open_files)
        if snapshot is None:
            return False
        self._take(snapshot)
        return True

    def _workspaces(self) -> tuple[Path, ...]:
        app = self._app
        near = {app.workspace(d.path) for d in app.view.documents.values() if d.is_source and d.path is not None}
        return tuple(sorted(near | set(app.folders) | {job.workspace for job in app.jobs.values()}))

    def _take(self, snapshot: Snapshot) -> None:
        view = self._app.view
        before = {run.record.run_id: run.record for runs in view.runs.values() for run in runs}
        view.runs, view.journal_problems = snapshot.runs, snapshot.problems
        for runs in snapshot.runs.values():
            for run in runs:
                view.pending.pop(run.record.run_id, None)
                if run.is_active:
                    self._forget_failed_starts(run)
                if self._is_news(before.get(run.record.run_id), run):
                    self._app.notify_run(run_changed(run, time.time()))

    def _forget_failed_starts(self, run: RunView) -> None:
        """A run that is on is what there is to say of its kernels. It may be why another start was refused."""
        for name in run.record.spec.kernels:
            self._app.view.start_failures.pop((run.record.spec.source_file, name), None)

    def _is_news(self, before: object, run: RunView) -> bool:
        """Old runs that were over when we first saw them are history, not news."""
        return run.record != before and (before is not None or run.is_active or run.record.run_id in self._app.jobs)

    def _reap(self, ended: list[jobs.Job]) -> bool:
        """Let go of runners that ended; one that left nothing in the journal has its last words shown instead."""
        app = self._app
        lost = [job for job in ended if app.view.run(job.run_id) is None]
        for job in ended:
            del app.jobs[job.run_id]
            self._book.look_again(job.workspace)
        for job in lost:
            pending = app.view.pending.pop(job.run_id, None)
            if pending is not None:
                words = jobs.last_words(job)
                failure = StartFailure(job.run_id, pending.path, pending.kernels, pending.versions, words)
                app.view.start_failures[str(pending.path), pending.kernels[0]] = failure
        if lost:
            for run in app.view.active_runs():
                self._forget_failed_starts(run)
        return bool(lost)

    async def _compute_offers(self) -> bool:
        """What applying each visible winner would do to the text as it is now."""
        app = self._app
        changed = False
        for document in list(app.view.documents.values()):
            if not _is_resting(document):
                continue
            for run in {v.run for v in app.view.kernels(document) if v.run is not None and v.run.winner is not None}:
                changed |= await self._compute_offer(document, run)
        return changed

    async def _compute_offer(self, document: Document, run: RunView) -> bool:
        view, winner = self._app.view, run.winner
        assert winner is not None, "asked for winners only"
        key = (document.uri, winner.candidate_id)
        known = view.offers.get(key)
        if known is not None and known.revision == document.revision:
            return False
        base = run.record.spec.base_source
        found: Offer = await self.off_loop(
            offer, winner.candidate_id, base, winner.source, document.text, document.revision
        )
        if document.uri in view.documents:
            view.offers[key] = found
        return known is None or (known.edits is None, known.is_applied) != (found.edits is None, found.is_applied)

    async def _press_cancels(self) -> None:
        """Runners that were asked to stop and have not are ended, and what they could not write is written."""
        app = self._app
        for run_id, cancel in list(app.cancels.items()):
            if not jobs.press(cancel):
                del app.cancels[run_id]
                await self.off_loop(_write_down_cancel, cancel)


def _is_resting(document: Document) -> bool:
    return time.monotonic() - document.edited_at > TYPING_PAUSE_SECONDS


def _write_down_cancel(cancel: jobs.Cancel) -> None:
    # A runner that stopped by itself has written the end of its run; then this raises, and all is well.
    with suppress(KernelEvolveError, *UNREADABLE):
        request_control(cancel.workspace, cancel.run_id, Control.CANCEL)
