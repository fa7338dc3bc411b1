"""What the server knows, in memory. Requests are pure reads of it; the background fills it (``background.py``).

Results are anchored to (kernel's name, version of its source), never to lines: a run belongs to a kernel while the
versions it was started on are the versions in the buffer, and turns stale with the first edit that moves one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from evolve_core.journal.model import Control, RunRecord, RunState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evolve_core.journal.model import CandidateRecord
    from evolve_core.source.model import Kernel, TextEdit
    from evolve_core.task.model import Task, TaskProblem
    from evolve_server.documents import Anchored, Document

ACTIVE = frozenset(
    (RunState.QUEUED, RunState.BASELINE, RunState.EVOLVING, RunState.VERIFYING, RunState.PAUSED),
)


class Freshness(StrEnum):
    CURRENT = "current"
    EDITED = "edited"
    APPLIED = "applied"
    """The buffer holds the winner itself."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its winner, where it has one: loaded for runs that are over only, as nothing is claimed before.

    A cancelled run has one where confirmation had found it before.

    ``best_versions`` are the kernels' versions in the winner's source, in the order of ``spec.kernels``.
    """

    record: RunRecord
    best: CandidateRecord | None = None
    best_versions: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        return self.record.state in ACTIVE

    @property
    def is_paused(self) -> bool:
        """Whether it holds, or will as soon as its runner comes to it."""
        return self.record.state is RunState.PAUSED or self.record.control is Control.PAUSE

    @property
    def says_something(self) -> bool:
        """Whether it leaves more behind than that it was cancelled."""
        return self.winner is not None or not is_cancelled(self.record)

    @property
    def winner(self) -> CandidateRecord | None:
        best = self.best
        return best if best is not None and best.verdict is not None and best.verdict.is_winner else None


def is_cancelled(record: RunRecord) -> bool:
    """Cancelled, or gone before it could write down that it was asked to."""
    if record.state is RunState.CANCELLED:
        return True
    return record.state is RunState.INTERRUPTED and record.control is Control.CANCEL


@dataclass(frozen=True, slots=True)
class Pending:
    """A run this server has started and the journal does not show yet."""

    run_id: str
    path: Path
    kernels: tuple[str, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartFailure:
    """A run that died before it reached the journal. ``versions`` as of the start: an edit clears the message."""

    run_id: str
    path: Path
    kernels: tuple[str, ...]
    versions: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What applying a winner to the buffer would do: ``edits`` None where the user changed the same lines."""

    candidate_id: str
    revision: int
    edits: tuple[TextEdit, ...] | None

    @property
    def is_applied(self) -> bool:
        return self.edits == ()


