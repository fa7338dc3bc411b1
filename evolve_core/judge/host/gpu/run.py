"""Judge one candidate on the GPU: the device lock, the two children of each round, and their joint observation.

Runs in a process that has not touched CUDA and never does. It forks; what the children do is in ``conductor.py`` and
``bench.py``.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .bench import Bench
from .channel import BadMessage, Channel, PeerGone, PeerSilent
from .conductor import Conductor
from .confinement import Confinement, confine, own_folder
from .forking import fork_child
from .hold import kept_hold
from .job import GpuJob
from .lock import DeviceBusy, device_lock
from .nvml import SLOWING
from .pair import Fork, Pair
from .phases import completed, summed
from .rivals import Neighbours
from .serving import serve_bench
from .slots import Slot

__all__ = ["GpuJob", "judge_on_gpu"]

_DIE_S = 5.0


def judge_on_gpu(job: GpuJob, fork: Fork = fork_child) -> dict[str, Any]:
    """Observe one candidate: ``{failure, checks, timing, environment}`` in the protocol's words.

    Confirmation runs fresh processes in turn, each with new seeds; the first also checks every checked workload.
    A failure ends the rounds. ``contended`` where somebody else computes on the device or it is slowed down.
    """
    started = time.monotonic()
    try:
        with device_lock(job.device_uuid, Path(job.lock_folder), job.deadline_s):
            return with_all_seconds(_rounds(job, fork, started + job.deadline_s), started)
    except DeviceBusy as busy:
        return failed("contended", str(busy))


def _rounds(job: GpuJob, fork: Fork, deadline: float) -> dict[str, Any]:
    with closing(Neighbours(job.device_uuid, job.lock_folder)) as neighbours:
        if contended := rivals_failure(neighbours):
            return contended
    total, seconds = _nothing(), dict[str, float]()
    for process, planned in enumerate(_rounds_of(job)):
        result = _one_round(planned, fork, process, deadline)
        total["checks"] += result["checks"]
        total["timing"] += result["timing"]
        total["environment"].update(result["environment"])
        seconds = summed(seconds, result["environment"].get("seconds", {}))
        total["failure"] = result["failure"] or slowed(result["environment"])
        if total["failure"] is not None:
            break
    total["environment"]["seconds"] = seconds
    return total


def _rounds_of(job: GpuJob) -> list[GpuJob]:
    """What each pair of processes does: the first checks, all of them time.

    A plan was made by code that knew it was being followed. Before its figures become a claim, the candidate's own host
    code has to give the right outputs, too.
    """
    rounds = [job] + [replace(job, checked=[])] * (job.process_count - 1)
    if job.stage == "confirmation" and job.load_host_code is not None:
        return [replace(job, load_candidate=job.load_host_code, load_plans=None, timed=[]), *rounds]
    return rounds


def rivals_failure(neighbours: Neighbours) -> dict[str, Any] | None:
    """The observation of a device on which somebody else computes; None where nobody does. Under the device's lock."""
    if not (found := neighbours.rivals()):
        return None
    return failed("contended", f"another process computes on this GPU (pids {found}); end it and run again")


def _one_round(job: GpuJob, fork: Fork, process: int, deadline: float) -> dict[str, Any]:
    """One conductor and one bench, from fork to death."""
    left = max(1.0, deadline - time.monotonic())
    _hand_over_compiled(job)
    bench = partial(bench_main, job, kept_hold(Path(job.cache_folder), job.device_uuid))
    with Pair(fork, str(process), left, bench, partial(_conducting, job, process)) as pair:
        return _collect(pair, left)


def _collect(pair: Pair, timeout_s: float) -> dict[str, Any]:
    """The conductor's report, completed by how the bench ended where that explains a failure."""
    try:
        result = pair.report.receive(timeout_s)
    except PeerSilent:
        return failed("timeout", f"not finished within {timeout_s:.0f} s")
    except (PeerGone, BadMessage):
        code = pair.conductor.wait(_DIE_S)
        message = f"the checking process ended ({_ending(code)}): reference() or your own kernel crashed; see the log"
        return failed("host-failure", message)
    failure = result["failure"]
    if failure is not None and failure["kind"] == "crash" and failure["message"].endswith("ended"):
        failure["message"] = f"the process that ran the kernel ended: {_ending(pair.bench.wait(_DIE_S))}"
    return result


def bench_main(job: GpuJob, hold: bytes | None, end: socket.socket, inbox: Slot, outbox: Slot) -> None:
    """The life of a bench: confined before its first CUDA call, then at the conductor's service."""
    use_device(job, _bench_cache(job))
    spool = Path(job.spool)
    confined = confine(Confinement(own_folder(spool), _bench_cache(job), job.hidden, job.spool), job.layers)
    bench = Bench(inbox, outbox, job.load_baseline, job.load_candidate, job.device, confined, job.load_plans, hold)
    serve_bench(Channel(end), bench)


def _conducting(
    job: GpuJob, process: int, end: socket.socket, report: socket.socket, to_bench: Slot, from_bench: Slot
) -> None:
    use_device(job, Path(job.cache_folder))
    Channel(report).send(Conductor(job, Channel(end), to_bench, from_bench, process).run())


def _bench_cache(job: GpuJob) -> Path:
    """One for all rounds: what the first bench compiled, the later ones find."""
    return Path(job.spool) / "compiled"


def _hand_over_compiled(job: GpuJob) -> None:
    """What the user's kernel compiled to, into the bench's cache, over whatever a candidate of an earlier round left
    there under its names: the baseline that is timed is the one that was compiled without any candidate.
    """
    trusted = Path(job.cache_folder)
    trusted.mkdir(parents=True, exist_ok=True)
    shutil.copytree(trusted, _bench_cache(job), dirs_exist_ok=True)


def use_device(job: GpuJob, cache: Path) -> None:
    """Before this process's first CUDA call: the one device it may see, its compiler cache, the real driver."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = job.device_uuid
    os.environ["TRITON_CACHE_DIR"] = str(cache)
    if job.device != "cuda":
        return
    # The parent may have told Triton about a pretended device, for compiling without a GPU.
    importlib.import_module("triton.runtime.driver").driver.reset_active()


def with_all_seconds(result: dict[str, Any], started: float) -> dict[str, Any]:
    """The observation with what was spent since ``started`` (monotonic) and no phase accounts for."""
    environment = result["environment"]
    environment["seconds"] = completed(environment.get("seconds", {}), time.monotonic() - started)
    return result


def slowed(environment: dict[str, Any]) -> dict[str, Any] | None:
    """The failure of a measurement during which the device slowed itself down."""
    reasons = sorted(set(environment.get("throttle", ())) & SLOWING)
    if not reasons:
        return None
    return _failure("contended", f"the GPU slowed itself down while it was measured ({', '.join(reasons)})")


def failed(kind: str, message: str) -> dict[str, Any]:
    """An observation of nothing but a failure."""
    return {**_nothing(), "failure": _failure(kind, message)}


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "file": None, "line": None, "workload": None, "seed": None}


def _nothing() -> dict[str, Any]:
    return {"failure": None, "checks": [], "timing": [], "environment": {}}


def _ending(code: int | None) -> str:
    if code is None:
        return "it had to be killed"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
