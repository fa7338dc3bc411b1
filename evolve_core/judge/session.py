"""One task at one judge host: what the search asks for verdicts.

Keeps the host alive across its own death (once per candidate), and turns observations into verdicts here, in a process
that has never run a candidate's code.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evolve_core.errors import KernelEvolveError
from evolve_core.files import names_full_disk, shortage
from evolve_core.judge.baselines import Beside, beside
from evolve_core.judge.client import HostDied, HostError, JudgeHost, OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.evidence import evidence
from evolve_core.judge.observation import HOST_FAILURE, Observation, nothing_seen
from evolve_core.judge.teeth import Teeth, decide, refusal, warnings
from evolve_core.judge.teeth_record import keep, kept, key_of
from evolve_core.judge.verdict import Correctness, Failure, Stage, Verdict
from evolve_core.judge.yardstick import Yardstick, yardstick_of
from evolve_core.task.model import Task

SCREENING_DEADLINE_S = 60.0
CONFIRMATION_DEADLINE_S = 180.0
BASELINES_DEADLINE_S = 240.0


class JudgeRefused(KernelEvolveError):
    """The judge cannot work on this task here: no torch, a task that raises, a kernel that is wrong as it stands."""


class JudgeFailed(KernelEvolveError):
    """The judge worked and cannot any more: its host does not come back, or fails on one candidate after another."""


DEVICE_LOST = "device-lost"
"""The host's word for a GPU that does not answer any more: every further candidate would meet the same."""
HOST_FAULTS_UNTIL_FAILED = 3
"""So many candidates in a row on which the host, not the candidate, failed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the record behind it (JSON-able)."""

    verdict: Verdict
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Sitting:
    """A host with the task open in it. One replaces another whole, so that no thread ever sees half of each."""

    host: JudgeHost
    opened: OpenedTask
    yardstick: Yardstick
    teeth: Teeth


class TaskJudge:
    """Judges candidates of one task. ``open`` first, ``submit`` any number, ``close`` at the end."""

    def __init__(self, start: _HostStart, task: Task, source: str, sitting: _Sitting) -> None:
        self._start = start
        self._task = task
        self._source = source
        self._sitting = sitting
        self._revival = threading.Lock()
        self._closed = False
        self._faults = 0
        self._pool = ThreadPoolExecutor(max_workers=start.workers, thread_name_prefix="judge")

    @classmethod
    def open(
        cls,
        task: Task,
        source: str,
        *,
        python: Path,
        spool: Path,
        target: str,
        workers: int,
        log: IO[bytes],
        teeth: Path | None = None,
    ) -> TaskJudge:
        """Start a host, judge the user's own kernel, and see whether the tolerance tells right from wrong.

        ``teeth``: the folder that keeps what was found about a tolerance, None: it is looked at anew. Raises
        JudgeRefused with the cause and the next step, JudgeFailed where the disk is full.
        """
        start = _HostStart(python, spool, target, workers, log, teeth)
        sitting = start.begin(task, source)
        if why := refusal(sitting.teeth):
            sitting.host.close()
            raise JudgeRefused(f"{task.task_file.name}:{_line_of_workloads(sitting.opened.task_text)}: {why}")
        return cls(start, task, source, sitting)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how this task is judged here."""
        return (*self._sitting.opened.notes, *self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Weak points of the task, each with what to change in it."""
        return warnings(self._sitting.teeth)

    @property
    def teeth(self) -> Teeth:
        """What was found about the task's tolerance."""
        return self._sitting.teeth

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Device or target, driver, toolchain: what every verdict of this task rests on."""
        return self._sitting.opened.environment

    @property
    def held_against(self) -> str:
        """In words, what measured times are held against here; "" where nothing is known of a device."""
        return self._sitting.yardstick.origin

    def submit(self, candidate_id: str, source: str, stage: Stage, finalists: int = 1) -> Future[Judgement]:
        """Judge a candidate in the background.

        ``finalists`` is how many candidates are confirmed together: the intervals are corrected for their number. The
        future fails with JudgeFailed where the judge itself is at its end, and never for what a candidate did.
        """
        return self._pool.submit(self._judge, candidate_id, source, stage, finalists)

    def baselines(self) -> Future[Beside]:
        """Time the user's kernel beside eager, torch.compile and the task's library, in the background.

        Costs as much as three confirmations, once: the times are kept for the same task and toolchain. What goes wrong
        is in the notes of the figures.
        """
        return self._pool.submit(lambda: beside(self._sitting.host, self._sitting.opened, BASELINES_DEADLINE_S))

    def close(self) -> None:
        """End the host and every child of it; what is in flight ends with them."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._sitting.host.close()
        self._pool.shutdown(wait=True)

    def _judge(self, candidate_id: str, source: str, stage: Stage, finalists: int) -> Judgement:
        deadline_s = CONFIRMATION_DEADLINE_S if stage is Stage.CONFIRMATION else SCREENING_DEADLINE_S
        for _attempt in range(2):
            sitting = self._sitting
            try:
                observed = sitting.host.judge(sitting.opened, candidate_id, source, stage, deadline_s)
                self._faults = 0
            except HostDied:
                self._revive(sitting)
                continue
            except HostError as error:
                self._doubt_on_a_full_disk()
                observed = self._host_fault(error)
            return self._judgement(sitting, observed, candidate_id, source, stage, finalists)
        observed = nothing_seen(Failure.CRASH, "the judge host died twice while it judged this candidate")
        return self._judgement(self._sitting, observed, candidate_id, source, stage, finalists)

    def _judgement(
        self, sitting: _Sitting, observed: Observation, candidate_id: str, source: str, stage: Stage, finalists: int
    ) -> Judgement:
        verdict = compose(
            sitting.opened,
            observed,
            target=self._start.target,
            stage=stage,
            source=source,
            finalists=finalists,
            yardstick=sitting.yardstick,
        )
        if verdict.correctness is not Correctness.CORRECT:
            self._doubt_on_a_full_disk()
        record = evidence(
            sitting.opened,
            observed,
            verdict,
            candidate_id,
            source,
            self._start.target,
            finalists,
            sitting.teeth,
            sitting.yardstick,
        )
        return Judgement(verdict, record)

    def _doubt_on_a_full_disk(self) -> None:
        """What failed while the disk was full is nobody's fault: no verdict, and the candidate is judged on resume."""
        if short := shortage(self._start.spool):
            raise JudgeFailed(f"{short} Nothing that was judged is lost. Free some space there, then try again.")

    def _host_fault(self, error: HostError) -> Observation:
        """The host, not the candidate, failed: the candidate stays unproven, and the search stops if it goes on so."""
        self._faults += 1
        if error.kind == DEVICE_LOST:
            raise JudgeFailed(error.message)
        if self._faults >= HOST_FAULTS_UNTIL_FAILED:
            raise JudgeFailed(
                f"The judge host failed on {self._faults} candidates in a row: {error.message} "
                "Mend the cause, then try again."
            )
        return nothing_seen(HOST_FAILURE, error.message)

    def _revive(self, dead: _Sitting) -> None:
        """Start a new host in place of a dead one; the first of several that notice does it."""
        with self._revival:
            if self._sitting is not dead:
                return
            dead.host.close()
            if self._closed:
                raise JudgeFailed("The judge was closed.")
            try:
                self._sitting = self._start.begin(self._task, self._source)
            except JudgeRefused as error:
                raise JudgeFailed(f"The judge host died and could not be started again: {error}") from None