@dataclass(frozen=True, slots=True)
class KernelSuggestion:
    """An insight of the knowledge base that may hold here, as ``kb suggest --json`` gave it."""

    kernel: str
    insight_id: str
    claim: str
    ratio: float
    estimated: bool
    similarity: float
    because: str
    target: str = ""
    device: str = ""
    successes: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class KernelView:
    """Everything to be said about one kernel of one open document."""

    uri: str
    path: Path
    anchored: Anchored
    task: Task | TaskProblem | None
    run: RunView | None
    freshness: Freshness
    pending: Pending | None
    start_failure: StartFailure | None
    offer: Offer | None
    suggestions: tuple[KernelSuggestion, ...]
    task_changed_at: float = 0.0
    """When the task file of the run was written or typed in last, in seconds since the epoch."""
    journal_problem: str = ""
    """Why the workspace's journal cannot be read, "" where it can: without it nothing can start, nor be asked for."""

    @property
    def failure(self) -> str:
        """Why the run failed, "" where it did not, or where kernel or task have been edited since."""
        record = self.run.record if self.run is not None else None
        if record is None or record.state is not RunState.FAILED or self.freshness is Freshness.EDITED:
            return ""
        return record.reason if self.task_changed_at <= (record.ended_at or 0.0) else ""

    @property
    def task_warnings(self) -> tuple[str, ...]:
        """What the judge found weak in the task; empty where kernel or task have been edited since."""
        record = self.run.record if self.run is not None else None
        if record is None or self.freshness is Freshness.EDITED or self.task_changed_at > record.created_at:
            return ()
        return record.task_warnings

    @property
    def interruption(self) -> str:
        """Why the runner is gone (a full disk, a kill), "" where it is not, or where nobody waits for it."""
        return self.run.record.reason if self.run is not None and self.is_resumable else ""

    @property
    def is_resumable(self) -> bool:
        """Whether the run shown waits for a new runner: its own is gone, and nobody cancelled it or edited since."""
        record = self.run.record if self.run is not None else None
        if record is None or record.state is not RunState.INTERRUPTED or self.freshness is Freshness.EDITED:
            return False
        return record.control is not Control.CANCEL

    @property
    def kernel(self) -> Kernel:
        return self.anchored.kernel

    @property
    def name(self) -> str:
        return self.kernel.qualified_name

    @property
    def is_busy(self) -> bool:
        return self.pending is not None or (self.run is not None and self.run.is_active)

    @property
    def can_apply(self) -> bool:
        """A winner, on the source it was found for, and nothing of the user's in its way."""
        if self.run is None or self.run.winner is None or self.freshness is not Freshness.CURRENT:
            return False
        return self.offer is None or (self.offer.edits is not None and not self.offer.is_applied)


@dataclass(slots=True)
class View:
    """The mutable whole. ``generation`` moves with every change, so that what is derived can be cached."""

    documents: dict[str, Document] = field(default_factory=dict)
    tasks: dict[str, dict[str, Task | TaskProblem]] = field(default_factory=dict)
    """Document URI → kernel's name → its task or why it has none."""
    runs: dict[str, tuple[RunView, ...]] = field(default_factory=dict)
    """Absolute path of a source file → its runs, newest first."""
    pending: dict[str, Pending] = field(default_factory=dict)
    start_failures: dict[tuple[str, str], StartFailure] = field(default_factory=dict)
    """By (path, first kernel)."""
    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)
    """By (document URI, candidate id)."""
    suggestions: dict[str, tuple[KernelSuggestion, ...]] = field(default_factory=dict)
    """By document URI."""
    task_times: dict[str, float] = field(default_factory=dict)
    """Path of a task file → when it was last written, in seconds since the epoch."""
    journal_problems: dict[Path, str] = field(default_factory=dict)
    """Workspace → why its journal cannot be read."""
    workspace_of: Callable[[Path], Path] = lambda path: path.parent
    """The project that holds a file."""

    @property
    def journal_problem(self) -> str:
        """Why a journal cannot be read, whichever it is; "" while all can."""
        return next(iter(self.journal_problems.values()), "")

    def journal_problem_of(self, path: Path | None) -> str:
        """Why the runs of a file cannot be read and none can start; "" where they can."""
        return self.journal_problems.get(self.workspace_of(path), "") if path is not None else ""

    def document_of(self, path: Path) -> Document | None:
        return next((d for d in self.documents.values() if d.path == path), None)

    def kernels(self, document: Document) -> tuple[KernelView, ...]:
        if not document.is_source or document.path is None:
            return ()
        nearby = self._nearby(document)
        return tuple(self._kernel(document, document.path, anchored, nearby) for anchored in document.anchored)

    def kernel(self, document: Document, name: str) -> KernelView | None:
        if not document.is_source or document.path is None:
            return None
        anchored = next((a for a in document.anchored if a.kernel.qualified_name == name), None)
        return self._kernel(document, document.path, anchored, self._nearby(document)) if anchored is not None else None

    def run(self, run_id: str) -> RunView | None:
        return next((r for runs in self.runs.values() for r in runs if r.record.run_id == run_id), None)

    def active_runs(self) -> tuple[RunView, ...]:
        return tuple(r for runs in self.runs.values() for r in runs if r.is_active)

    def _nearby(self, document: Document) -> _Nearby:
        nearby = _Nearby(document, self.journal_problem_of(document.path))
        for run in self.runs.get(str(document.path), ()):
            for name in run.record.spec.kernels:
                nearby.runs.setdefault(name, []).append(run)
        for pending in self.pending.values():
            if pending.path == document.path:
                for name in pending.kernels:
                    nearby.pending.setdefault(name, pending)
        for suggestion in self.suggestions.get(document.uri, ()):
            nearby.suggestions.setdefault(suggestion.kernel, []).append(suggestion)
        return nearby

    def _kernel(self, document: Document, path: Path, anchored: Anchored, nearby: _Nearby) -> KernelView:
        name = anchored.kernel.qualified_name
        run = nearby.choose_run(name)
        failure = self.start_failures.get((str(path), name))
        if failure is not None and failure.versions != versions_of(document, failure.kernels):
            failure = None
        offer = self.offers.get((document.uri, run.winner.candidate_id)) if run and run.winner else None
        freshness = nearby.freshness(run) if run else Freshness.CURRENT
        if offer is not None and freshness is not Freshness.APPLIED:
            freshness = _sharpened(freshness, offer, document.revision)
        return KernelView(
            uri=document.uri,
            path=path,
            anchored=anchored,
            task=self.tasks.get(document.uri, {}).get(name),
            run=run,
            freshness=freshness,
            pending=nearby.pending.get(name),
            start_failure=failure,
            offer=offer,
            suggestions=tuple(nearby.suggestions.get(name, ())),
            task_changed_at=self._changed_at(run.record.spec.task_file) if run is not None else 0.0,
            journal_problem=nearby.journal_problem,
        )

    def _changed_at(self, task_file: str) -> float:
        buffers = (d.typed_at for d in self.documents.values() if d.is_task and str(d.path) == task_file)
        return max(self.task_times.get(task_file, 0.0), *buffers, 0.0)


