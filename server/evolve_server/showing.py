"""Showing what does not fit on a line: files, diffs and reports, by what the client can do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_core.files import write_whole
from evolve_core.journal.reader import LAST_WORDS_MARK
from evolve_core.source.edit import unified_diff
from evolve_core.workspace import state_folder
from evolve_server.connection import CommandFailed
from evolve_server.documents import uri_of
from evolve_server.jobs import ENGINE
from evolve_server.words import is_estimate, ratio

if TYPE_CHECKING:
    from pathlib import Path

    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView, RunView

REPORT_SECONDS = 30.0
YES, NO = "Apply", "Not now"


async def show_file(app: App, path: Path, line: int = 0) -> str:
    """Open a file in the editor; a client that cannot gets its URI back and a message that says where it is."""
    uri = uri_of(path)
    if not app.client.shows_documents:
        app.server.window_show_message(types.ShowMessageParams(types.MessageType.Info, f"Written to {path}"))
        return uri
    start = types.Position(line, 0)
    params = types.ShowDocumentParams(uri, external=False, take_focus=True, selection=types.Range(start, start))
    await app.server.window_show_document_async(params)
    return uri


async def show_diff(app: App, run: RunView, document: Document) -> str:
    """Write the winner's diff beside the run's other files and open it."""
    winner = run.winner
    assert winner is not None, "callers ask for winners only"
    name = document.path.name if document.path is not None else "kernel.py"
    diff = unified_diff(run.record.spec.base_source, winner.source, name)
    folder = state_folder(app.workspace_of_run(run)) / "diffs"
    folder.mkdir(exist_ok=True)
    path = folder / f"{run.record.run_id}.diff"
    write_whole(path, diff)
    return await show_file(app, path)


async def confirm(app: App, view: KernelView, run: RunView) -> bool:
    """Ask, in answer to a click, whether to apply what was just shown."""
    winner = run.winner
    assert winner is not None and winner.verdict is not None, "callers ask for winners only"
    claim = ratio(winner.verdict.ratio or 0.0, estimated=is_estimate(winner.verdict))
    message = f"Apply the winner for {view.name}? {claim}: {winner.summary}"
    actions = [types.MessageActionItem(YES), types.MessageActionItem(NO)]
    params = types.ShowMessageRequestParams(types.MessageType.Info, message, actions)
    answer = await app.server.window_show_message_request_async(params)
    return answer is not None and answer.title == YES


async def show_report(app: App, workspace: Path, run_id: str) -> str:
    """Have the engine write the HTML report and open it outside the editor. Raises CommandFailed with the cause."""
    folder = state_folder(workspace) / "reports"
    folder.mkdir(exist_ok=True)
    path = folder / f"{run_id}.html"
    process = await asyncio.create_subprocess_exec(
        *ENGINE,
        *("report", run_id, "--workspace", str(workspace), "--output", str(path)),
        cwd=workspace,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), REPORT_SECONDS)
    except TimeoutError:
        process.kill()
        raise CommandFailed(f"Writing the report took longer than {REPORT_SECONDS:g} s and was stopped.") from None
    if process.returncode != 0:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise CommandFailed(lines[-1].removeprefix(LAST_WORDS_MARK) if lines else "The report could not be written.")
    uri = uri_of(path)
    if app.client.shows_documents:
        await app.server.window_show_document_async(types.ShowDocumentParams(uri, external=True))
    else:
        app.server.window_show_message(types.ShowMessageParams(types.MessageType.Info, f"The report is {path}"))
    return uri
