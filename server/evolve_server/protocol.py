"""What we add to the language server protocol. docs/protocol.md describes it for people, with a support table.

Everything here is optional for a client: lenses, code actions, hover, progress and diagnostics say the same.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from evolve_server.documents import uri_of
from evolve_server.words import progress_line

if TYPE_CHECKING:
    from evolve_server.view import RunView

SERVER_STATUS = "experimental/serverStatus"
RUN_CHANGED = "$/kernelEvolve/runChanged"
HEALTH = "kernelEvolve/health"

APPLY_KIND = "refactor.rewrite.kernelEvolve"
EVOLVE_KIND = "refactor.kernelEvolve"
DIAGNOSTIC_SOURCE = "kernel-evolve"
DOCUMENTATION = "https://github.com/kernel-evolve/kernel-evolve/blob/main/docs/protocol.md#diagnostics"


class Command(StrEnum):
    """Names for ``workspace/executeCommand``. Each takes one object (``Target``) and returns one."""

    START = "kernelEvolve.start"
    START_ALL = "kernelEvolve.startAll"
    CANCEL = "kernelEvolve.cancel"
    PAUSE = "kernelEvolve.pause"
    RESUME = "kernelEvolve.resume"
    REVIEW = "kernelEvolve.review"
    APPLY = "kernelEvolve.apply"
    SHOW_DIFF = "kernelEvolve.showDiff"
    REPORT = "kernelEvolve.report"
    SHOW_LOG = "kernelEvolve.showLog"
    CREATE_TASK = "kernelEvolve.createTask"
    OPEN_TASK = "kernelEvolve.openTask"
    TRY_SUGGESTION = "kernelEvolve.trySuggestion"


class Target(TypedDict):
    """What a command is about: a run by its id, or a kernel of a document by name or by a position in it."""

    uri: NotRequired[str]
    kernel: NotRequired[str]
    position: NotRequired[dict[str, int]]
    runId: NotRequired[str]
    insightId: NotRequired[str]


class ServerStatus(TypedDict):
    """Parameters of ``experimental/serverStatus``, in rust-analyzer's shape."""

    health: str
    quiescent: bool
    message: NotRequired[str]


class RunBest(TypedDict):
    candidateId: str
    ratio: float | None
    estimated: bool
    isWinner: bool
    summary: str


class RunChanged(TypedDict):
    """Parameters of ``$/kernelEvolve/runChanged``: one run, as it is now. Times are seconds since the epoch."""

    runId: str
    uri: str
    kernels: list[str]
    state: str
    reason: str
    message: str
    proposed: int
    judged: int
    correct: int
    budgetCandidates: int | None
    budgetSeconds: float | None
    target: str
    createdAt: float
    endedAt: float | None
    best: RunBest | None


def run_changed(run: RunView, now: float) -> RunChanged:
    record = run.record
    return {
        "runId": record.run_id,
        "uri": uri_of(Path(record.spec.source_file)),
        "kernels": list(record.spec.kernels),
        "state": record.state.value,
        "reason": record.reason,
        "message": progress_line(record, now) if run.is_active else record.reason,
        "proposed": record.proposed,
        "judged": record.judged,
        "correct": record.correct,
        "budgetCandidates": record.spec.budget_candidates,
        "budgetSeconds": record.spec.budget_seconds,
        "target": record.spec.target,
        "createdAt": record.created_at,
        "endedAt": record.ended_at,
        "best": _best(run),
    }


def _best(run: RunView) -> RunBest | None:
    if not run.record.best:
        return None
    return {
        "candidateId": run.record.best,
        "ratio": run.record.best_ratio,
        "estimated": run.record.best_estimated,
        "isWinner": run.winner is not None,
        "summary": run.best.summary if run.best is not None else "",
    }
