"""What a run may spend."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evolve_core.errors import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run; None means unlimited. The first one reached ends the search."""

    seconds: float | None = None
    candidates: int | None = None
    dollars: float | None = None

    def spent(self, *, seconds: float, candidates: int, dollars: float = 0.0) -> str:
        """Say which limit is reached, "" while none is."""
        if self.candidates is not None and candidates >= self.candidates:
            return f"{self.candidates} candidates judged"
        if self.seconds is not None and seconds >= self.seconds:
            return f"{self.seconds:g} s spent"
        if self.dollars is not None and dollars >= self.dollars:
            return f"${self.dollars:g} spent"
        return ""

    def describe(self) -> str:
        limits = [
            f"{self.seconds:g} s" if self.seconds is not None else "",
            f"{self.candidates} candidates" if self.candidates is not None else "",
            f"${self.dollars:g}" if self.dollars is not None else "",
        ]
        return ", ".join(filter(None, limits)) or "unlimited"


def parse_budget(text: str) -> Budget:
    """Read ``10m``, ``200c``, ``$2`` or several with commas (``10m,200c``). Raises UsageError."""
    seconds = candidates = dollars = None
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", part):
            seconds = float(match[1]) * _UNITS_S[match[2]]
        elif match := re.fullmatch(r"(\d+)c", part):
            candidates = int(match[1])
        elif match := re.fullmatch(r"\$(\d+(?:\.\d+)?)", part):
            dollars = float(match[1])
        else:
            raise UsageError(
                f"{part!r} is no budget. Say how long (90s, 10m, 1h), how many candidates (200c), how much ($2), "
                "or several with commas: 10m,200c"
            )
    if seconds is None and candidates is None and dollars is None:
        raise UsageError("The budget is empty. Say for example 10m, 200c or 10m,200c.")
    if 0 in (seconds, candidates, dollars):
        raise UsageError(f"A budget of {text} leaves nothing to search with. Say for example 10m, 200c or 10m,200c.")
    return Budget(seconds, candidates, dollars)
