"""The user's cache: measurements that are worth keeping and may be lost at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolve_core.errors import CannotWrite
from evolve_core.files import not_written, write_whole


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CACHE_HOME/kernel-evolve``, or ~/.cache/kernel-evolve. A relative XDG_CACHE_HOME is ignored, as the XDG
    Base Directory specification asks.
    """
    named = (os.environ if environ is None else environ).get("XDG_CACHE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return home / "kernel-evolve"


def keep(file: Path, value: Any) -> None:
    """Write ``value`` as JSON into a file of the cache, whole or not at all. Raises CannotWrite, and TypeError where it
    is no JSON.
    """
    keep_text(file, json.dumps(value, indent=1))


def keep_text(file: Path, text: str) -> None:
    """The same for a text."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(not_written(file, error)) from error
    write_whole(file, text)
