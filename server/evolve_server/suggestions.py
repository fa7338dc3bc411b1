"""Suggestions from the knowledge base: asked for in a process of its own, some time after a file was opened or saved.

The process reads the file and the knowledge base; it runs nothing of the user's. It is niced, bounded in time, and dies
with the server.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from evolve_server.jobs import ENGINE
from evolve_server.view import KernelSuggestion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evolve_server.app import App

logger = logging.getLogger(__name__)

QUIET_SECONDS = 1.0
"""A file is looked at when nothing has been typed in it for this long."""
LIMIT_SECONDS = 20.0
PR_SET_PDEATHSIG = 1


class Suggester:
    """At most one process at a time; ``step`` is called once a round of the background."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._process: subprocess.Popen[bytes] | None = None
        self._uri = ""
        self._started_at = 0.0
        self._prctl = ctypes.CDLL(None).prctl

    async def step(self, off_loop: Callable[..., Awaitable[Any]]) -> bool:
        """Collect an answer, or ask for the next file. Returns whether something to show has changed."""
        if self._process is None:
            self._ask_next()
            return False
        if self._process.poll() is None:
            if time.monotonic() - self._started_at > LIMIT_SECONDS:
                logger.warning("no suggestions for %s within %g s", self._uri, LIMIT_SECONDS)
                self.close()
            return False
        process, self._process = self._process, None
        # The pipe is read after the end: a list of suggestions is far smaller than a pipe's buffer.
        answer = await off_loop(_read_all, process)
        if process.returncode not in (0, 1):
            logger.info("no suggestions: kb suggest ended with exit code %s", process.returncode)
            return False
        found = parse(answer)
        changed = found != self._app.view.suggestions.get(self._uri, ())
        if self._uri in self._app.view.documents:
            self._app.view.suggestions[self._uri] = found
        return changed

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ask_next(self) -> None:
        app = self._app
        if not app.settings.suggestions or not app.client.trusted:
            app.stale_suggestions.clear()
            return
        for uri in sorted(app.stale_suggestions):
            document = app.document(uri)
            if document is not None and time.monotonic() - document.edited_at < QUIET_SECONDS:
                continue
            app.stale_suggestions.discard(uri)
            if document is None or document.path is None or not document.anchored or not document.path.is_file():
                continue
            self._start(uri, str(document.path), str(app.workspace(document.path)))
            return

    def _start(self, uri: str, path: str, folder: str) -> None:
        command = [*ENGINE, "kb", "suggest", path, "--json"]
        if self._app.settings.target:
            command += ["--target", self._app.settings.target]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=self._be_modest,  # noqa: PLW1509  # the one thread besides the loop's never holds a lock here
            )
        except OSError as error:
            logger.warning("no suggestions: %s", error)
            return
        self._uri, self._started_at = uri, time.monotonic()

    def _be_modest(self) -> None:
        os.nice(10)
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def parse(answer: bytes) -> tuple[KernelSuggestion, ...]:
    """Read the list that ``kb suggest --json`` prints; entries that lack what we show are left out."""
    try:
        entries = json.loads(answer)
    except ValueError:
        logger.info("no suggestions: kb suggest printed no JSON")
        return ()
    if not isinstance(entries, list):
        return ()
    return tuple(found for found in map(_parse_one, entries) if found is not None)


def _parse_one(entry: Any) -> KernelSuggestion | None:
    try:
        return KernelSuggestion(
            kernel=str(entry["kernel"]),
            insight_id=str(entry["insight_id"]),
            claim=str(entry["claim"]),
            ratio=float(entry["ratio"]),
            estimated=bool(entry["estimated"]),
            similarity=float(entry["similarity"]),
            because=str(entry["because"]),
            target=str(entry.get("target") or ""),
            device=str(entry.get("device") or ""),
            successes=int(entry.get("successes") or 0),
            failures=int(entry.get("failures") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _read_all(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None, "started with a pipe"
    with process.stdout as stream:
        return stream.read()
