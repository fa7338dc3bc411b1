"""A task on a GPU: the compiler's facts from a sandboxed child, everything that runs from the step in ``gpu/``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from .analysing import compiled, plans_of, unrenewable
from .complaints import none_left, own_failed
from .devices import find_devices
from .errors import StepError, log
from .finalists import interpreted_findings
from .gpu.lock import lock_folder
from .lost import refuse_lost_device
from .opened import OpenTask
from .outcomes import compare_failure, failure_of
from .patience import Patience
from .pool import Cancel, step_folder
from .tier import HOST_CODE, KERNEL_ONLY, Plans, binaries_in, joint
from .untrusted import Malformed, checked_answer
from .warm_gpu import GpuSession, SessionLost

if TYPE_CHECKING:
    from .judging import Judge

OPEN_PATIENCE_S = 300.0
GPU_GRACE_S = 90.0
LAYERS_PATIENCE_S = 60.0
WARM_UP_ELEMENTS = 1 << 24
"""Of a workload that several processes draw at once before it is their turn."""
SESSION_S = 24 * 3600.0
"""Then it is started anew; no wait in milliseconds may pass 2³¹, which epoll counts in."""
_UNGUARDED = (
    "your own kernel does not run where nothing is mapped beside its inputs, so that candidates whose host code runs "
    "are not checked for accesses beside theirs"
)
_WITHOUT = {
    "files": "write your files and read other processes' memory",
    "proc": "write to other processes' entries in /proc",
    "signals": "signal your other processes",
    "privileges": "use what only root may",
    "calls": "reach the network",
}
"""What a candidate's host code can do where a layer of the bench's confinement is missing. Without "sockets", abstract
Unix sockets are open to it, as they are to every ordinary process."""


def open_on_gpu(judge: Judge, task: OpenTask, cancel: Cancel) -> dict[str, Any]:
    """Observe the user's own source against itself: facts, native errors, and the noise of this machine.

    Raises StepError, ``contended`` where somebody else has the device: later times would be held against nothing.
    """
    observation = compiled(judge, task, task.text.source, cancel, own=True)
    task.notes.extend(try_layers(judge, cancel))
    deadline = time.monotonic() + OPEN_PATIENCE_S
    task.plans = plans_of(judge, task, observation)
    measured = _measure(judge, task, None, task.plans, "screening", deadline, cancel)
    if _failed(measured) and not task.plans.why_not:
        # The user's own kernel decides whether plans work here: its own Python may still.
        why_not = f"its plan does not run here: {measured['failure']['message']}"
        task.plans = Plans(why_not=why_not, binary=task.plans.binary)
        measured = _measure(judge, task, None, task.plans, "screening", deadline, cancel)
    if _failed(measured) and measured["failure"]["kind"] == "crash":
        task.guards_inputs = False
        task.notes.append(f"{_UNGUARDED}: {measured['failure']['message']}")
        measured = _measure(judge, task, None, task.plans, "screening", deadline, cancel)
    _merge(observation, measured)
    failure = observation["failure"]
    if _failed(observation):
        raise own_failed("your own kernel cannot be judged on this GPU", failure, task.text)
    if failure:
        raise StepError(failure["kind"], f"your own kernel could not be timed: {failure['message']}")
    _refuse_wrong_baseline(task, observation)
    return observation


def _refuse_wrong_baseline(task: OpenTask, observation: dict[str, Any]) -> None:
    reasons = [compare_failure(check["outputs"]) for check in observation["checks"]]
    wrong = [reason for reason in reasons if reason]
    if reasons and len(wrong) == len(reasons):
        raise none_left([], [f"on this GPU: {wrong[0]}"], task.text)
    task.notes.extend(sorted(set(wrong)))


def judge_on_gpu(
    judge: Judge, task: OpenTask, source: str, stage: str, deadline: float, cancel: Cancel
) -> dict[str, Any]:
    """Observe one candidate: it must compile in the sandbox before it comes near the device."""
    observation = compiled(judge, task, source, cancel, own=False, deadline=deadline)
    try:
        if not observation["failure"]:
            plans = plans_of(judge, task, observation)
            observation["failure"] = unrenewable(judge, task, plans)
            if not observation["failure"]:
                _merge(observation, _measure(judge, task, source, plans, stage, deadline, cancel))
            if stage == "confirmation" and not (observation["failure"] or plans.why_not):
                observation["checks"].extend(interpreted_findings(judge, task, source, deadline, cancel))
    finally:
        judge.binaries.release(binaries_in(observation))
    return observation


def _failed(observation: dict[str, Any]) -> bool:
    return bool(observation["failure"]) and observation["failure"]["kind"] != "contended"


def try_layers(judge: Judge, cancel: Cancel) -> list[str]:
    """Find out, once, what the bench can stand behind; returns what the user should know. Unless every layer that is
    used was seen not to work, all are used: a bench that cannot start says so.
    """
    if judge.bench_layers is None:
        found = tried_layers(judge, cancel)
        if found is None:
            return []
        judge.bench_layers = found["layers"]
    open_to_it = [what for layer, what in _WITHOUT.items() if layer not in judge.bench_layers]
    if not open_to_it:
        return []
    return [f"on this system a candidate's host code beside the GPU can {'; '.join(open_to_it)}"]


def tried_layers(judge: Judge, cancel: Cancel) -> dict[str, Any] | None:
    """What the bench can stand behind on the first device, and why not behind the rest: ``{layers, missing}``; None
    where the trial failed. Raises StepError where there is no device.
    """
    payload = {
        "device_uuid": first_device()["uuid"],
        "lock_folder": str(lock_folder()),
        "hidden": judge.hidden,
        "deadline_s": LAYERS_PATIENCE_S,
    }
    with step_folder(judge.spool) as folder:
        result = judge.step("gpu-layers", payload, cancel, Patience(LAYERS_PATIENCE_S + GPU_GRACE_S), folder)
    if isinstance(result.value, dict):
        return result.value
    log(f"step gpu-layers: {failure_of(result)['message']}\n{result.log}")
    return None


def _measure(
    judge: Judge,
    task: OpenTask,
    candidate: str | None,
    plans: Plans,
    stage: str,
    deadline: float,
    cancel: Cancel,
) -> dict[str, Any]:
    both, why_not = joint(task.plans, plans)
    left = max(1.0, deadline - time.monotonic())
    payload = {**task_payload(judge, task), "candidate": candidate, "plans": both, "stage": stage, "deadline_s": left}
    payload["with_floor"] = candidate is None
    payload["compiled"]["candidate"] = plans.binary
    measured = None
    if both is not None and candidate is not None and stage == "screening":
        measured = _screened(judge, task, payload)
    if measured is None:
        measured = _alone(judge, payload, cancel)
    refuse_lost_device(judge, first_device(), str(lock_folder()), measured["failure"], cancel)
    # A CUDA candidate has no host code: the task's own launches() says how its kernels are launched.
    kernel_only = task.text.is_cuda or both is not None
    measured["environment"]["trust"] = KERNEL_ONLY if kernel_only else HOST_CODE
    if both is None:
        measured["environment"]["no launch plan because" if kernel_only else "host code ran because"] = why_not
    return measured


def task_payload(judge: Judge, task: OpenTask) -> dict[str, Any]:
    """What is the same for every candidate of a task."""
    listed = [{"id": one["id"], "recipe": one["recipe"]} for one in task.timed]
    by_size = sorted([*task.drawn, *task.timed], key=lambda one: int(one["elements"]))
    small = [one for one in by_size if one["elements"] <= WARM_UP_ELEMENTS]
    compiled_baseline = task.folder / "compiled"
    compiled_baseline.mkdir(parents=True, exist_ok=True)
    return {
        "binaries": str(judge.binaries.folder),
        "compiled": {"baseline": task.plans.binary},
        "task_text": task.text.task_text,
        "task_file": task.text.task_file,
        "source_file": task.text.source_file,
        "entry": task.text.entry,
        "kind": task.text.kind,
        "kernels": list(task.text.kernels),
        "has_reference": task.has_reference,
        "precision": task.precision,
        "baseline": task.text.source,
        "device_uuid": first_device()["uuid"],
        "lock_folder": str(lock_folder()),
        "cache_folder": str(compiled_baseline),
        "hidden": judge.hidden,
        "guards_inputs": task.guards_inputs,
        **({} if judge.bench_layers is None else {"layers": judge.bench_layers}),
        "checked": [{"id": one["id"], "recipe": one["recipe"]} for one in task.drawn] + listed,
        "timed": listed,
        "smallest": by_size[0]["id"] if by_size else "",
        "warm_up": small[0]["id"] if small else "",
    }


def _alone(judge: Judge, payload: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
    """In processes of its own."""
    # The step keeps its own deadline and says what it ran out of; the child's is only the backstop behind it.
    with step_folder(judge.spool) as folder:
        result = judge.step("gpu", payload, cancel, Patience(payload["deadline_s"] + GPU_GRACE_S), folder)
    if isinstance(result.value, dict):
        return result.value
    return {"failure": failure_of(result), "checks": [], "timing": [], "environment": {}}


def _screened(judge: Judge, task: OpenTask, payload: dict[str, Any]) -> dict[str, Any] | None:
    """In the processes that stay for this task; None where they cannot.

    The same kernels launched in the same way are screened once: the best of several tries would be their luck.
    """
    code = judge.binaries.code_of(json.dumps(payload["plans"]["candidate"], sort_keys=True))
    known = task.screened.get(code)
    if known is not None:
        return {
            **known,
            "environment": {**known["environment"], "measured": "as an earlier candidate of the same code"},
        }
    measured = _in_session(judge, task, payload)
    if measured is not None and not measured["failure"]:
        task.screened[code] = {**measured, "environment": dict(measured["environment"])}
    return measured


def _in_session(judge: Judge, task: OpenTask, payload: dict[str, Any]) -> dict[str, Any] | None:
    try:
        session = _session(judge, task, payload)
        answer = session.judge(payload["plans"]["candidate"], payload["deadline_s"])
        measured: dict[str, Any] = checked_answer("gpu", answer, judge.spool)
    except (SessionLost, Malformed) as lost:
        log(f"GPU session: {lost}")
        task.session = None
        return None
    return measured


def _session(judge: Judge, task: OpenTask, payload: dict[str, Any]) -> GpuSession:
    with task.starting:
        if task.session is None:
            own = {"baseline": task.plans.by_workload, "candidate": task.plans.by_workload}
            asked = {**payload, "candidate": None, "plans": own, "with_floor": False}
            task.session = GpuSession(asked, lambda asked: _serve(judge, asked))
        return task.session


def _serve(judge: Judge, payload: dict[str, Any]) -> None:
    try:
        with step_folder(judge.spool) as folder:
            result = judge.step("gpu-session", payload, Cancel(), Patience(SESSION_S), folder)
    except StepError as error:
        log(f"GPU session: {error.message}")
        return
    if not isinstance(result.value, dict):
        log(f"GPU session: {failure_of(result)['message']}\n{result.log}")


def first_device() -> dict[str, Any]:
    """The device that everything here is judged on. Raises StepError where the machine has none."""
    devices = find_devices()
    if not devices:
        raise StepError(
            "bad-request", "there is no GPU on this machine; without one, tasks are opened with mode no-gpu"
        )
    return devices[0]


def _merge(observation: dict[str, Any], measured: dict[str, Any]) -> None:
    for key in ("failure", "checks", "timing"):
        observation[key] = measured[key]
    observation["environment"].update(measured["environment"])
