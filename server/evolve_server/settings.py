"""The settings (section ``kernelEvolve``) and what the client told us at ``initialize``.

Every setting has a default that works; an unknown or malformed one is ignored with a line in the log.

| setting | type | default | meaning |
|---|---|---|---|
| ``python`` | string | ``""`` | interpreter with your torch and Triton; empty: found (``kernel-evolve doctor``) |
| ``editorPython`` | string | ``""`` | the editor's chosen interpreter, used when nothing closer is named |
| ``target`` | string | ``""`` | what to compile and estimate for without a GPU; empty: ``sm_90`` |
| ``budget`` | string | ``""`` | ``10m``, ``200c``, ``$2``; empty: the engine's default |
| ``proposers`` | list of strings | ``[]`` | empty: all that work without configuration |
| ``models`` | string | ``""`` | language models, as ``--models`` takes them; empty: none |
| ``suggestions`` | boolean | ``true`` | look for matching insights in the knowledge base after a file was opened |
| ``codeLens`` | boolean | ``true`` | |
| ``inlayHints`` | boolean | ``true`` | |
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from pygls.capabilities import get_capability

if TYPE_CHECKING:
    from lsprotocol import types

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    python: str = ""
    editor_python: str = ""
    target: str = ""
    budget: str = ""
    proposers: tuple[str, ...] = ()
    models: str = ""
    suggestions: bool = True
    code_lens: bool = True
    inlay_hints: bool = True


_WIRE_NAMES = {
    "editorPython": "editor_python",
    "codeLens": "code_lens",
    "inlayHints": "inlay_hints",
}


def settings_from(section: object) -> Settings:
    """Parse the section as clients send it; ``None`` and anything that is no object mean the defaults."""
    if not isinstance(section, dict):
        return Settings()
    kinds = {f.name: f.type for f in fields(Settings)}
    known: dict[str, Any] = {}
    for wire_name, value in section.items():
        name = _WIRE_NAMES.get(wire_name, wire_name)
        if name not in kinds:
            continue
        parsed = _parsed(str(kinds[name]), value)
        if parsed is None:
            logger.warning("setting kernelEvolve.%s ignored: %r is not of its type", wire_name, value)
        else:
            known[name] = parsed
    return Settings(**known)


def _parsed(kind: str, value: object) -> str | bool | tuple[str, ...] | None:
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind == "str":
        return value.strip() if isinstance(value, str) else None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return None


@dataclass(frozen=True, slots=True)
class Client:
    """What this client can do, as far as it changes what we send. Read once, at ``initialize``."""

    name: str
    trusted: bool
    lens_refresh: bool
    inlay_refresh: bool
    progress: bool
    watches_files: bool
    configuration: bool
    shows_documents: bool
    resolves_actions: bool
    literal_actions: bool
    versioned_edits: bool
    creates_files: bool
    tags_actions: bool
    shows_command_errors: bool


_SHOW_RESPONSE_ERRORS = ("neovim", "visual studio code", "code-server", "vscodium", "code - oss", "cursor", "emacs")
"""Clients that put the error of a failed executeCommand before the user themselves; others get a showMessage too."""


def client_from(capabilities: types.ClientCapabilities, name: str, options: object) -> Client:
    """Read what matters to us: whatever a client does not say, it cannot do."""

    def has(path: str) -> Any:
        return get_capability(capabilities, path)

    given = options if isinstance(options, dict) else {}
    return Client(
        name=name,
        trusted=given.get("trusted") is not False,
        lens_refresh=bool(has("workspace.code_lens.refresh_support")),
        inlay_refresh=bool(has("workspace.inlay_hint.refresh_support")),
        progress=bool(has("window.work_done_progress")),
        watches_files=bool(has("workspace.did_change_watched_files.dynamic_registration")),
        configuration=bool(has("workspace.configuration")),
        shows_documents=bool(has("window.show_document.support")),
        resolves_actions="edit" in (has("text_document.code_action.resolve_support.properties") or ()),
        literal_actions=has("text_document.code_action.code_action_literal_support") is not None,
        versioned_edits=bool(has("workspace.workspace_edit.document_changes")),
        creates_files="create" in (has("workspace.workspace_edit.resource_operations") or ()),
        tags_actions=has("text_document.code_action.tag_support") is not None,
        shows_command_errors=name.lower().startswith(_SHOW_RESPONSE_ERRORS),
    )
