"""Suggestions from the knowledge base: asked for in a process of its own, some time after a file was opened or saved.

The process reads the file and the knowledge base; it runs nothing of the user's. It is niced, bounded in time, and dies
with the server.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

from evolve_server.view import KernelSuggestion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evolve_server.app import App

logger = logging.getLogger(__name__)

QUIET_SECONDS = 1.0
"""A file is looked at when nothing has been typed in it for this long."""
LIMIT_SECONDS = 20.0
MODEST = (
    "import ctypes, os, runpy; os.nice(10); ctypes.CDLL(None).prctl(1, 9); "
    "runpy.run_module('evolve_core', run_name='__main__', alter_sys=True)"
)
"""The engine, niced and with a death signal (PR_SET_PDEATHSIG, SIGKILL). Both are set by the child process itself:
code between fork and exec is not safe in a process with threads."""
COMMAND = (sys.executable, "-P", "-c", MODEST, "kb", "suggest")


class Suggester:
    """At most one process at a time; ``step`` is called once a round of the background."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._process: subprocess.Popen[bytes] | None = None
        self._answer: IO[bytes] | None = None
        self._uri = ""
        self._started_at = 0.0

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
        process, stream = self._process, self._answer
        self._process = self._answer = None
        assert stream is not None, "started with one"
        answer = await off_loop(_read_all, stream)
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
        if self._answer is not None:
            self._answer.close()
            self._answer = None

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
        command = [*COMMAND, path, "--json"]
        if self._app.settings.target:
            command += ["--target", self._app.settings.target]
        try:
            # A file, not a pipe: nobody reads while the child process writes, and a pipe holds 64 KiB only.
            self._answer = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it has been read
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=self._answer,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            logger.warning("no suggestions: %s", error)
            self.close()
            return
        self._uri, self._started_at = uri, time.monotonic()


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


def _read_all(stream: IO[bytes]) -> bytes:
    with stream:
        # The child process has moved the position they share.
        stream.seek(0)
        return stream.read()
