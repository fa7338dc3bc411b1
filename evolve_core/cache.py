"""The user's cache: measurements that are worth keeping and may be lost at any time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CACHE_HOME/kernel-evolve``, or ~/.cache/kernel-evolve. A relative XDG_CACHE_HOME is ignored, as the XDG
    Base Directory specification asks.
    """
    named = (os.environ if environ is None else environ).get("XDG_CACHE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return home / "kernel-evolve"


def write_whole(file: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all: a reader at the same moment finds the old file or the new one.

    Raises OSError where it cannot be written, TypeError where it is no JSON.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".writing-", text=True)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
