"""The host's step "gpu-calibrate": what this device can do at most, and how it times one kernel against itself.

No code of a user or a candidate runs. The peaks are taken in one child of a process that never touched CUDA; the noise
by the very protocol of a confirmation (run.py), with one kernel as both baseline and candidate.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .calibration_kernels import double_kernel
from .channel import BadMessage, Channel, PeerGone, PeerSilent
from .children import use_device
from .clock import Stopwatch
from .confinement import Layer
from .forking import fork_child
from .job import CONFIRMATION_PAIRS, GpuJob, Named, Runner
from .lock import DeviceBusy, device_lock
from .nvml import device_state
from .outcome import failed, rivals_failure, slowed
from .pair import DIE_S, Fork
from .probes import Probe, measured, probes
from .rivals import Neighbours
from .run import judge_on_gpu

PROCESSES = 10
"""Twice a confirmation's: twenty process medians (of two sizes) say more about their 97.5th percentile than ten."""
SIZES = {"small": 1 << 20, "large": 1 << 23}
"""Elements of fp32. A kernel that takes hardly longer than its launch, and one that is bound by memory."""
_BLOCK = 1024


def calibrate_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{failure, probes, timing, environment}``; see docs/judge-host-protocol.md, ``calibrate``.

    ``payload``: ``device_uuid``, ``lock_folder``, ``deadline_s``, and ``hidden`` and ``layers`` of the bench's
    confinement."""
    job = noise_job(payload, folder)
    return calibrated(job, partial(_probe_device, job))


def calibrated(job: GpuJob, probe: Callable[[], dict[str, Any]], fork: Fork = fork_child) -> dict[str, Any]:
    """The peaks by ``probe`` in a child of its own, then the noise of ``job``. The first failure ends it."""
    deadline = time.monotonic() + job.deadline_s
    peaks = _peaks(job, probe, fork, deadline)
    if peaks["failure"] is not None:
        return {**peaks, "timing": []}
    noise = judge_on_gpu(job, fork)
    return {
        "failure": noise["failure"],
        "probes": peaks["probes"],
        "timing": noise["timing"],
        "environment": {**peaks["environment"], **noise["environment"]},
    }


def noise_job(payload: dict[str, Any], folder: Path) -> GpuJob:
    """A confirmation of a kernel against itself: nothing is checked beforehand, every timed output is."""
    return GpuJob(
        device_uuid=payload["device_uuid"],
        lock_folder=payload["lock_folder"],
        cache_folder=str(folder / "trusted"),
        spool=str(folder),
        stage="confirmation",
        deadline_s=float(payload["deadline_s"]),
        checked=[],
        timed=list(SIZES),
        draw=_draw,
        truth=lambda inputs, names: [("out", inputs["x"].double() * 2)],
        load_baseline=_load,
        load_candidate=None,
        pairs=CONFIRMATION_PAIRS,
        processes=PROCESSES,
        times_warm=False,
        hidden=tuple(payload.get("hidden", ())),
        layers=tuple(map(Layer, payload.get("layers", Layer))),
    )


def _draw(workload: str, seed: int, device: str) -> dict[str, Any]:
    generator = torch.Generator(device=device).manual_seed(seed)
    return {"x": torch.randn(SIZES[workload], generator=generator, device=device)}


def _load() -> Runner:
    def run(inputs: dict[str, Any]) -> Named:
        x = inputs["x"]
        out = torch.empty_like(x)
        double_kernel[(-(-x.numel() // _BLOCK),)](x, out, x.numel(), BLOCK=_BLOCK)
        return [("out", out)]

    return run


def _peaks(job: GpuJob, probe: Callable[[], dict[str, Any]], fork: Fork, deadline: float) -> dict[str, Any]:
    try:
        with device_lock(job.device_uuid, Path(job.lock_folder), job.deadline_s):
            with closing(Neighbours(job.device_uuid, job.lock_folder)) as neighbours:
                contended = rivals_failure(neighbours)
            found = contended or _in_child(probe, fork, deadline)
    except DeviceBusy as busy:
        found = failed("contended", str(busy))
    return {"probes": [], **found, "failure": found["failure"] or slowed(found["environment"])}


def _in_child(probe: Callable[[], dict[str, Any]], fork: Fork, deadline: float) -> dict[str, Any]:
    near, far = socket.socketpair()
    left = max(1.0, deadline - time.monotonic())
    channel = Channel(near)
    try:
        child = fork(lambda: Channel(far).send(probe()), "probes", left, (far.fileno(),))
        far.close()
        try:
            return {"failure": None, **channel.receive(left)}
        except PeerSilent:
            return failed("timeout", f"the device's peaks were not measured within {left:.0f} s")
        except (PeerGone, BadMessage):
            return failed("crash", f"the measuring process ended with {child.wait(DIE_S)}")
        finally:
            child.kill()
            child.wait(DIE_S)
    finally:
        channel.close()


def _probe_device(job: GpuJob) -> dict[str, Any]:
    """In the child: every probe's samples, and the device's state while it was busy with them."""
    use_device(job, Path(job.cache_folder))
    watch = Stopwatch()
    memory = int(torch.cuda.get_device_properties(0).total_memory)
    rows: list[dict[str, Any]] = []
    throttle: set[str] = set()
    for probe in (Probe("nothing", 0, lambda: None), *probes(memory, watch.l2_bytes)):
        rows.append(measured(probe, watch))
        throttle.update((device_state(job.device_uuid) or {"throttle": ()})["throttle"])
    return {"probes": rows, "environment": {**watch.describe(), "throttle": sorted(throttle)}}
