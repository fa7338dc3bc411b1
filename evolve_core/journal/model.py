"""The journal's records, and the states of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evolve_core.judge.verdict import Stage, Verdict
from evolve_core.propose.proposal import Step


class RunState(StrEnum):
    QUEUED = "queued"
    BASELINE = "baseline"
    EVOLVING = "evolving"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    """Derived, never stored: the runner is gone and the stored state is not final. ``--resume`` goes on."""

    @property
    def is_final(self) -> bool:
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class Control(StrEnum):
    """What someone outside asks of a runner, by writing it into the journal."""

    NONE = ""
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


TASK_WARNING = "warning about the task"
"""The name of such an entry of ``RunRecord.environment``."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run was asked to do; fixed when it is created, but for ``python``.

    Paths are absolute, budgets None when unlimited.

    ``kernels`` are the qualified names that may change; the first is the one the user pointed at.
    ``versions`` are those kernels' versions in ``base_source``, in the same order.
    """

    source_file: str
    kernels: tuple[str, ...]
    versions: tuple[str, ...]
    base_source: str
    task_file: str
    entry: str
    target: str
    seed: int
    budget_seconds: float | None = None
    budget_candidates: int | None = None
    budget_dollars: float | None = None
    proposers: tuple[str, ...] = ()
    task_sha256: str = ""
    """Hash of the task file's text: verdicts reached under two tasks cannot be compared."""
    python: str = ""
    """The interpreter that judges, however it was found: that of the last runner; "" in runs of earlier versions."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the journal shows it now. Times are seconds since the epoch.

    ``reason`` is one sentence on the state ("no gain: 120 candidates, none better than yours").
    ``best`` is the id of the best candidate shown as a result, "" while there is none; ``best_ratio`` its ratio,
    ``best_estimated`` whether that is a prediction. ``proposed``/``judged``/``correct`` count candidates.
    ``spent_s`` is the time searched so far, pauses and interruptions left out; ``spent_dollars`` what models cost.
    """

    run_id: str
    spec: RunSpec
    state: RunState
    reason: str
    created_at: float
    updated_at: float
    ended_at: float | None
    pid: int
    control: Control
    proposed: int
    judged: int
    correct: int
    best: str
    best_ratio: float | None
    best_estimated: bool
    environment: tuple[tuple[str, str], ...] = ()
    spent_s: float = 0.0
    spent_dollars: float = 0.0

    @property
    def task_warnings(self) -> tuple[str, ...]:
        """Weak points of the task that every verdict rests on, too."""
        return tuple(text for name, text in self.environment if name == TASK_WARNING)


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """One candidate: in the journal before it is judged, its ``verdict`` None until then."""

    candidate_id: str
    run_id: str
    ordinal: int
    parents: tuple[str, ...]
    summary: str
    recipe: tuple[Step, ...]
    source: str
    created_at: float
    verdict: Verdict | None
    judged_at: float | None

    @property
    def is_confirmed(self) -> bool:
        """Whether confirmation has found it correct and faster."""
        return self.verdict is not None and self.verdict.is_winner and self.verdict.stage is Stage.CONFIRMATION
