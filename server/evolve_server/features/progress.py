"""``window/workDoneProgress``: every active run has one, also those that an earlier server or a terminal started."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from evolve_server.words import progress_line, ratio

if TYPE_CHECKING:
    from evolve_server.app import App
    from evolve_server.view import RunView

logger = logging.getLogger(__name__)

PREFIX = "kernel-evolve/"


@dataclass(slots=True)
class Tokens:
    """Run id → the last message sent under its token; "" while the client has not agreed to the token yet."""

    shown: dict[str, str] = field(default_factory=dict)
    opening: set[asyncio.Task[None]] = field(default_factory=set)


def report(app: App) -> None:
    """Begin, report and end as the runs' states say. Called once a round, so five times a second at most."""
    if not app.client.progress:
        return
    active = {run.record.run_id: run for run in app.view.active_runs()}
    for run_id, run in active.items():
        if run_id not in app.tokens.shown:
            app.tokens.shown[run_id] = ""
            task = asyncio.ensure_future(_begin(app, run))
            app.tokens.opening.add(task)
            task.add_done_callback(app.tokens.opening.discard)
        elif app.tokens.shown[run_id]:
            _report(app, run)
    for run_id in [r for r in app.tokens.shown if r not in active]:
        _end(app, run_id)


def run_of_token(params: types.WorkDoneProgressCancelParams) -> str | None:
    """The run that a client's cancel button is about."""
    token = str(params.token)
    return token.removeprefix(PREFIX) if token.startswith(PREFIX) else None


async def _begin(app: App, run: RunView) -> None:
    token = PREFIX + run.record.run_id
    create = types.WorkDoneProgressCreateParams(token)
    try:
        await app.server.protocol.send_request_async(types.WINDOW_WORK_DONE_PROGRESS_CREATE, create)
    except JsonRpcException as error:
        logger.info("the client refused a progress token: %s", error)
        return
    if app.tokens.shown.get(run.record.run_id) is None:
        return
    message = progress_line(run.record, time.time())
    title = f"Evolving {run.record.spec.kernels[0]}"
    _send(app, token, types.WorkDoneProgressBegin(title=title, cancellable=True, message=message))
    app.tokens.shown[run.record.run_id] = message


def _report(app: App, run: RunView) -> None:
    message = progress_line(run.record, time.time())
    if message != app.tokens.shown[run.record.run_id]:
        app.tokens.shown[run.record.run_id] = message
        _send(app, PREFIX + run.record.run_id, types.WorkDoneProgressReport(cancellable=True, message=message))


def _end(app: App, run_id: str) -> None:
    shown = app.tokens.shown.pop(run_id)
    if shown:
        _send(app, PREFIX + run_id, types.WorkDoneProgressEnd(message=_outcome(app.view.run(run_id))))


def _outcome(run: RunView | None) -> str:
    if run is None:
        return "gone"
    winner = run.winner
    if winner is not None and winner.verdict is not None:
        return ratio(winner.verdict.ratio or 0.0, estimated=winner.verdict.speed.value == "estimated")
    return run.record.reason or run.record.state.value


def _send(
    app: App,
    token: str,
    value: types.WorkDoneProgressBegin | types.WorkDoneProgressReport | types.WorkDoneProgressEnd,
) -> None:
    app.server.protocol.notify(types.PROGRESS, types.ProgressParams(token, value))
