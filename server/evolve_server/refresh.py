"""Asking the client to ask again: rarely, one request at a time, and only where the words have changed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from pygls.exceptions import JsonRpcException

from evolve_server.words import headline, inlay

if TYPE_CHECKING:
    from evolve_server.app import App

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
ANSWER_SECONDS = 10.0
"""A client that does not answer a refresh must not keep us from ever sending another."""


class Refresher:
    """Compares what the surfaces would say now with what they said when the client last asked."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._poked = asyncio.Event()
        self._said: dict[tuple[str, str], tuple[str, ...]] = {}

    def poke(self) -> None:
        self._poked.set()

    def forget(self, uri: str) -> None:
        for surface in ("lens", "inlay"):
            self._said.pop((surface, uri), None)

    def answered(self, surface: str, uri: str) -> None:
        """The client has just asked for this surface: it knows what we would say."""
        self._said[surface, uri] = self._words(surface, uri)

    async def run(self) -> None:
        while True:
            await self._poked.wait()
            self._poked.clear()
            await self._refresh("lens", "workspace/codeLens/refresh", self._app.client.lens_refresh)
            await self._refresh("inlay", "workspace/inlayHint/refresh", self._app.client.inlay_refresh)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _refresh(self, surface: str, method: str, supported: bool) -> None:
        # A document whose words were never asked for needs no refresh: its first answer will be right.
        moved = [key for key, said in self._said.items() if key[0] == surface and self._words(*key) != said]
        if not moved:
            return
        for key in moved:
            self._said[key] = self._words(*key)
        if not supported:
            return
        try:
            await asyncio.wait_for(self._app.server.protocol.send_request_async(method), ANSWER_SECONDS)
        except (TimeoutError, JsonRpcException) as error:
            logger.warning("the client did not take %s: %s", method, error or type(error).__name__)

    def _words(self, surface: str, uri: str) -> tuple[str, ...]:
        document = self._app.document(uri)
        if document is None:
            return ()
        say = headline if surface == "lens" else inlay
        return tuple(say(view) + f"|{len(view.suggestions)}" for view in self._app.view.kernels(document))
