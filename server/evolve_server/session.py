"""What is agreed with the client: its capabilities, its settings, the files it watches for us."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from evolve_core.errors import KernelEvolveError
from evolve_core.files import explain
from evolve_server import commands
from evolve_server.app import App, folders_of
from evolve_server.connection import CommandFailed
from evolve_server.documents import path_of
from evolve_server.features.progress import run_of_token
from evolve_server.positions import Encoding
from evolve_server.settings import client_from, settings_from

if TYPE_CHECKING:
    from evolve_server.server import EvolveServer

logger = logging.getLogger(__name__)

SECTION = "kernelEvolve"
WATCHED = ("**/*.py", "**/*.cu", "**/*.cuh")
"""Task files are ``*.evolve.py``, so the first covers them."""


def make_app(server: EvolveServer, params: types.InitializeParams) -> App:
    options = params.initialization_options
    name = params.client_info.name if params.client_info is not None else ""
    section = options.get(SECTION, options) if isinstance(options, dict) else None
    return App(
        server=server,
        client=client_from(params.capabilities, name, options),
        settings=settings_from(section),
        encoding=Encoding(
            str(getattr(server.workspace.position_encoding, "value", server.workspace.position_encoding))
        ),
        folders=folders_of(params),
    )


def introduce(app: App) -> None:
    """After ``initialized``: ask for settings and for file events, where the client has them."""
    app.spawn(_introduce(app))


def configuration_changed(app: App, params: types.DidChangeConfigurationParams) -> None:
    """Clients that answer ``workspace/configuration`` are asked; the others push the settings with the event."""
    if app.client.configuration:
        app.spawn(_fetch_settings(app))
    elif isinstance(params.settings, dict):
        app.reconfigured(settings_from(params.settings.get(SECTION, params.settings)))


def folders_changed(app: App, params: types.DidChangeWorkspaceFoldersParams) -> None:
    gone = {path_of(folder.uri) for folder in params.event.removed}
    fresh = [path for folder in params.event.added if (path := path_of(folder.uri)) is not None]
    app.use_folders(tuple(dict.fromkeys([*(f for f in app.folders if f not in gone), *fresh])))


def cancel_by_token(app: App, params: types.WorkDoneProgressCancelParams) -> None:
    run_id = run_of_token(params)
    if run_id is not None:
        app.spawn(_cancel(app, run_id))


async def _cancel(app: App, run_id: str) -> None:
    try:
        await commands.cancel(app, commands.Subject(run_id=run_id))
    except CommandFailed as error:
        app.show_error(error.message)
    except (KernelEvolveError, OSError) as error:
        app.show_error(explain(error) if isinstance(error, OSError) else str(error))


async def _introduce(app: App) -> None:
    if app.client.configuration:
        await _fetch_settings(app)
    if app.client.watches_files:
        await _register(app, types.WORKSPACE_DID_CHANGE_WATCHED_FILES, _watchers())


async def _fetch_settings(app: App) -> None:
    asked = types.ConfigurationParams([types.ConfigurationItem(section=SECTION)])
    try:
        sections = await app.server.protocol.send_request_async(types.WORKSPACE_CONFIGURATION, asked)
    except JsonRpcException as error:
        logger.warning("the client does not tell its settings: %s", error)
        sections = None
    if sections and sections[0]:
        app.reconfigured(settings_from(sections[0]))
    app.settings_known.set()


async def _register(app: App, method: str, options: Any) -> None:
    registration = types.Registration(id=f"kernel-evolve/{method}", method=method, register_options=options)
    try:
        await app.server.protocol.send_request_async(
            types.CLIENT_REGISTER_CAPABILITY, types.RegistrationParams([registration])
        )
    except JsonRpcException as error:
        logger.warning("the client does not watch files for us (%s); they are looked at once a second", error)


def _watchers() -> types.DidChangeWatchedFilesRegistrationOptions:
    return types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher(glob) for glob in WATCHED])
