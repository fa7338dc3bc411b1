"""Correctness without a GPU, a candidate: from its plan and TTIR in a trusted child, or by its own Python.

Runs in the host's own process. The smallest workload comes first; a run that does not end in outputs ends the series.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .carried import Interpreted, Lowered, Workload, interpret, lower
from .checking import Ran, compare, idle_run, poisons_of, run_payload
from .checks import broken_check, compared_check, failure_on, unreadable
from .opened import CheckedWorkload, OpenTask
from .outcomes import run_failure
from .patience import Patience
from .pool import Cancel, step_folder
from .tier import HOST_CODE, KERNEL_ONLY

if TYPE_CHECKING:
    from .judging import Judge

CANDIDATE_SLOWDOWN = 20.0
CANDIDATE_GRACE_S = 10.0
"""A candidate may take this many times the user's own kernel's time in the interpreter, plus a grace for first use."""
_SAYS_ALL = ("out-of-bounds", "mismatch")
"""Ends that are wrong outputs rather than none."""


@dataclass(frozen=True)
class CandidateChecks:
    """``by_host``: why the candidate's own Python ran, "" where it did not. ``unplanned``: why it had to although the
    user's own need not; "" else.
    """

    checks: list[dict[str, Any]]
    failure: dict[str, Any] | None
    by_host: str
    unplanned: str

    @property
    def trust(self) -> str:
        return HOST_CODE if self.by_host else KERNEL_ONLY


@dataclass(frozen=True)
class _End:
    """How the run on a workload ended. ``failed`` is None where there are outputs."""

    ran: Ran
    failed: dict[str, Any] | None
    value: dict[str, Any]


@dataclass
class _Series:
    """One candidate on the workloads, one after the other."""

    judge: Judge
    task: OpenTask
    source: str
    deadline: float
    cancel: Cancel
    place: Path
    """Of its children's folders."""
    by_host: str = ""
    unplanned: str = ""

    def lowered(self, checked: list[CheckedWorkload]) -> dict[str, Lowered]:
        """Plans for those workloads that the user's own kernel has one for."""
        asked = [Workload.of(one.workload, one.drawn) for one in checked if one.is_carried]
        if not asked:
            return {}
        job = self.judge.children.submit(
            lower, self.judge, self.task, self.source, asked, self.cancel, Patience(self._left())
        )
        return job.result()

    def end(self, one: CheckedWorkload, lowered: Lowered | None) -> _End:
        if lowered is None:
            self.by_host = self.by_host or "your own kernel could not be run from its plan here"
            return self._by_host(one)
        if lowered.why_not:
            self._refuse(lowered.why_not)
            return self._by_host(one)
        found = self._interpreted(one, lowered)
        if found.why_not:
            if found.is_refused:
                self._refuse(found.why_not)
            self.by_host = self.by_host or found.why_not
            return self._by_host(one)
        return _end_of_plan(one, found)

    def _refuse(self, why: str) -> None:
        self.by_host = self.by_host or why
        self.unplanned = self.unplanned or why

    def _interpreted(self, one: CheckedWorkload, lowered: Lowered) -> Interpreted:
        job = self.judge.children.submit(
            interpret,
            self.judge,
            self.task,
            lowered,
            one.drawn,
            poisons_of(one.workload),
            self.cancel,
            self._patience(one),
            self._folder(),
            idle=one.before is not None,
        )
        return job.result()

    def _by_host(self, one: CheckedWorkload) -> _End:
        payload = run_payload(self.task, self.source, one.workload, one.drawn, one.before)
        job = self.judge.children.submit(
            self.judge.step, "run", payload, self.cancel, self._patience(one), self._folder()
        )
        result = job.result()
        failed = run_failure(result)
        value = result.value or {}
        if failed is None:
            grace = Patience.computing(CANDIDATE_GRACE_S, self._left())
            idle = idle_run(self.judge, self.task, self.source, one, self._folder(), grace, self.cancel, own=False)
            return _End((one, value["runs"], idle), None, value)
        if one.before and value.get("before"):
            one = replace(one, drawn=one.before, before=None)
        return _End((one, [], None), failed, value)

    def _patience(self, one: CheckedWorkload) -> Patience:
        return Patience.computing(CANDIDATE_SLOWDOWN * one.native_processor_s + CANDIDATE_GRACE_S, self._left())

    def _left(self) -> float:
        return max(0.1, self.deadline - time.monotonic())

    def _folder(self) -> Path:
        return self.place / secrets.token_hex(8)


def _end_of_plan(one: CheckedWorkload, found: Interpreted) -> _End:
    value = found.result.value
    if value["outcome"] == "compared":
        return _End((one, value["runs"], value["idle"]), None, value)
    return _End((one, [], None), run_failure(found.result), value)


def _ran(
    series: _Series, checked: list[CheckedWorkload]
) -> tuple[list[Ran], list[dict[str, Any]], dict[str, Any] | None]:
    """The runs that have outputs, the checks of one that has not, and the failure where that is no check."""
    lowered = series.lowered(checked)
    ran: list[Ran] = []
    for workload in checked:
        end = series.end(workload, lowered.get(workload.workload["id"]))
        if end.failed is None:
            ran.append(end.ran)
            continue
        one, kind = end.ran[0], end.failed["kind"]
        broken = [broken_check(one, end.failed, end.value)] if kind in (*_SAYS_ALL, "raised") else []
        return ran, broken, None if kind in _SAYS_ALL else failure_on(one, end.failed)
    return ran, [], None


def check_candidate(
    judge: Judge, task: OpenTask, checked: list[CheckedWorkload], source: str, deadline: float, cancel: Cancel
) -> CandidateChecks:
    """Every workload until one ends without outputs; all outputs are compared together at the end."""
    with step_folder(judge.spool) as place:
        series = _Series(judge, task, source, deadline, cancel, place)
        ran, broken, failure = _ran(series, checked)
        compared = compare(judge, task, ran, cancel)
    found = list(zip(ran, compared, strict=True))
    failure = next((unreadable(one, answer) for (one, *_), answer in found if "unreadable" in answer), failure)
    checks = [
        compared_check(one, check, run, answer)
        for (one, runs, _), answer in found
        if "unreadable" not in answer
        for check, run in zip(answer["checks"], runs, strict=True)
    ]
    return CandidateChecks([*checks, *broken], failure, series.by_host, series.unplanned)