def versions_of(document: Document, names: tuple[str, ...]) -> tuple[str, ...]:
    """The versions of those kernels in the buffer; "" for one that is gone."""
    return tuple(document.versions.get(name, "") for name in names)


def freshness_of(run: RunView, document: Document) -> Freshness:
    now = versions_of(document, run.record.spec.kernels)
    if run.winner is not None and now == run.best_versions != run.record.spec.versions:
        return Freshness.APPLIED
    return Freshness.CURRENT if now == run.record.spec.versions else Freshness.EDITED


@dataclass(slots=True)
class _Nearby:
    """What may belong to a document's kernels, by their names: gathered once, as there may be thousands of each."""

    document: Document
    journal_problem: str
    runs: dict[str, list[RunView]] = field(default_factory=dict)
    """Newest first."""
    pending: dict[str, Pending] = field(default_factory=dict)
    suggestions: dict[str, list[KernelSuggestion]] = field(default_factory=dict)
    _freshness: dict[str, Freshness] = field(default_factory=dict)

    def freshness(self, run: RunView) -> Freshness:
        """Compared once for each run: one run may hold every kernel of the file."""
        run_id = run.record.run_id
        if run_id not in self._freshness:
            self._freshness[run_id] = freshness_of(run, self.document)
        return self._freshness[run_id]

    def choose_run(self, name: str) -> RunView | None:
        """The run to speak of: an active one, else the newest that says something about the text as it is now."""
        mine = self.runs.get(name, [])
        active = next((run for run in mine if run.is_active), None)
        if active is not None or not mine:
            return active
        telling = (run for run in mine if run.says_something and self.freshness(run) is not Freshness.EDITED)
        return next(telling, mine[0])


def _sharpened(freshness: Freshness, offer: Offer, revision: int) -> Freshness:
    """Versions see kernels only; the offer also saw their launches. One of an older text says nothing."""
    if offer.revision != revision or freshness is not Freshness.CURRENT:
        return freshness
    if offer.edits is None:
        return Freshness.EDITED
    return Freshness.APPLIED if offer.is_applied else freshness
