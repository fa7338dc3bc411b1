"""What the commands do. Each takes the subject it is about and returns a small object at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from evolve_core.errors import CannotWrite
from evolve_core.files import explain, write_new
from evolve_core.journal.control import request_control
from evolve_core.journal.model import Control, RunState
from evolve_core.source.parse import read_source
from evolve_core.task.model import Task, TaskProblem
from evolve_core.workspace import log_file
from evolve_server import jobs, showing
from evolve_server.connection import CommandFailed
from evolve_server.documents import uri_of
from evolve_server.edits import new_file_edit, task_file
from evolve_server.features.code_action import winner_edit
from evolve_server.tasks import TaskQuestion, find_tasks
from evolve_server.view import Pending, versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView, RunView


@dataclass(frozen=True, slots=True)
class Subject:
    """What a command is about, as far as its argument said: a run, a document, a kernel in it."""

    run_id: str = ""
    document: Document | None = None
    kernel: str = ""
    insight_id: str = ""


def subject_of(app: App, arguments: Sequence[Any] | None) -> Subject:
    """Read the command's one argument (``protocol.Target``). Raises CommandFailed where it names what is not there."""
    target = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    uri = str(target.get("uri", ""))
    document = app.document(uri) if uri else None
    if uri and document is None and "runId" not in target:
        raise CommandFailed(f"{uri} is not open here. Open the file, then try again.")
    kernel = str(target.get("kernel", ""))
    position = target.get("position")
    if document is not None and not kernel and isinstance(position, dict):
        found = document.kernel_at(int(position.get("line", 0)))
        kernel = found.qualified_name if found is not None else ""
    return Subject(str(target.get("runId", "")), document, kernel, str(target.get("insightId", "")))


async def start(app: App, subject: Subject) -> dict[str, Any]:
    """Start a run for a kernel; where one is active already, say which."""
    document, view = _kernel(app, subject)
    return await _start(app, document, view, ())


async def try_suggestion(app: App, subject: Subject) -> dict[str, Any]:
    """Judge here what helped a similar kernel: a run whose only proposer transplants insights."""
    document, view = _kernel(app, subject)
    return await _start(app, document, view, ("transplant",))


async def start_all(app: App, subject: Subject) -> dict[str, Any]:
    """Start a run for every kernel of the document that has a task and no active run; tasks are run once."""
    document = _document(subject)
    _require_trust(app)
    run_ids: list[str] = []
    covered: set[str] = set()
    problems: list[str] = []
    any_busy = False
    for view in app.view.kernels(document):
        if view.name in covered:
            continue
        task = await _task(app, document, view)
        fresh = app.view.kernel(document, view.name)
        if fresh is None or fresh.is_busy:
            any_busy |= fresh is not None
            continue
        if isinstance(task, TaskProblem):
            problems.append(task.message)
            continue
        covered |= set(task.kernels)
        run_ids.append((await _start(app, document, view, ()))["runId"])
    if not run_ids:
        raise CommandFailed(_why_none_started(document, problems, any_busy=any_busy))
    return {"runIds": run_ids}


def _why_none_started(document: Document, problems: list[str], *, any_busy: bool) -> str:
    if not document.anchored:
        return "There are no kernels in this file."
    if any_busy or not problems:
        return f"Every kernel of this file{' that has a task' if problems else ''} is being evolved already."
    return f"Nothing was started, as no kernel of this file has a usable task: {problems[0]}"


async def cancel(app: App, subject: Subject) -> dict[str, Any]:
    """Ask a run to stop; if its runner does not, signals follow (``jobs.press``)."""
    run_id, workspace = _run_id(app, subject)
    run = app.view.run(run_id)
    job = app.jobs.get(run_id)
    pid = job.process.pid if job is not None else run.record.pid if run is not None else 0
    watched = jobs.begin_cancel(run_id, workspace, pid)
    if watched is not None:
        app.cancels.setdefault(run_id, watched)
    if run is not None:
        await asyncio.to_thread(request_control, workspace, run_id, Control.CANCEL)
    elif watched is not None:
        # Not in the journal yet: there is nobody to ask, so the signal comes at once.
        watched.asked_at -= jobs.CANCEL_GRACE_SECONDS
    app.view.pending.pop(run_id, None)
    app.publish_all()
    app.wake.set()
    return {"runId": run_id}


async def pause(app: App, subject: Subject) -> dict[str, Any]:
    """Ask a run to hold. While the user's own kernel is judged it goes on to the end of that, and says so."""
    return await _control(app, subject, Control.PAUSE)


