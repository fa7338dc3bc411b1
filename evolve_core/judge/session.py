"""One task at one judge host: what the search asks for verdicts.

Keeps the host alive across its own death (once per candidate), and turns observations into verdicts here, in a process
that has never run a candidate's code.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.client import HostDied, HostError, JudgeHost, OpenedTask
from evolve_core.judge.compose import compose, evidence
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Trust, Verdict
from evolve_core.task.model import Task

SCREENING_DEADLINE_S = 60.0
CONFIRMATION_DEADLINE_S = 180.0


class JudgeRefused(KernelEvolveError):
    """The judge cannot work on this task here: no torch, a task that raises, a kernel that is wrong as it stands."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the record behind it (JSON-able)."""

    verdict: Verdict
    evidence: Mapping[str, Any]


class TaskJudge:
    """Judges candidates of one task. ``open`` first, ``submit`` any number, ``close`` at the end."""

    def __init__(self, start: _HostStart, task: Task, source: str, host: JudgeHost, opened: OpenedTask) -> None:
        self._start = start
        self._task = task
        self._source = source
        self._host = host
        self._opened = opened
        self._generation = 0
        self._revival = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=start.workers, thread_name_prefix="judge")

    @classmethod
    def open(
        cls, task: Task, source: str, *, python: Path, spool: Path, target: str, workers: int, log: IO[bytes]
    ) -> TaskJudge:
        """Start a host and judge the user's own kernel. Raises JudgeRefused with the cause and the next step."""
        start = _HostStart(python, spool, target, workers, log)
        host = start.begin()
        try:
            opened = _open(host, task, source)
        except BaseException:
            host.close()
            raise
        return cls(start, task, source, host, opened)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how this task is judged here."""
        return self._opened.notes

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Device or target, driver, toolchain: what every verdict of this task rests on."""
        return self._opened.environment

    def submit(self, candidate_id: str, source: str, stage: Stage, finalists: int = 1) -> Future[Judgement]:
        """Judge a candidate in the background. The future never fails for what a candidate did.

        ``finalists`` is how many candidates are confirmed together: the intervals are corrected for their number.
        """
        return self._pool.submit(self._judge, candidate_id, source, stage, finalists)

    def close(self) -> None:
        """End the host and every child of it; what is in flight ends with them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._host.close()
        self._pool.shutdown(wait=True)

    def _judge(self, candidate_id: str, source: str, stage: Stage, finalists: int) -> Judgement:
        deadline_s = CONFIRMATION_DEADLINE_S if stage is Stage.CONFIRMATION else SCREENING_DEADLINE_S
        for _attempt in range(2):
            generation, host, opened = self._generation, self._host, self._opened
            try:
                observed = host.judge(opened, candidate_id, source, stage, deadline_s)
            except HostDied:
                self._revive(generation)
                continue
            except HostError as error:
                return _unjudged(error.message, Failure.CRASH, stage)
            verdict = compose(
                opened, observed, target=self._start.target, stage=stage, source=source, finalists=finalists
            )
            record = evidence(self._task, opened, observed, verdict, candidate_id=candidate_id, source=source)
            return Judgement(verdict, record)
        return _unjudged("the judge host died twice while it judged this candidate", Failure.CRASH, stage)

    def _revive(self, generation: int) -> None:
        """Start a new host in place of a dead one; the first of several that notice does it."""
        with self._revival:
            if generation != self._generation:
                return
            self._host.close()
            self._host = self._start.begin()
            self._opened = _open(self._host, self._task, self._source)
            self._generation += 1


@dataclass(frozen=True, slots=True)
class _HostStart:
    python: Path
    spool: Path
    target: str
    workers: int
    log: IO[bytes]

    def begin(self) -> JudgeHost:
        try:
            return JudgeHost.start(self.python, self.spool, self.target, self.workers, self.log)
        except (HostError, HostDied) as error:
            raise JudgeRefused(str(error)) from None


def _open(host: JudgeHost, task: Task, source: str) -> OpenedTask:
    try:
        return host.open(task, source, "gpu" if host.info.devices else "no-gpu")
    except (HostError, HostDied) as error:
        raise JudgeRefused(str(error)) from None


def _unjudged(reason: str, failure: Failure, stage: Stage) -> Judgement:
    verdict = Verdict(Correctness.UNVERIFIED, Speed.UNMEASURED, Trust.HOST_CODE, stage, reason, failure=failure)
    return Judgement(verdict, {"reason": reason})
