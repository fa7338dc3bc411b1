"""What the knowledge base holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from evolve_core.propose.proposal import Step


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an insight was seen to hold. ``features`` describe the kind of kernel (see ``retrieve.py``).

    ``target`` is an architecture (``sm_90``, ``gfx942``); ``device`` the GPU's name, "" for an estimate.
    """

    language: str
    features: tuple[str, ...]
    target: str
    device: str
    toolchain: str


@dataclass(frozen=True, slots=True)
class Insight:
    """A claim with its scope, its evidence and how often it has held since.

    ``ratio`` = time before / time after (> 1 is faster); ``estimated`` says that it is a prediction.
    ``recipe`` is what a transplant replays; ``before``/``after`` are the kernel's source on either side.
    """

    insight_id: str
    claim: str
    scope: Scope
    recipe: tuple[Step, ...]
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    estimated: bool
    kernel: str
    before: str
    after: str
    evidence_sha256: str
    created_at: datetime
    successes: int = 1
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An insight that may hold for a kernel at hand. ``similarity`` is in 0…1, ``because`` says what matched."""

    insight: Insight
    similarity: float
    because: str
