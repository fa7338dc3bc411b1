"""What can be known of a source without running it: the compiler's facts, its launches, its plans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .binaries import device_calls_of
from .complaints import own_failed
from .errors import StepError
from .keeping import keeps_memory
from .opened import OpenTask, code_of, task_of
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, step_folder
from .tier import Plans, binaries_in, complete, planless

if TYPE_CHECKING:
    from .judging import Judge

PATIENCE_S = 60.0
"""For the user's own code: generous, because a wrong "timeout" on their own kernel misleads."""


def compiled(
    judge: Judge,
    task: OpenTask,
    source: str,
    cancel: Cancel,
    *,
    own: bool,
    deadline: float | None = None,
) -> dict[str, Any]:
    """An observation with the compiler's facts, the launches and the plans of every timed workload.

    ``own``: the user's own source, for which failing to compile is an error of the request (StepError).
    """
    patience = PATIENCE_S if deadline is None else max(1.0, deadline - time.monotonic())
    observation = _empty_observation(judge, task)
    timed = {one["id"] for one in task.timed}
    # The held-out ones too: their launches are planned with the others.
    workloads = [{key: one[key] for key in ("id", "label", "entries")} for one in [*task.timed, *task.drawn]]
    payload = {**task_of(task.text), **code_of(task.text, source), "workloads": workloads}
    step = "compile-cuda" if task.text.is_cuda else "compile"
    with step_folder(judge.spool) as folder:
        result = judge.children.submit(judge.step, step, payload, cancel, Patience(patience), folder).result()
        if result.value is not None:
            observation["plans"], observation["binary"] = result.value["plans"], result.value["binary"]
            called = device_calls_of(folder, binaries_in(observation))
            if task.text.mode == "gpu":
                judge.binaries.take(folder, binaries_in(observation))
    if result.value is not None:
        observation["kernels"] = result.value["kernels"]
        observation["launches"] = [one for one in result.value["launches"] if one["workload"] in timed]
        observation["environment"]["notes"] = list(result.value["notes"])
        if task.text.mode != "gpu" and (why_not := planless(result.value["plans"])):
            observation["environment"]["no launch plan because"] = why_not
        if own:
            task.device_calls = called
        elif called - task.device_calls:
            observation["failure"] = _refused(called - task.device_calls)
        # A CUDA kernel's launches are the task's own plan, whatever the source does.
        observation["traced"] = not task.text.is_cuda
    elif result.error is not None and result.error.kind in ("needs-contents", "needs-device", "no-compiler"):
        observation["environment"]["notes"] = [result.error.message]
        if result.error.kind == "needs-device" and task.text.mode != "gpu":
            observation["unplanned"] = result.error.message
    else:
        observation["failure"] = failure_of(result)
    if observation["failure"]:
        if own:
            what = f"your own {task.text.entry or 'launches()'} cannot be judged"
            raise own_failed(what, observation["failure"], task.text)
        return observation
    return observation


def plans_of(judge: Judge, task: OpenTask, observation: dict[str, Any]) -> Plans:
    """How the observed source, whose kernels are in the store, is launched on a GPU. Raises StepError for a CUDA file
    that was not compiled.
    """
    wanted = [one["id"] for one in [*task.drawn, *task.timed]]
    plans = _complete(judge, observation, wanted)
    if called := device_calls_of(judge.binaries.folder, binaries_in(observation)):
        why_not = f"it calls {', '.join(sorted(called))} on the device, where memory stays from call to call"
        plans = Plans(why_not=why_not, binary=plans.binary)
    if task.text.is_cuda and plans.binary not in judge.binaries.at_hand():
        raise StepError("compile-error", "; ".join(observation["environment"]["notes"]) or "its binary is missing")
    return plans


def _complete(judge: Judge, observation: dict[str, Any], wanted: list[str]) -> Plans:
    at_hand, notes = judge.binaries.at_hand(), observation["environment"]["notes"]
    if notes and not observation["plans"]:
        return complete({}, wanted, at_hand, observation["binary"], unfollowed=notes[0])
    return complete(observation["plans"], wanted, at_hand, observation["binary"])


def unrenewable(judge: Judge, task: OpenTask, plans: Plans) -> dict[str, Any] | None:
    """The failure of a CUDA file that keeps memory where nobody can make it anew between calls: without a plan."""
    why_not = task.plans.why_not or plans.why_not
    if not task.text.is_cuda or not why_not:
        return None
    kept, own = (
        keeps_memory((judge.binaries.folder / f"{one.binary}.cubin").read_bytes()) for one in (plans, task.plans)
    )
    if own or not kept:
        return None
    message = (
        "it has memory of its own (__device__, __constant__, static variables) and your kernel has none; that is made "
        f"anew before every call, which takes a launch plan ({why_not}). Hand the kernel its memory as an argument"
    )
    return _refusal(message)


def _refused(called: frozenset[str]) -> dict[str, Any]:
    names = ", ".join(sorted(called))
    message = (
        f"its kernels call {names} on the device, and your own do not: what they get there is not the judge's to renew "
        "between calls. Hand them memory as arguments instead"
    )
    return _refusal(message)


def _refusal(message: str) -> dict[str, Any]:
    return {"kind": "compile-error", "message": message, "file": None, "line": None, "workload": None, "seed": None}


def _empty_observation(judge: Judge, task: OpenTask) -> dict[str, Any]:
    environment: dict[str, Any] = {
        "device": "none",
        "driver": None,
        "target": judge.target,
        **judge.versions,
        "precision": task.precision,
        "notes": [],
    }
    return {
        "failure": None,
        "kernels": [],
        "launches": [],
        "plans": {},
        "binary": "",
        "traced": False,
        "unplanned": "",
        "unaudited": "",
        "work": [],
        "checks": [],
        "timing": [],
        "environment": environment,
    }
