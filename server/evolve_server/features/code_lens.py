"""``textDocument/codeLens``: the headline above each kernel.

Commands are part of the first answer: Neovim leaves lenses that are resolved later blank until the next edit. Each
kernel's first lens is always there, so that no line moves when a run starts or ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_core.journal.model import Control, RunState
from evolve_core.task.model import TaskProblem, TaskProblemKind
from evolve_server.protocol import Command
from evolve_server.view import Freshness
from evolve_server.words import evolve_all, headline

if TYPE_CHECKING:
    from evolve_server.app import App
    from evolve_server.view import KernelView


def handle(app: App, params: types.CodeLensParams) -> list[types.CodeLens]:
    document = app.document(params.text_document.uri)
    if document is None or not app.settings.code_lens:
        return []
    app.refresher.answered("lens", document.uri)
    views = app.view.kernels(document)
    found = [lens for view in views for lens in _lenses(view)]
    title = evolve_all(views)
    if title and views[0].anchored.line > 0 and not views[0].journal_problem:
        everything = types.Command(title, Command.START_ALL.value, arguments=[{"uri": document.uri}])
        found.insert(0, types.CodeLens(_at(0), everything))
    return found


def _lenses(view: KernelView) -> list[types.CodeLens]:
    where = _at(view.anchored.line)
    shown = [(headline(view), _main_command(view)), *_more(view)]
    return [
        types.CodeLens(where, types.Command(title, command.value, arguments=[_target(view)]))
        for title, command in shown
    ]


def _main_command(view: KernelView) -> Command:
    if view.pending is not None or (view.run is not None and view.run.is_active):
        return Command.SHOW_LOG
    run = view.run
    if view.journal_problem:
        # What was read before can still be applied; a click on anything else answers what is wrong.
        return Command.REVIEW if view.can_apply else Command.START
    if run is None or not run.says_something or view.start_failure is not None:
        return _to_start(view)
    if run.winner is not None:
        return Command.REVIEW if view.can_apply else Command.REPORT
    if view.freshness is Freshness.EDITED:
        return _to_start(view)
    match run.record.state:
        case RunState.INTERRUPTED:
            return Command.RESUME
        case RunState.FAILED:
            return Command.SHOW_LOG if view.failure else _to_start(view)
        case _:
            return Command.REPORT


def _more(view: KernelView) -> list[tuple[str, Command]]:
    """What else can be done about it, in a fixed order behind the headline."""
    run = view.run
    if view.pending is not None:
        return [("cancel", Command.CANCEL)]
    if run is not None and run.is_active:
        if run.record.control is Control.CANCEL or view.journal_problem:
            return [("cancel", Command.CANCEL)]
        holding = ("resume", Command.RESUME) if run.is_paused else ("pause", Command.PAUSE)
        return [holding, ("cancel", Command.CANCEL)]
    if view.journal_problem:
        return []
    if run is None or not run.says_something:
        return [_suggested(view)] if view.suggestions else []
    again = [("evolve again", Command.START)]
    if run.winner is not None:
        return [("report", Command.REPORT), *again]
    if run.record.state is RunState.INTERRUPTED:
        return [("cancel", Command.CANCEL)]
    return again if _main_command(view) is not Command.START else []


def _to_start(view: KernelView) -> Command:
    if isinstance(view.task, TaskProblem):
        return Command.CREATE_TASK if view.task.kind is TaskProblemKind.MISSING else Command.OPEN_TASK
    return Command.START


def _suggested(view: KernelView) -> tuple[str, Command]:
    best = view.suggestions[0]
    kind = " (estimated)" if best.estimated else ""
    return f"a similar kernel gained {best.ratio:.2f}×{kind}: try it here", Command.TRY_SUGGESTION


def _target(view: KernelView) -> dict[str, str]:
    target = {"uri": view.uri, "kernel": view.name}
    if view.run is not None:
        target["runId"] = view.run.record.run_id
    elif view.pending is not None:
        target["runId"] = view.pending.run_id
    return target


def _at(line: int) -> types.Range:
    return types.Range(types.Position(line, 0), types.Position(line, 0))