@dataclass(frozen=True, slots=True)
class _HostStart:
    python: Path
    spool: Path
    target: str
    workers: int
    log: IO[bytes]
    teeth: Path | None

    def begin(self, task: Task, source: str) -> _Sitting:
        try:
            host = JudgeHost.start(self.python, self.spool, self.target, self.workers, self.log)
        except (HostError, HostDied) as error:
            raise self._refusal(error) from None
        try:
            return self._sit(host, task, source)
        except (HostError, HostDied) as error:
            refusal = self._refusal(error)
            host.close()
            raise refusal from None
        except BaseException:
            host.close()
            raise

    def _refusal(self, error: HostError | HostDied) -> JudgeRefused | JudgeFailed:
        """The task's fault ends a run; a full disk, or a GPU that somebody else has, only interrupts it.

        Asked before the host frees what it holds.
        """
        if isinstance(error, HostError) and error.kind == Failure.CONTENDED:
            return JudgeFailed(f"{str(error).rstrip('.')}. Then try again.")
        missing = isinstance(error, HostError) and error.kind in ("missing-torch", "missing-triton")
        if not missing and (short := shortage(self.spool)):
            # What failed may have another cause, which would come back when there is room: then it is said, too.
            what = "" if names_full_disk(str(error)) else f": {str(error).rstrip('.')}"
            return JudgeFailed(f"{short} The judge could not start{what}. Free some space there, then try again.")
        return JudgeRefused(str(error))

    def _sit(self, host: JudgeHost, task: Task, source: str) -> _Sitting:
        mode = "gpu" if host.info.devices else "no-gpu"
        key = key_of((_read(task.task_file), source, task.entry, mode, str(host.info.torch), str(host.info.triton)))
        before = kept(self.teeth, key) if self.teeth else None
        opened = host.open(task, source, mode, teeth=before is None)
        yardstick = yardstick_of(host.info.devices)
        if before is not None:
            return _Sitting(host, opened, yardstick, before)
        found = decide(opened.teeth) if opened.teeth else Teeth()
        if self.teeth:
            keep(self.teeth, key, found)
        return _Sitting(host, opened, yardstick, found)


def _read(task_file: Path) -> str:
    """Its text; "" where it cannot be read, of which the host will have more to say."""
    try:
        return task_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _line_of_workloads(task_text: str) -> int:
    """Where the user has to change something, counted from one."""
    found = re.search(r"^def workloads\b", task_text, re.MULTILINE)
    return task_text.count("\n", 0, found.start()) + 1 if found else 1
