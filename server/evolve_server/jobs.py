"""Starting runs and asking things of them.

A run is a detached child in a session of its own: it outlives the server and the editor, writes the journal, and is
asked to pause or stop through the journal. A child that does not follow a cancel is ended by signals, with all it has
started.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evolve_core.errors import RunError
from evolve_core.files import explain
from evolve_core.journal.reader import LAST_WORDS_MARK
from evolve_core.workspace import find_workspace, is_marked, log_file, state_folder
from evolve_server import processes

if TYPE_CHECKING:
    from evolve_server.settings import Settings

CANCEL_GRACE_SECONDS = 1.0
"""A runner looks at its control a few times a second; after this it is sent SIGTERM …"""
KILL_GRACE_SECONDS = 1.6
"""… and after this, SIGKILL: two seconds after a cancel nothing of a run is left."""
GIVE_UP_SECONDS = 10.0
"""A process that outlives SIGKILL hangs in the kernel; the journal shows its run as interrupted once it is gone."""

ENGINE = (sys.executable, "-P", "-m", "evolve_core")
"""``-P``: the folder we run in is the user's, and a ``json.py`` in it is none of our business."""


@dataclass(frozen=True, slots=True)
class Start:
    """What to start: a kernel of a file, with the buffer's text where the client has the file open."""

    workspace: Path
    file: Path
    kernel: str
    text: str | None
    settings: Settings
    proposers: tuple[str, ...] = ()


@dataclass(slots=True)
class Job:
    """A runner this server has started. ``failure`` is what to show when it dies before the journal knows it."""

    run_id: str
    workspace: Path
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(slots=True)
class Cancel:
    """A cancel under way. ``family`` is the runner and everything below it, as (process id → start time).

    A start time tells a process from a later one with the same id: nobody else's process is ever signalled.
    """

    run_id: str
    workspace: Path
    pid: int
    family: dict[int, str]
    asked_at: float
    asked_to_end: bool = False


def new_run_id() -> str:
    """Sorts by time, is unique, and can be said aloud."""
    return f"{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def workspace_of(path: Path, folders: tuple[Path, ...]) -> Path:
    """The project that holds ``path``: what the command line would find, but never above the editor's folder."""
    found = find_workspace(path)
    folder = next((f for f in sorted(folders, key=lambda f: -len(f.parts)) if path.is_relative_to(f)), None)
    if folder is None or (found.is_relative_to(folder) and is_marked(found)):
        return found
    return folder


def start(what: Start, run_id: str) -> Job:
    """Start a runner and return at once. Raises RunError where the workspace cannot be written or nothing can start."""
    command = [*ENGINE, "run", f"{what.file}::{what.kernel}", "--workspace", str(what.workspace), "--run-id", run_id]
    with _starting(what.workspace):
        log = log_file(what.workspace, run_id)
        if what.text is not None:
            command += ["--source-text", str(_keep_text(what.workspace, run_id, what.text))]
        command += _options(what.settings, what.proposers)
        return Job(run_id, what.workspace, _spawn(command, what.workspace, log), log)


def resume(workspace: Path, run_id: str, settings: Settings) -> Job:
    """Start a new runner for an interrupted run. Raises RunError as ``start`` does."""
    command = [*ENGINE, "run", "--resume", run_id, "--workspace", str(workspace), *_interpreter(settings)]
    if settings.models:
        command += ["--models", settings.models]
    with _starting(workspace):
        log = log_file(workspace, run_id)
        return Job(run_id, workspace, _spawn(command, workspace, log), log)


@contextmanager
def _starting(workspace: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"Nothing was started. {explain(error, workspace)}") from error


def last_words(job: Job) -> str:
    """What a runner that died said last: its own sentence, else the log's last line."""
    try:
        with job.log.open("rb") as stream:
            stream.seek(max(0, job.log.stat().st_size - 8192))
            lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    marked = (line for line in reversed(lines) if line.startswith(LAST_WORDS_MARK))
    said = next(marked, "").removeprefix(LAST_WORDS_MARK)
    said = said or next((line.removeprefix("Error: ") for line in reversed(lines)), "")
    ended = job.process.returncode
    how = f"by signal {-ended}" if ended is not None and ended < 0 else f"with exit code {ended}"
    return said or f"The runner ended {how} and said nothing; its log is {job.log}."


def begin_cancel(run_id: str, workspace: Path, pid: int) -> Cancel | None:
    """Watch a runner that was asked to stop; None where ``pid`` is not that run's runner (any more)."""
    started = processes.start_time(pid)
    if started is None or run_id not in processes.command_line(pid):
        return None
    return Cancel(run_id, workspace, pid, {pid: started}, time.monotonic())


def press(cancel: Cancel) -> bool:
    """Send what is due to a runner that was asked to stop; return whether there is still something to watch.

    The judge host has a session of its own and dies with its runner; one that does not is ended here too.
    """
    waited = time.monotonic() - cancel.asked_at
    if processes.is_alive(cancel.pid, cancel.family[cancel.pid]):
        cancel.family |= processes.descendants(cancel.pid)
        if waited > CANCEL_GRACE_SECONDS and not cancel.asked_to_end:
            cancel.asked_to_end = True
            processes.signal_if_alive(cancel.pid, cancel.family[cancel.pid], signal.SIGTERM)
    left = {pid: started for pid, started in cancel.family.items() if processes.is_alive(pid, started)}
    if waited > KILL_GRACE_SECONDS:
        for pid, started in left.items():
            processes.signal_if_alive(pid, started, signal.SIGKILL)
    return bool(left) and waited < GIVE_UP_SECONDS


def _options(settings: Settings, proposers: tuple[str, ...]) -> list[str]:
    chosen = proposers or settings.proposers
    given = {
        "--budget": settings.budget,
        "--target": settings.target,
        "--proposers": ",".join(chosen),
        "--models": settings.models,
    }
    return [*_pairs(given), *_interpreter(settings)]


def _interpreter(settings: Settings) -> list[str]:
    return _pairs({"--python": settings.python, "--editor-python": settings.editor_python})


def _pairs(given: dict[str, str]) -> list[str]:
    return [part for option, value in given.items() if value for part in (option, value)]


def _keep_text(workspace: Path, run_id: str, text: str) -> Path:
    folder = state_folder(workspace) / "sources"
    folder.mkdir(exist_ok=True)
    path = folder / f"{run_id}.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def _spawn(command: list[str], workspace: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            cwd=workspace,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
