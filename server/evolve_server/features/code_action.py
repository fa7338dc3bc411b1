"""``textDocument/codeAction`` and ``codeAction/resolve``: start, apply, write the task, look closer.

The edit of a winner is computed against the buffer as it is when the action is resolved, and carries that version: a
client that has moved on in the meantime refuses it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_core.journal.model import Control
from evolve_core.task.model import Task, TaskProblem, TaskProblemKind
from evolve_server.connection import CommandFailed
from evolve_server.edits import current_offer, task_file_edit, workspace_edit
from evolve_server.offers import offer as offer_for
from evolve_server.protocol import APPLY_KIND, EVOLVE_KIND, Command
from evolve_server.words import evolve_all, is_estimate, ratio

if TYPE_CHECKING:
    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView, Offer

Kind = types.CodeActionKind


def handle(app: App, params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
    document = app.document(params.text_document.uri)
    if document is None or not document.is_source:
        return []
    first, last = params.range.start.line, params.range.end.line
    views = app.view.kernels(document)
    touched = [v for v in views if v.anchored.line <= last and first <= _last_line(v)]
    found = [action for view in touched for action in _about(app, document, view)]
    title = evolve_all(views)
    if title and not views[0].journal_problem and any(isinstance(v.task, Task) and not v.is_busy for v in views):
        found.append(_command(title, EVOLVE_KIND, Command.START_ALL, uri=document.uri))
    if params.context.only:
        found = [a for a in found if a.kind and any(_is_within(str(a.kind), str(k)) for k in params.context.only)]
    if not app.client.literal_actions:
        # Such a client knows commands only, and an edit cannot be had without its literal.
        return [a.command for a in found if a.command is not None]
    return list(found)


async def resolve(app: App, action: types.CodeAction) -> types.CodeAction:
    """Fill in the edit. Raises CommandFailed where the buffer has moved away from what was judged."""
    data = action.data if isinstance(action.data, dict) else {}
    document = app.document(str(data.get("uri", "")))
    view = app.view.kernel(document, str(data.get("kernel", ""))) if document is not None else None
    if document is None or view is None:
        raise CommandFailed("This kernel is not open any more; nothing was changed.")
    if data.get("wants") == "task":
        action.edit = await asyncio.to_thread(task_file_edit, document, view.kernel)
    else:
        action.edit = await winner_edit(app, document, view)
    return action


async def winner_edit(app: App, document: Document, view: KernelView) -> types.WorkspaceEdit:
    """The winner as an edit of the current buffer. Raises CommandFailed with the cause and the next step."""
    if view.run is None or view.run.winner is None:
        raise CommandFailed(f"{view.name} has no winner to apply. Evolve it first.")
    offer = current_offer(view, document)
    if offer is None:
        offer = await asyncio.to_thread(_compute, view, document.text, document.revision)
    fresh = app.view.kernel(document, view.name)
    if offer.revision != document.revision or fresh is None or not fresh.can_apply:
        raise CommandFailed(
            f"{view.name} was edited after the run; nothing was changed. Undo the edit or evolve again."
        )
    if offer.edits is None:
        raise CommandFailed(
            f"The winner changes lines around {view.name} that you have edited since; nothing was changed. "
            "See its diff, or evolve again."
        )
    return workspace_edit(app, document, offer.edits)


def _compute(view: KernelView, text: str, revision: int) -> Offer:
    assert view.run is not None and view.run.winner is not None, "checked by the caller"
    base, winner = view.run.record.spec.base_source, view.run.winner
    return offer_for(winner.candidate_id, base, winner.source, text, revision)


def _about(app: App, document: Document, view: KernelView) -> list[types.CodeAction]:
    target = {"uri": view.uri, "kernel": view.name}
    found: list[types.CodeAction] = []
    if view.can_apply:
        found.append(_apply(app, document, view, target))
        found.append(_command("Preview the winner's diff", EVOLVE_KIND, Command.SHOW_DIFF, **target))
    if view.run is not None and view.run.best is not None and not view.journal_problem:
        found.append(_command(f"Show the report on `{view.name}`", EVOLVE_KIND, Command.REPORT, **target))
    if view.is_busy:
        if view.pending is None and view.run is not None:
            word, command = ("Resume", Command.RESUME) if view.run.is_paused else ("Pause", Command.PAUSE)
            if view.run.record.control is not Control.CANCEL and not view.journal_problem:
                found.append(_command(f"{word} evolving `{view.name}`", EVOLVE_KIND, command, **target))
        found.append(_command(f"Cancel evolving `{view.name}`", EVOLVE_KIND, Command.CANCEL, **target))
        return found
    if view.is_resumable and not view.journal_problem:
        # What the lens offers: not every editor shows lenses.
        found.append(_command(f"Resume evolving `{view.name}`", EVOLVE_KIND, Command.RESUME, **target))
        found.append(_command(f"Cancel evolving `{view.name}`", EVOLVE_KIND, Command.CANCEL, **target))
    if isinstance(view.task, TaskProblem):
        found.extend(_for_task_problem(app, view, view.task))
    elif not view.journal_problem:
        found.append(_command(f"Evolve this kernel (`{view.name}`)", EVOLVE_KIND, Command.START, **target))
    found.extend(
        _command(f"Try here what helped a similar kernel: {s.claim}", EVOLVE_KIND, Command.TRY_SUGGESTION, **target)
        for s in view.suggestions[:1]
        if not isinstance(view.task, TaskProblem) and not view.journal_problem
    )
    return found


def _apply(app: App, document: Document, view: KernelView, target: dict[str, str]) -> types.CodeAction:
    run = view.run
    assert run is not None and run.winner is not None and run.winner.verdict is not None, "can_apply says so"
    verdict, recipe = run.winner.verdict, run.winner.recipe
    claim = ratio(verdict.ratio or 0.0, estimated=is_estimate(verdict))
    action = types.CodeAction(title=f"Apply winner ({claim})", kind=APPLY_KIND, data=target)
    if app.client.tags_actions and any(step.proposer == "model" for step in recipe):
        action.tags = [types.CodeActionTag.LlmGenerated]
    offer = view.offer
    if not app.client.resolves_actions:
        if offer is not None and offer.revision == document.revision and offer.edits is not None:
            action.edit = workspace_edit(app, document, offer.edits)
        else:
            action.command = types.Command(action.title, Command.APPLY.value, arguments=[target])
    return action


def _for_task_problem(app: App, view: KernelView, problem: TaskProblem) -> list[types.CodeAction]:
    target = {"uri": view.uri, "kernel": view.name}
    if problem.kind is not TaskProblemKind.MISSING:
        return [_command(f"Open `{problem.file.name}`", Kind.QuickFix, Command.OPEN_TASK, **target)]
    title = f"Write task file for `{view.name}`"
    if not (app.client.creates_files and app.client.versioned_edits and app.client.resolves_actions):
        return [_command(title, Kind.QuickFix, Command.CREATE_TASK, **target)]
    return [types.CodeAction(title=title, kind=Kind.QuickFix, data={**target, "wants": "task"})]


def _command(title: str, kind: str | Kind, command: Command, **target: str) -> types.CodeAction:
    return types.CodeAction(title=title, kind=kind, command=types.Command(title, command.value, arguments=[target]))


def _is_within(kind: str, wanted: str) -> bool:
    return not wanted or kind == wanted or kind.startswith(wanted + ".")


def _last_line(view: KernelView) -> int:
    height = view.kernel.span.end_line - view.kernel.span.start_line
    return view.anchored.line + height
