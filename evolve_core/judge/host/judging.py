"""Open a task and observe candidates: which steps run in which child, in what order, and what was seen.

Runs in the host's own process, which executes nobody's code: everything here is orchestration of children and
bookkeeping of what they said. No verdict is formed; see docs/judge-host-protocol.md for the shape of an Observation.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from .analysing import compiled, profile
from .binaries import BinaryStore
from .complaints import blamed_on_placeholders, none_left, nothing_to_check
from .errors import StepError, log
from .kinds import Kind
from .measuring import judge_on_gpu, open_on_gpu
from .opened import CheckedWorkload, OpenTask, TaskText, code_of, task_of
from .outcomes import TIMEOUT_WORDS, compare_failure, failure_of, run_failure
from .pool import Cancel, StepResult, Zygote, remove_folder
from .steps import UNTRUSTED, kind_of
from .untrusted import Malformed, checked_answer

STEP_PATIENCE_S = 120.0
"""For trusted steps and for the user's own code: generous, because a wrong "timeout" on their own kernel misleads."""
NATIVE_PATIENCE_S = 30.0
CANDIDATE_SLOWDOWN = 20.0
CANDIDATE_GRACE_S = 10.0
"""A candidate may take this many times the user's own kernel's time in the interpreter, plus a grace for first use."""
POISONS = ("nan", "zero")


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
        deadline_s: float = STEP_PATIENCE_S,
        folder: Path | None = None,
        *,
        own: bool = False,
    ) -> StepResult:
        """Run a step in a child, sandboxed as far as this machine allows; only the GPU's step may see the device.

        Unless it is the user's ``own`` code, it cannot see what their kernel gave, nor other candidates' folders.
        """
        zygote = self._zygotes[kind_of(step)]
        where = folder or self.spool / "steps" / secrets.token_hex(8)
        limits = _limits(step, deadline_s)
        if step in UNTRUSTED and not own:
            limits["hidden"] = self.hidden
        result = zygote.run(step, {**payload, "target": self.target}, where, deadline_s, limits, cancel)
        return _in_shape(step, result) if step in UNTRUSTED else result

    def _trusted(self, step: str, payload: dict[str, Any], cancel: Cancel, folder: Path) -> Any:
        """A step that runs the user's task module and no candidate. Its failures end the request."""
        result = self.step(step, payload, cancel, folder=folder)
        if result.error is not None:
            if result.error.kind == "host-failure":
                log(f"step {step}:\n{result.log}")
            if result.error.kind == "crash":
                name = Path(payload["task_file"]).name
                raise StepError("task-error", f"{name}: {result.error.message}", payload["task_file"])
            raise result.error
        if result.how == "timeout":
            raise StepError(
                "task-error", f"the task module did not finish in {STEP_PATIENCE_S:.0f} s", payload["task_file"]
            )
        if result.value is None:
            name = Path(payload["task_file"]).name
            raise StepError("task-error", f"{name}: {failure_of(result)['message']}", payload["task_file"])
        return result.value

    # -- open ----------------------------------------------------------------------------------------------------

    def open(self, text: TaskText, cancel: Cancel) -> tuple[OpenTask, dict[str, Any]]:
        """Execute the task module for the first time, choose what to check, and observe the user's own source."""
        try:
            return self._open(text, cancel)
        except StepError as error:
            raise blamed_on_placeholders(error, text) from None

    def _open(self, text: TaskText, cancel: Cancel) -> tuple[OpenTask, dict[str, Any]]:
        name = f"t{len(self._tasks)}-{secrets.token_hex(4)}"
        task = OpenTask(name=name, text=text, folder=self.spool / "tasks" / name, timed=[])
        described = self._describe(task, cancel)
        task.timed = described["timed"]
        task.has_reference = described["has_reference"]
        self._tasks[name] = task
        if text.mode == "gpu":
            task.drawn = described["checked"]
            return task, open_on_gpu(self, task, cancel)
        if text.is_cuda:
            observation = compiled(self, task, text.source, cancel, own=True)
            # Where there is no CUDA compiler either, the observation's own note says so.
            without = observation["environment"]["notes"]
            task.notes.extend(without or ["no GPU: a CUDA kernel can be compiled here, not run"])
            return task, observation
        if not described["checked"]:
            raise StepError("task-error", nothing_to_check(task), text.task_file)
        baseline = compiled(self, task, text.source, cancel, own=True, with_profile=False)
        task.checked, checks = self._native(task, described["checked"], cancel)
        baseline["checks"] = checks
        profile(self, task, text.source, baseline, None, cancel)
        return task, baseline

    def _describe(self, task: OpenTask, cancel: Cancel) -> dict[str, Any]:
        payload = {**task_of(task.text), "seed": _seed(), "small": task.text.mode != "gpu"}
        described: dict[str, Any] = self._trusted(
            "describe", payload, cancel, task.folder / f"describe-{secrets.token_hex(4)}"
        )
        return described

    def _native(
        self, task: OpenTask, workloads: list[dict[str, Any]], cancel: Cancel
    ) -> tuple[list[CheckedWorkload], list[dict[str, Any]]]:
        """Run the user's own kernel on every small workload; keep those where it agrees with the oracle."""
        folder = task.folder / f"inputs-{secrets.token_hex(4)}"
        seeds = {one["id"]: _seed() for one in workloads}
        items = [{"id": one["id"], "recipe": one["recipe"], "seed": seeds[one["id"]]} for one in workloads]
        drawn = self._trusted("draw", {**task_of(task.text), "items": items}, cancel, folder)

        def run(one: dict[str, Any]) -> Future[CheckedWorkload | str]:
            return self.children.submit(self._native_run, task, one, seeds[one["id"]], drawn[one["id"]], cancel)

        # The smallest one first and alone: a kernel that never ends should cost one patience, not one per workload.
        outcomes = [run(one).result() for one in workloads[:1]]
        if outcomes and isinstance(outcomes[0], str) and TIMEOUT_WORDS in outcomes[0]:
            raise StepError("task-error", outcomes[0], task.text.source_file)
        outcomes += [job.result() for job in [run(one) for one in workloads[1:]]]
        runnable = [one for one in outcomes if isinstance(one, CheckedWorkload)]
        refused = [one for one in outcomes if isinstance(one, str)]
        kept, checks, disagreements = self._agreeing(task, runnable, cancel)
        task.notes.extend([*refused, *disagreements])
        if workloads and not kept:
            raise StepError("task-error", none_left(refused, disagreements), task.text.source_file)
        return kept, checks

    def _native_run(
        self, task: OpenTask, workload: dict[str, Any], seed: int, inputs: dict[str, Any], cancel: Cancel
    ) -> CheckedWorkload | str:
        folder = self.secret / task.name / f"native-{secrets.token_hex(4)}"
        payload = {**code_of(task.text, task.text.source), "inputs": inputs, "poisons": POISONS}
        result = self.step("run", payload, cancel, NATIVE_PATIENCE_S, folder, own=True)
        if failure := run_failure(result, NATIVE_PATIENCE_S):
            if failure["kind"] == "task-error":
                raise StepError("task-error", failure["message"], task.text.source_file, failure.get("line"))
            return f"your own kernel does not run on {workload['label']} (seed {seed}): {failure['message']}"
        native = result.value["runs"][-1]
        checked = CheckedWorkload(workload, seed, inputs, native, result.wall_s)
        return checked if task.has_reference else replace(checked, truth=self._upcast_truth(task, checked, cancel))

    def _upcast_truth(self, task: OpenTask, checked: CheckedWorkload, cancel: Cancel) -> dict[str, Any] | None:
        """Without reference(): the user's own kernel on wider inputs. None where it does not run on those."""
        folder = self.secret / task.name / f"truth-{secrets.token_hex(4)}"
        code = code_of(task.text, task.text.source)
        payload = {**code, "inputs": checked.inputs, "poisons": ("zero",), "upcast": True}
        result = self.step("run", payload, cancel, NATIVE_PATIENCE_S, folder, own=True)
        if run_failure(result, NATIVE_PATIENCE_S):
            return None
        truth: dict[str, Any] = result.value["runs"][0]
        return truth

    def _agreeing(
        self, task: OpenTask, runnable: list[CheckedWorkload], cancel: Cancel
    ) -> tuple[list[CheckedWorkload], list[dict[str, Any]], list[str]]:
        kept, checks, disagreements = [], [], []
        compared = self._compare(task, [(one, [one.native]) for one in runnable], cancel)
        for one, comparison in zip(runnable, compared, strict=True):
            outputs = comparison["checks"][0]["outputs"]
            if why := compare_failure(outputs):
                disagreements.append(f"on {one.workload['label']} (seed {one.seed}): {why}")
                continue
            kept.append(one)
            checks.append(_check(one, comparison["checks"][0], one.native))
        return kept, checks, disagreements

    def _compare(
        self, task: OpenTask, pairs: list[tuple[CheckedWorkload, list[dict[str, Any]]]], cancel: Cancel
    ) -> list[dict[str, Any]]:
        if not pairs:
            return []
        items = [
            {"id": one.workload["id"], "inputs": one.inputs, "native": one.native, "truth": one.truth, "runs": runs}
            for one, runs in pairs
        ]
        folder = self.spool / "steps" / secrets.token_hex(8)
        try:
            compared: list[dict[str, Any]] = self._trusted(
                "compare", {**task_of(task.text), "items": items}, cancel, folder
            )
        finally:
            remove_folder(folder)
        return compared

    # -- judge ---------------------------------------------------------------------------------------------------

    def judge(self, name: str, source: str, stage: str, deadline_s: float, cancel: Cancel) -> dict[str, Any]:
        """Observe one candidate: compile, check in the interpreter, profile. Stops at the first thing that fails."""
        task = self._tasks.get(name)
        if task is None:
            raise StepError("bad-request", f"no open task {name!r}; open it again (the host may have been restarted)")
        deadline = time.monotonic() + deadline_s
        if task.text.mode == "gpu":
            return judge_on_gpu(self, task, source, stage, deadline, cancel)
        observation = compiled(self, task, source, cancel, own=False, deadline=deadline, with_profile=False)
        if observation["failure"] or task.text.is_cuda:
            return observation
        checked = task.checked
        if stage == "confirmation":
            # Inputs that no candidate of this run was ever judged on, of newly drawn shapes where there is a domain.
            checked, _ = self._native(task, self._describe(task, cancel)["checked"], cancel)
        observation["checks"], observation["failure"] = self._checks(task, checked, source, deadline, cancel)
        if observation["failure"] or any(check["outcome"] != "compared" for check in observation["checks"]):
            return observation
        profile(self, task, source, observation, deadline, cancel)
        return observation

    def _checks(
        self, task: OpenTask, checked: list[CheckedWorkload], source: str, deadline: float, cancel: Cancel
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Smallest workload first; a run that does not end in outputs ends the series."""
        ran: list[tuple[CheckedWorkload, list[dict[str, Any]]]] = []
        broken: list[dict[str, Any]] = []
        failure = None
        folders = []
        for one in checked:
            patience = min(CANDIDATE_SLOWDOWN * one.native_wall_s + CANDIDATE_GRACE_S, deadline - time.monotonic())
            folders.append(self.spool / "steps" / secrets.token_hex(8))
            payload = {**code_of(task.text, source), "inputs": one.inputs, "poisons": POISONS}
            job = self.children.submit(self.step, "run", payload, cancel, max(0.1, patience), folders[-1])
            result = job.result()
            failed = run_failure(result, patience)
            if failed is None:
                ran.append((one, result.value["runs"]))
                continue
            where = {"workload": one.workload["id"], "seed": one.seed}
            if failed["kind"] in ("out-of-bounds", "raised"):
                broken.append(_broken_check(one, failed, result.value or {}))
            if failed["kind"] != "out-of-bounds":
                kind = "crash" if failed["kind"] == "raised" else failed["kind"]
                failure = {
                    **failed,
                    **where,
                    "kind": kind,
                    "message": f"{failed['message']} on {one.workload['label']} (seed {one.seed})",
                }
            break
        compared = self._compare(task, ran, cancel)
        for folder in folders:
            remove_folder(folder)
        found = list(zip(ran, compared, strict=True))
        failure = next((_unreadable(one, answer) for (one, _), answer in found if "unreadable" in answer), failure)
        checks = [
            _check(one, check, run, answer)
            for (one, runs), answer in found
            if "unreadable" not in answer
            for check, run in zip(answer["checks"], runs, strict=True)
        ]
        return [*checks, *broken], failure

    def close(self) -> None:
        self.children.shutdown(wait=False, cancel_futures=True)


def _limits(step: str, deadline_s: float) -> dict[str, Any]:
    if step in ("gpu", "gpu-layers"):
        # CUDA maps terabytes of address space and spins while it waits. The step's own process and the conductor run
        # no candidate; the bench, which does, confines itself by what a driver works under (gpu/confinement.py).
        return {
            "cpu_s": int(8 * deadline_s) + 60,
            "memory_bytes": None,
            "file_bytes": 64 << 30,
            "confined": False,
        }
    limits: dict[str, Any] = {"cpu_s": int(2 * deadline_s) + 2}
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


def _seed() -> int:
    return secrets.randbits(48)


def _check(
    one: CheckedWorkload, check: dict[str, Any], run: dict[str, Any], comparison: dict[str, Any] | None = None
) -> dict[str, Any]:
    agree = comparison is None or comparison["poisons_agree"]
    return {
        "workload": one.workload["id"],
        "label": one.workload["label"],
        "origin": one.workload["origin"],
        "recipe": one.workload["recipe"],
        "seed": one.seed,
        "poison": check["poison"],
        "outcome": "compared" if agree else "mismatch",
        "message": "" if agree else "the outputs depend on what uninitialised memory holds",
        "inputs_changed": check["inputs_changed"],
        "outputs": check["outputs"],
        "out_of_bounds": [],
        "launches": run["launches"],
        "native_launches": one.native["launches"],
    }


def _unreadable(one: CheckedWorkload, answer: dict[str, Any]) -> dict[str, Any]:
    said = f"it wrote outputs of its own in place of the judge's: {answer['unreadable']}"
    where = f"on {one.workload['label']} (seed {one.seed})"
    place = {"file": None, "line": None, "workload": one.workload["id"], "seed": one.seed}
    return {"kind": "crash", "message": f"{said} {where}", **place}


def _broken_check(one: CheckedWorkload, failed: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "workload": one.workload["id"],
        "label": one.workload["label"],
        "origin": one.workload["origin"],
        "recipe": one.workload["recipe"],
        "seed": one.seed,
        "poison": value.get("poison", ""),
        "outcome": failed["kind"],
        "message": failed["message"],
        "inputs_changed": [],
        "outputs": [],
        "out_of_bounds": value.get("out_of_bounds", []),
    }
