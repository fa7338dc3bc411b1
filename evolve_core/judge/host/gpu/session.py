"""The host's step "gpu-session": one planned candidate after the other, screened by a conductor and a bench that stay.

Nobody's Python but the user's runs in any of its processes, so they need no fresh start for a candidate. What a
compiled kernel can do to a process that it shares is to spoil its memory: after anything that was not as it should be,
the pair is replaced, so that no candidate runs after one that misbehaved. Confirmation takes fresh processes anyway.
"""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

from .channel import BadMessage, Channel, PeerGone, PeerSilent
from .children import bench_main, use_device
from .clock_kernels import kept_kernels
from .conductor import Conductor
from .forking import fork_child
from .job import GpuJob
from .lock import DeviceBusy, device_lock
from .outcome import failed, rivals_failure, slowed, with_all_seconds
from .pair import Fork, Pair
from .rivals import Neighbours
from .slots import Slot
from .step import job_of

RECYCLED_AFTER = 200
"""Candidates; a bench that has lived for long has fragmented memory and nothing to gain from growing older."""
_FOREVER_S = 24 * 3600.0


def session_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Serve until the host closes the line. ``payload`` as for ``judge_step``, with ``plans`` and no candidate, and
    ``socket`` and ``token``: where the host listens, and what it knows its own child by."""
    job = job_of(payload, folder)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(payload["socket"])
        channel = Channel(line)
        channel.send({"token": payload["token"]})
        session = Session(job)
        try:
            while True:
                request = channel.receive(None)
                channel.send(session.judge(request["plans"], float(request["deadline_s"])))
        except PeerGone:
            return {}
        finally:
            session.close()


class Session:
    """Screens candidates of one job by their plans."""

    def __init__(self, job: GpuJob, fork: Fork = fork_child) -> None:
        self._job, self._fork = job, fork
        self.pair: Pair | None = None
        """The processes that are there now."""
        self._judged = 0
        self._neighbours = Neighbours(job.device_uuid, job.lock_folder)

    def judge(self, plans: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """An observation as ``judge_on_gpu`` gives it."""
        started = time.monotonic()
        try:
            with device_lock(self._job.device_uuid, Path(self._job.lock_folder), deadline_s):
                result = rivals_failure(self._neighbours) or self._observed(plans, started + deadline_s)
                return with_all_seconds(result, started)
        except DeviceBusy as busy:
            return failed("contended", str(busy))

    def close(self) -> None:
        if self.pair is not None:
            self.pair.close()
            self._neighbours.remove_own()
        self.pair = None
        self._judged = 0

    def _observed(self, plans: dict[str, Any], deadline: float) -> dict[str, Any]:
        before = self._neighbours.computing() if self.pair is None else None
        pair = self.pair = self.pair or self._forked()
        left = max(1.0, deadline - time.monotonic())
        try:
            pair.report.send({"plans": plans})
            result = pair.report.receive(left)
        except PeerSilent:
            result = failed("timeout", f"not finished within {left:.0f} s")
        except (PeerGone, BadMessage):
            result = failed("host-failure", "the checking process ended; see the log")
        self._judged += 1
        if result["failure"] or _odd(result) or self._judged >= RECYCLED_AFTER:
            self.close()
        elif before is not None:
            self._neighbours.add_own(before, (pair.bench.pid, pair.conductor.pid))
        result["failure"] = result["failure"] or slowed(result["environment"])
        return result

    def _forked(self) -> Pair:
        job = self._job
        self._neighbours.close()
        kernels = kept_kernels(Path(job.cache_folder), job.device_uuid)
        return Pair(self._fork, "warm", _FOREVER_S, partial(bench_main, job, kernels), partial(_conducting, job))


def _odd(result: dict[str, Any]) -> bool:
    """Whether a candidate did something to memory that it had no business with."""
    return any(check["inputs_changed"] or check.get("poison_equal") is False for check in result["checks"])


def _conducting(job: GpuJob, end: socket.socket, report: socket.socket, to_bench: Slot, from_bench: Slot) -> None:
    use_device(job, Path(job.cache_folder))
    conductor, requests = Conductor(job, Channel(end), to_bench, from_bench, 0), Channel(report)
    while True:
        try:
            plans = requests.receive(None)["plans"]
        except PeerGone:
            return
        requests.send(conductor.run_planned(plans))
