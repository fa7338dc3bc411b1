"""Judge one candidate on the GPU: the device lock, the rounds under it, and their joint observation.

Runs in a process that has not touched CUDA and never does. Who is forked, and when, is in ``rounds.py``; what the
children do, in ``conductor.py`` and ``bench.py``.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from .forking import fork_child
from .job import GpuJob
from .lock import DeviceBusy, device_lock
from .outcome import failed, nothing, rivals_failure, slowed, with_all_seconds
from .pair import Fork
from .phases import summed
from .rivals import Neighbours
from .rounds import rounds


def judge_on_gpu(job: GpuJob, fork: Fork = fork_child) -> dict[str, Any]:
    """Observe one candidate: ``{failure, checks, timing, environment}`` in the protocol's words.

    Confirmation takes several rounds of fresh processes, each with new seeds; the first also checks every checked
    workload. A failure ends the rounds, and so does what the sanitizer finds.
    ``contended`` where somebody else computes on the device or it is slowed down.
    """
    started = time.monotonic()
    try:
        with device_lock(job.device_uuid, Path(job.lock_folder), job.deadline_s):
            return with_all_seconds(_observed(job, fork, started + job.deadline_s), started)
    except DeviceBusy as busy:
        return failed("contended", str(busy))


def _observed(job: GpuJob, fork: Fork, deadline: float) -> dict[str, Any]:
    if contended := _rivals(job):
        return contended
    total, seconds = nothing(), dict[str, float]()
    with closing(rounds(job, fork, deadline)) as results:
        for result in results:
            total["checks"] += result["checks"]
            total["timing"] += result["timing"]
            total["environment"].update(result["environment"])
            seconds = summed(seconds, result["environment"].get("seconds", {}))
            total["failure"] = result["failure"] or slowed(result["environment"])
            if total["failure"] is not None or any(check["outcome"] != "compared" for check in result["checks"]):
                break
    total["environment"]["seconds"] = seconds
    # Who came while it was measured and is still there was beside it.
    if total["failure"] is None and (contended := _rivals(job)):
        total["failure"] = contended["failure"]
    return total


def _rivals(job: GpuJob) -> dict[str, Any] | None:
    """The observation of a device on which somebody else computes. Closed again, because this process forks."""
    with closing(Neighbours(job.device_uuid, job.lock_folder)) as neighbours:
        return rivals_failure(neighbours)