async def resume(app: App, subject: Subject) -> dict[str, Any]:
    """Go on with a paused run, or start a new runner for an interrupted one."""
    run_id, workspace = _run_id(app, subject)
    run = app.view.run(run_id)
    if run is None or run.record.state is not RunState.INTERRUPTED:
        return await _control(app, subject, Control.RESUME)
    _require_trust(app)
    await app.configured()
    if run_id not in app.jobs:
        app.jobs[run_id] = jobs.resume(workspace, run_id, app.settings)
    app.wake.set()
    return {"runId": run_id}


async def apply(app: App, subject: Subject) -> dict[str, Any]:
    """Apply the winner to the buffer by ``workspace/applyEdit``; the client refuses a version it has left."""
    document, view = _kernel(app, subject)
    edit = await winner_edit(app, document, view)
    label = f"Apply the winner for {view.name}"
    answer = await app.server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label))
    if not answer.applied:
        why = f" ({answer.failure_reason})" if answer.failure_reason else ""
        raise CommandFailed(f"The editor did not take the edit{why}; nothing was changed. Try again.")
    return {"applied": True}


async def review(app: App, subject: Subject) -> dict[str, Any]:
    """Show what the winner changes and ask whether to apply it: what a click on the lens does."""
    document, view = _kernel(app, subject)
    await winner_edit(app, document, view)
    app.spawn(_review(app, subject, document, view))
    return {"asked": True}


async def _review(app: App, subject: Subject, document: Document, view: KernelView) -> None:
    run = _winning_run(view)
    try:
        await showing.show_diff(app, run, document)
        if await showing.confirm(app, view, run):
            await apply(app, subject)
    except (JsonRpcException, CannotWrite, OSError) as error:
        # The command was answered long ago: a message is the only way left to say this.
        app.show_error(explain(error) if isinstance(error, OSError) else str(error))


async def show_diff(app: App, subject: Subject) -> dict[str, Any]:
    document, view = _kernel(app, subject)
    return {"uri": await showing.show_diff(app, _winning_run(view), document)}


async def report(app: App, subject: Subject) -> dict[str, Any]:
    """Write the run's HTML report and open it."""
    run_id, workspace = _run_id(app, subject)
    return {"uri": await showing.show_report(app, workspace, run_id)}


async def show_log(app: App, subject: Subject) -> dict[str, Any]:
    run_id, workspace = _run_id(app, subject)
    return {"uri": await showing.show_file(app, log_file(workspace, run_id))}


async def create_task(app: App, subject: Subject) -> dict[str, Any]:
    """Write the task file's skeleton: by an edit where the client creates files, else on disk, and open it."""
    document, view = _kernel(app, subject)
    # Beside the loop: in a file of thousands of kernels, finding out who launches this one takes its time.
    path, text = await asyncio.to_thread(task_file, document, view.kernel)
    if app.client.creates_files and app.client.versioned_edits:
        edit = new_file_edit(path, text)
        params = types.ApplyWorkspaceEditParams(edit, f"Write task file for {view.name}")
        answer = await app.server.workspace_apply_edit_async(params)
        if not answer.applied:
            why = f" ({answer.failure_reason})" if answer.failure_reason else ""
            raise CommandFailed(
                f"The editor did not create {path.name}{why}; nothing was changed. "
                f"See whether {path.parent} can be written and has space, then try again."
            )
    else:
        await asyncio.to_thread(write_new, path, text)
    app.stale_tasks.add(document.uri)
    app.wake.set()
    await showing.show_file(app, path)
    return {"uri": uri_of(path)}


async def open_task(app: App, subject: Subject) -> dict[str, Any]:
    document, view = _kernel(app, subject)
    task = await _task(app, document, view)
    path, line = (task.file, task.line) if isinstance(task, TaskProblem) else (task.task_file, 0)
    return {"uri": await showing.show_file(app, path, line)}


async def _start(app: App, document: Document, view: KernelView, proposers: tuple[str, ...]) -> dict[str, Any]:
    _require_trust(app)
    await app.configured()
    task = await _task(app, document, view)
    unsaved = await _unsaved(app, task.task_file) if isinstance(task, Task) else ""
    # From here to the pending run nothing is awaited: of two starts at once, the second finds the first's.
    _, view = _kernel(app, Subject(document=document, kernel=view.name))
    if view.is_busy:
        return _already_running(view)
    if view.journal_problem:
        raise CommandFailed(view.journal_problem)
    if isinstance(task, TaskProblem):
        raise CommandFailed(f"{task.file.name}:{task.line + 1}: {task.message}")
    if unsaved:
        raise CommandFailed(unsaved)
    run_id = jobs.new_run_id()
    workspace = app.workspace(view.path)
    what = jobs.Start(workspace, view.path, view.name, document.text, app.settings, proposers)
    app.jobs[run_id] = jobs.start(what, run_id)
    kernels = (view.name, *(k for k in task.kernels if k != view.name))
    app.view.pending[run_id] = Pending(run_id, view.path, kernels, versions_of(document, kernels))
    app.view.start_failures.pop((str(view.path), view.name), None)
    app.publish_all()
    app.wake.set()
    return {"runId": run_id, "alreadyRunning": False}


