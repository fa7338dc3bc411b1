"""Where the seconds of a measurement go, by phase; no second counts twice, and none is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Phase(StrEnum):
    """What the checking process is at."""

    DRAW = "draw"
    """Inputs, and what the user's own kernel gives for them."""
    TRUTH = "truth"
    CHECK = "check"
    """Reading what the bench handed over, and comparing it."""
    TIME = "time"
    """Timed calls in the bench."""
    WAIT = "wait"
    """Everything else: other calls in the bench, processes that start, a device that somebody else holds."""


class Phases:
    """A clock for each phase. One that begins inside another stops the outer one's."""

    def __init__(self) -> None:
        self._running: list[Phase] = []
        self._since = 0.0
        self.begin()

    def begin(self) -> None:
        """Every clock at zero."""
        self._seconds = dict.fromkeys(Phase, 0.0)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        self._charge()
        self._running.append(phase)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def seconds(self) -> dict[str, float]:
        """By phase, so far."""
        return {str(phase): seconds for phase, seconds in self._seconds.items()}

    def _charge(self) -> None:
        now = time.monotonic()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now


def summed(known: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """The seconds of two measurements together."""
    return {phase: known.get(phase, 0.0) + more.get(phase, 0.0) for phase in Phase}


def completed(seconds: Mapping[str, float], wall_s: float) -> dict[str, float]:
    """What of ``wall_s`` no phase accounts for was spent waiting."""
    other = max(0.0, wall_s - sum(seconds.values()))
    whole = summed(seconds, {Phase.WAIT: other})
    return {phase: round(spent, 4) for phase, spent in whole.items()}
