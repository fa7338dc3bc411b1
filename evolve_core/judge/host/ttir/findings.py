"""Faults of a kernel that a launch showed, each with its place in the kernel's source."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from .ir import Operation

MAX_FINDINGS = 64
"""Different ones of a launch; what a kernel does wrong beyond that helps nobody."""


class Kind(enum.Enum):
    """What went wrong. The values are words for people."""

    OUT_OF_BOUNDS = "out-of-bounds"
    MISALIGNED = "misaligned"
    UNINITIALISED = "uninitialised"
    RACE = "race"
    DIVISION_BY_ZERO = "division-by-zero"
    ASSERTION = "assertion"
    BAD_INDEX = "bad-index"
    BROKEN_PROMISE = "broken-promise"


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault at one operation. ``program`` and ``index`` (elements) are of the first time it happened.

    ``file`` and ``line`` are None where the text has no locations. ``count``: how many elements of how many programs.
    """

    kind: Kind
    message: str
    file: str | None
    line: int | None
    program: tuple[int, int, int]
    buffer: str | None = None
    index: int | None = None
    count: int = 1


class Findings:
    """Collects; a second finding of the same kind, operation and buffer only counts."""

    def __init__(self, grid: tuple[int, int, int]) -> None:
        self._grid = grid
        self._found: dict[tuple[Kind, int, str | None], Finding] = {}

    def add(
        self,
        kind: Kind,
        operation: Operation,
        message: str,
        program: int,
        *,
        buffer: str | None = None,
        index: int | None = None,
        count: int = 1,
    ) -> None:
        """``program`` is linear in the grid, x fastest."""
        key = (kind, operation.text_line, buffer)
        known = self._found.get(key)
        if known is not None:
            self._found[key] = replace(known, count=known.count + count)
        elif len(self._found) < MAX_FINDINGS:
            place = operation.location
            file, line = (place.file, place.line) if place is not None else (None, None)
            at = self.coordinates(program)
            self._found[key] = Finding(kind, message, file, line, at, buffer, index, count)

    def coordinates(self, program: int) -> tuple[int, int, int]:
        x, y, _ = self._grid
        return program % x, program // x % y, program // (x * y)

    def all(self) -> tuple[Finding, ...]:
        return tuple(self._found.values())