def _already_running(view: KernelView) -> dict[str, Any]:
    run_id = view.pending.run_id if view.pending is not None else ""
    run_id = run_id or (view.run.record.run_id if view.run is not None else "")
    return {"runId": run_id, "alreadyRunning": True, "message": f"{view.name} is being evolved already."}


async def _unsaved(app: App, task_file: Path) -> str:
    """What to do where a task file is open with another text than on disk, where an editor may have put an empty file,
    or in an encoding that the editor knows and a run does not.
    """
    document = app.view.document_of(task_file)
    if document is None:
        return ""
    first = f"Save {task_file.name} first: the run reads it from disk, where it is not as in the editor."
    on_disk = await asyncio.to_thread(read_source, task_file)
    if not isinstance(on_disk, str):
        return on_disk.message if task_file.exists() else first
    return first if _without_line_ends(on_disk) != _without_line_ends(document.text) else ""


def _without_line_ends(text: str) -> str:
    # Neovim adds the last line's end to what it sends, and writes it only with the next change.
    return text.replace("\r\n", "\n").rstrip("\n")


async def _control(app: App, subject: Subject, control: Control) -> dict[str, Any]:
    run_id, workspace = _run_id(app, subject)
    await asyncio.to_thread(request_control, workspace, run_id, control)
    app.wake.set()
    return {"runId": run_id}


async def _task(app: App, document: Document, view: KernelView) -> Task | TaskProblem:
    """The kernel's task; looked for here and now where the background has not got to it yet."""
    # Another kernel's question may have been answered for the whole file in the meantime.
    known = view.task or app.view.tasks.get(document.uri, {}).get(view.name)
    if known is not None:
        return known
    assert document.parsed is not None, "a document with kernels is parsed"
    unsaved = {d.path: d.text for d in app.view.documents.values() if d.is_task and d.path is not None}
    question = TaskQuestion(document.uri, view.path, document.parsed)
    found = await asyncio.to_thread(find_tasks, question, unsaved)
    if document.uri in app.view.documents:
        # What the background has found in the meantime is newer.
        app.view.tasks[document.uri] = found | app.view.tasks.get(document.uri, {})
    return found[view.name]


def _require_trust(app: App) -> None:
    if not app.client.trusted:
        raise CommandFailed(
            "This workspace is not trusted, and evolving a kernel runs its code. Trust the workspace, then try again."
        )


def _document(subject: Subject) -> Document:
    if subject.document is None:
        raise CommandFailed("No file was named. Put the cursor into a kernel, then try again.")
    return subject.document


def _kernel(app: App, subject: Subject) -> tuple[Document, KernelView]:
    document = _document(subject)
    if document.path is None:
        raise CommandFailed("This buffer is not a file yet. Save it as NAME.py or NAME.cu, then try again.")
    view = app.view.kernel(document, subject.kernel)
    if view is None:
        names = ", ".join(a.kernel.qualified_name for a in document.anchored) or "none"
        asked = f"kernel {subject.kernel}" if subject.kernel else "kernel at the cursor"
        raise CommandFailed(f"There is no {asked} in this file (kernels here: {names}).")
    return document, view


def _winning_run(view: KernelView) -> RunView:
    if view.run is None or view.run.winner is None:
        raise CommandFailed(f"{view.name} has no winner yet. Evolve it first.")
    return view.run


def _run_id(app: App, subject: Subject) -> tuple[str, Path]:
    """The run that is meant, and its workspace: named, or the one shown on the kernel."""
    run_id = subject.run_id
    if not run_id:
        _, view = _kernel(app, subject)
        if view.pending is not None:
            run_id = view.pending.run_id
        elif view.run is not None:
            run_id = view.run.record.run_id
        else:
            raise CommandFailed(f"{view.name} has no run yet. Evolve it first.")
    if run_id in app.jobs:
        return run_id, app.jobs[run_id].workspace
    run = app.view.run(run_id)
    if run is None:
        raise CommandFailed(f"There is no run {run_id} in the journals of the open files.")
    return run_id, app.workspace(Path(run.record.spec.source_file))
