"""The request ``baselines``: the user's kernel beside eager, torch.compile and the library, on a GPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .errors import StepError
from .measuring import GPU_GRACE_S, task_payload
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, step_folder
from .tier import joint

if TYPE_CHECKING:
    from .judging import Judge
    from .opened import OpenTask


def baselines(judge: Judge, task: OpenTask, deadline_s: float, cancel: Cancel) -> list[dict[str, Any]]:
    """One ``{name, failure, timing}`` for each that the task has, timed like a confirmation, one after the other."""
    if task.text.mode != "gpu":
        raise StepError("bad-request", "baselines are timed on a GPU only; this task was opened without one")
    deadline = time.monotonic() + deadline_s
    names = ["eager", "torch.compile"] if task.has_reference else []
    names += ["library"] if task.has_library else []
    return [_timed(judge, task, name, deadline, cancel) for name in names]


def _timed(judge: Judge, task: OpenTask, name: str, deadline: float, cancel: Cancel) -> dict[str, Any]:
    left = max(1.0, deadline - time.monotonic())
    plans, _ = joint(task.plans, task.plans)
    payload = {**task_payload(judge, task), "candidate": None, "plans": plans, "stage": "confirmation", "which": name}
    payload["deadline_s"] = left
    with step_folder(judge.spool) as folder:
        result = judge.step("gpu-baseline", payload, cancel, Patience(left + GPU_GRACE_S), folder)
    if not isinstance(result.value, dict):
        return {"name": name, "failure": failure_of(result), "timing": []}
    return {"name": name, "failure": result.value["failure"], "timing": result.value["timing"]}
