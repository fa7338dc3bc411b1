"""``workspace/executeCommand``: every command answers at once; what takes long goes on in a process of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException

from evolve_core.errors import KernelEvolveError
from evolve_core.files import explain
from evolve_server import commands
from evolve_server.connection import CommandFailed
from evolve_server.protocol import Command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lsprotocol import types

    from evolve_server.app import App

    Run = Callable[[App, commands.Subject], Awaitable[dict[str, Any]]]

logger = logging.getLogger(__name__)

_COMMANDS: dict[Command, Run] = {
    Command.START: commands.start,
    Command.START_ALL: commands.start_all,
    Command.CANCEL: commands.cancel,
    Command.PAUSE: commands.pause,
    Command.RESUME: commands.resume,
    Command.REVIEW: commands.review,
    Command.APPLY: commands.apply,
    Command.SHOW_DIFF: commands.show_diff,
    Command.REPORT: commands.report,
    Command.SHOW_LOG: commands.show_log,
    Command.CREATE_TASK: commands.create_task,
    Command.OPEN_TASK: commands.open_task,
    Command.TRY_SUGGESTION: commands.try_suggestion,
}


async def handle(app: App, params: types.ExecuteCommandParams) -> dict[str, Any]:
    """Carry a command out. A failure is the response's error and, where clients hide those, one message."""
    try:
        command = Command(params.command)
    except ValueError:
        raise CommandFailed(f"There is no command {params.command}.") from None
    try:
        return await _COMMANDS[command](app, commands.subject_of(app, params.arguments))
    except (KernelEvolveError, OSError) as error:
        raise _failed(app, explain(error) if isinstance(error, OSError) else str(error)) from error
    except CommandFailed as error:
        raise _failed(app, error.message) from None
    except JsonRpcException as error:
        raise _failed(app, f"The editor refused what the command asks of it: {error}") from error


def _failed(app: App, message: str) -> CommandFailed:
    logger.info("command failed: %s", message)
    if not app.client.shows_command_errors:
        app.show_error(message)
    return CommandFailed(message)
