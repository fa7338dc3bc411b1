"""What ``doctor`` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``ok`` None means optional and absent; ``next_step`` is "" where there is none to take."""

    what: str
    ok: bool | None
    detail: str
    next_step: str = ""
