"""Settings, from wherever a client sends them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from inline_snapshot import snapshot
from lsp_client import PLAIN, VSCODE, Lsp

from evolve_server.server import COMMANDS, READING
from evolve_server.settings import Settings, settings_from

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


async def settled(client: Lsp, name: str, value: object) -> None:
    async def ask() -> Any:
        return (await client.request("kernelEvolve/health", {}))["settings"]

    await client._until(ask, lambda settings: settings[name] == value)


async def test_from_the_initialization_options(serve: Serve) -> None:
    for options in ({"kernelEvolve": {"target": "sm_80"}}, {"target": "sm_80"}):
        await settled(await serve(PLAIN, options=options), "target", "sm_80")


async def test_from_the_configuration_and_again_when_it_changes(serve: Serve) -> None:
    client = await serve(VSCODE, settings={"budget": "12c", "proposers": ["tune"]})
    await settled(client, "budget", "12c")
    await settled(client, "proposers", ["tune"])
    client.settings = {"budget": "30s"}
    client.notify("workspace/didChangeConfiguration", {"settings": None})
    await settled(client, "budget", "30s")


async def test_pushed_by_a_client_that_cannot_be_asked(serve: Serve) -> None:
    client = await serve(PLAIN)
    client.notify("workspace/didChangeConfiguration", {"settings": {"kernelEvolve": {"python": " /opt/py "}}})
    await settled(client, "python", "/opt/py")


def test_what_is_malformed_is_ignored() -> None:
    assert settings_from(None) == settings_from([1]) == settings_from({"unknown": 1, "target": 7}) == Settings()
    assert settings_from({"proposers": "tune, rewrite"}).proposers == ("tune", "rewrite")
    assert settings_from({"inlayHints": False}).inlay_hints is False


async def test_heavy_modules_stay_out_of_the_server(serve: Serve, source: Path) -> None:
    """Asked of the live process, after every reading feature has been used."""
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: t == "Evolve")
    await client.hover(uri, 8)
    await client.inlays(uri)
    await client.actions(uri, 8)
    assert (await client.request("kernelEvolve/health", {}))["heavyModules"] == []


def test_the_names_that_are_written_twice_are_the_same() -> None:
    from evolve_server.features import code_action
    from evolve_server.protocol import APPLY_KIND, EVOLVE_KIND, Command

    assert [f"kernelEvolve.{name}" for name in COMMANDS] == [command.value for command in Command]
    kinds = READING["textDocument/codeAction"][1].code_action_kinds
    assert [getattr(kind, "value", kind) for kind in kinds] == ["quickfix", EVOLVE_KIND, APPLY_KIND]
    assert code_action.handle


async def test_the_server_says_what_it_can(serve: Serve) -> None:
    client = await serve()
    capabilities = client.initialized["capabilities"]
    assert capabilities["executeCommandProvider"]["commands"] == [f"kernelEvolve.{name}" for name in COMMANDS]
    assert client.initialized["serverInfo"]["name"] == "kernel-evolve"
    assert {k: v for k, v in capabilities.items() if k not in ("executeCommandProvider", "workspace")} == snapshot(
        {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": True, "change": 2, "save": True},
            "hoverProvider": True,
            "codeActionProvider": {
                "codeActionKinds": ["quickfix", "refactor.kernelEvolve", "refactor.rewrite.kernelEvolve"],
                "resolveProvider": True,
            },
            "codeLensProvider": {"resolveProvider": False},
            "inlayHintProvider": {"resolveProvider": False},
        }
    )
