"""Open a task and observe candidates: which steps run in which child, in what order, and what was seen.

Runs in the host's own process, which executes nobody's code: everything here is orchestration of children and
bookkeeping of what they said. No verdict is formed; see docs/judge-host-protocol.md for the shape of an Observation.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .analysing import compiled
from .binaries import BinaryStore
from .candidates import check_candidate
from .carried import lower_timed
from .checking import check_own
from .checks import is_settled
from .complaints import blamed_on_placeholders, nothing_to_check, task_failed
from .errors import NO_ENTRY, StepError, log
from .finalists import interpretable
from .kinds import Kind
from .measuring import judge_on_gpu, open_on_gpu
from .opened import CheckedWorkload, OpenTask, TaskText, task_of
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, StepResult, Zygote, remove_folder
from .realsizes import audit_candidate, audit_own
from .steps import UNTRUSTED, kind_of
from .tolerance import nothing_seen, try_own, try_stand_in
from .untrusted import Malformed, checked_answer
from .workcounts import count_own_work, count_work

STEP_PATIENCE = Patience(120.0)
"""For trusted steps and for the user's own code: generous, because a wrong "timeout" on their own kernel misleads."""


class Judge:
    """Steps on the zygotes, at most ``workers`` children at once."""

    def __init__(self, zygotes: Mapping[Kind, Zygote], spool: Path, target: str, workers: int) -> None:
        self.versions = {name: zygotes[Kind.PLAIN].ready.get(name) for name in ("python", "torch", "triton", "numpy")}
        self._zygotes = zygotes
        self.spool = spool
        self.secret = spool / "secret"
        self.hidden = [str(self.secret), str(spool / "steps")]
        self.bench_layers: list[str] | None = None
        """Of the GPU's bench, once they were tried."""
        for folder in (self.secret, spool / "steps"):
            folder.mkdir(parents=True, exist_ok=True)
        self.target = target
        self.binaries = BinaryStore(spool / "binaries")
        self.children = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="child")
        self._tasks: dict[str, OpenTask] = {}

    # -- steps ---------------------------------------------------------------------------------------------------

    def step(
        self,
        step: str,
        payload: dict[str, Any],
        cancel: Cancel,
        patience: Patience = STEP_PATIENCE,
        folder: Path | None = None,
        *,
        own: bool = False,
    ) -> StepResult:
        """Run a step in a child, sandboxed as far as this machine allows; only the GPU's step may see the device.

        Unless it is the user's ``own`` code, it cannot see what their kernel gave, nor other candidates' folders.
        """
        zygote = self._zygotes[kind_of(step)]
        where = folder or self.spool / "steps" / secrets.token_hex(8)
        limits = _limits(step, patience)
        if step in UNTRUSTED and not own:
            limits["hidden"] = self.hidden
        result = zygote.run(step, {**payload, "target": self.target}, where, patience, limits, cancel)
        return _in_shape(step, result) if step in UNTRUSTED else result

    def trusted(
        self,
        step: str,
        text: TaskText,
        payload: dict[str, Any],
        cancel: Cancel,
        folder: Path,
        patience: Patience = STEP_PATIENCE,
    ) -> Any:
        """A step that runs the user's task module and no candidate. Its failures end the request."""
        result = self.step(step, {**task_of(text), **payload}, cancel, patience, folder)
        if result.error is not None:
            if result.error.kind == "host-failure":
                log(f"step {step}:\n{result.log}")
            raise result.error
        if result.value is None:
            raise task_failed(failure_of(result, of_task=True), text)
        return result.value

    # -- open ----------------------------------------------------------------------------------------------------

    def open(self, text: TaskText, deadline_s: float, cancel: Cancel) -> tuple[OpenTask, dict[str, Any]]:
        """Execute the task module for the first time, choose what to check, and observe the user's own source."""
        try:
            return self._open(text, time.monotonic() + deadline_s, cancel)
        except StepError as error:
            raise blamed_on_placeholders(error, text) from None

    def _open(self, text: TaskText, deadline: float, cancel: Cancel) -> tuple[OpenTask, dict[str, Any]]:
        name = f"t{len(self._tasks)}-{secrets.token_hex(4)}"
        task = OpenTask(name=name, text=text, folder=self.spool / "tasks" / name, timed=[])
        described = self._describe(task, cancel)
        task.timed = described["timed"]
        task.has_reference, task.has_library = described["has_reference"], described["has_library"]
        task.precision = described["precision"]
        self._tasks[name] = task
        if text.mode == "gpu":
            task.drawn = described["checked"]
            observation = open_on_gpu(self, task, cancel)
            task.teeth = self._tried_without_kernel(task, cancel)
            if not (text.is_cuda or task.plans.why_not):
                small = partial(self._described_small, task, cancel)
                task.checked = interpretable(self, task, small, deadline, cancel)
            return task, observation
        if text.is_cuda:
            observation = compiled(self, task, text.source, cancel, own=True)
            task.teeth = self._tried_without_kernel(task, cancel)
            # Where there is no CUDA compiler either, the observation's own note says so.
            without = observation["environment"]["notes"]
            task.notes.extend(without or ["no GPU: a CUDA kernel can be compiled here, not run"])
            return task, observation
        if not described["checked"]:
            raise StepError("task-error", nothing_to_check(task), text.task_file)
        baseline = compiled(self, task, text.source, cancel, own=True)
        task.checked, checks = check_own(self, task, described["checked"], deadline, cancel)
        baseline["checks"] = checks
        timed = lower_timed(self, task, text.source, cancel, Patience.of_own(deadline))
        task.audits = audit_own(self, task, timed, cancel)
        trial = try_own(self, task, cancel) if text.teeth else None
        count_own_work(self, task, timed, baseline, cancel)
        task.teeth = trial.outcome() if trial else None
        return task, baseline

    def _tried_without_kernel(self, task: OpenTask, cancel: Cancel) -> dict[str, Any] | None:
        """The tolerance, where the user's own kernel cannot run on a CPU. A task need not be able to draw on one."""
        if not task.text.teeth:
            return None
        if not task.has_reference:
            return nothing_seen("your kernel does not run on this CPU, and no reference() could stand in for it")
        try:
            return try_stand_in(self, task, self._described_small(task, cancel), cancel).outcome()
        except StepError as error:
            cancel.check()
            return nothing_seen(error.message)

    def _described_small(self, task: OpenTask, cancel: Cancel) -> list[dict[str, Any]]:
        small: list[dict[str, Any]] = self._describe(task, cancel, small=True)["checked"]
        return small

    def _describe(self, task: OpenTask, cancel: Cancel, *, small: bool | None = None) -> dict[str, Any]:
        """``small``: workloads that a CPU can check; None: as this task is judged."""
        without_gpu = task.text.mode != "gpu"
        payload = {"seed": secrets.randbits(48), "small": without_gpu if small is None else small}
        described: dict[str, Any] = self.trusted(
            "describe", task.text, payload, cancel, task.folder / f"describe-{secrets.token_hex(4)}"
        )
        return described

    # -- judge ---------------------------------------------------------------------------------------------------

    def task(self, name: str) -> OpenTask:
        """The open task of that name. Raises StepError where there is none."""
        task = self._tasks.get(name)
        if task is None:
            raise StepError("bad-request", f"no open task {name!r}; open it again (the host may have been restarted)")
        return task

    def judge(self, name: str, source: str, stage: str, deadline_s: float, cancel: Cancel) -> dict[str, Any]:
        """Observe one candidate: compile, check in the interpreter, profile. Stops at the first thing that fails."""
        observation = self._observed(name, source, stage, deadline_s, cancel)
        if (observation["failure"] or {}).get("kind") == NO_ENTRY:
            # Where the entry is named matters to own_failed alone, and the protocol has no such kind.
            observation["failure"] = {**observation["failure"], "kind": "crash"}
        return observation

    def _observed(self, name: str, source: str, stage: str, deadline_s: float, cancel: Cancel) -> dict[str, Any]:
        task = self.task(name)
        deadline = time.monotonic() + deadline_s
        if task.text.mode == "gpu":
            return judge_on_gpu(self, task, source, stage, deadline, cancel)
        observation = compiled(self, task, source, cancel, own=False, deadline=deadline)
        if observation["failure"] or observation["unplanned"] or task.text.is_cuda:
            return observation
        with self._workloads(task, stage, deadline, cancel) as checked:
            found = check_candidate(self, task, checked, source, deadline, cancel)
        observation["checks"], observation["failure"] = found.checks, found.failure
        observation["environment"]["trust"] = found.trust
        observation["environment"]["host code ran because"] = found.by_host
        observation["unplanned"] = found.unplanned
        if observation["failure"] or is_settled(observation["checks"]):
            return observation
        left = Patience(max(1.0, deadline - time.monotonic()))
        timed = self.children.submit(lower_timed, self, task, source, cancel, left).result()
        if not found.unplanned:
            audited = audit_candidate(self, task, timed, deadline, cancel)
            audited.told_in(observation)
            if audited.check or audited.why_not:
                return observation
        count_work(self, task, source, timed, observation, deadline, cancel)
        return observation

    @contextmanager
    def _workloads(
        self, task: OpenTask, stage: str, deadline: float, cancel: Cancel
    ) -> Iterator[list[CheckedWorkload]]:
        """To confirm by: inputs that no candidate of this run was ever judged on, of newly drawn shapes where there is
        a domain. They are gone afterwards.
        """
        if stage != "confirmation":
            yield task.checked
            return
        part = f"confirmation-{secrets.token_hex(4)}"
        fresh = replace(task, name=f"{task.name}/{part}", folder=task.folder / part)
        try:
            yield check_own(self, fresh, self._describe(fresh, cancel)["checked"], deadline, cancel)[0]
        finally:
            remove_folder(self.secret / fresh.name)
            remove_folder(fresh.folder)

    def close(self) -> None:
        self.children.shutdown(wait=False, cancel_futures=True)


def _limits(step: str, patience: Patience) -> dict[str, Any]:
    if kind_of(step) is Kind.GPU:
        # CUDA maps terabytes of address space and spins while it waits. The step's own process and the conductor run
        # no candidate; the bench, which does, confines itself by what a driver works under (gpu/confinement.py).
        return {
            "cpu_s": int(8 * patience.wall_s) + 60,
            "memory_bytes": None,
            "file_bytes": 64 << 30,
            "confined": False,
        }
    limits: dict[str, Any] = {"cpu_s": patience.backstop_s}
    # NVRTC and nvcc map what they like, in processes of their own; they compile text and run none of it.
    return {**limits, "memory_bytes": None} if step == "compile-cuda" else limits


def _in_shape(step: str, result: StepResult) -> StepResult:
    if result.value is None:
        return result
    try:
        return replace(result, value=checked_answer(step, result.value, result.folder))
    except Malformed:
        return replace(
            result, value=None, error=StepError("crash", "it wrote an answer of its own in place of the judge's")
        )
