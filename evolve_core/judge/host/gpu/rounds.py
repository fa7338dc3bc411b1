"""The rounds of one measurement: pairs of fresh processes that get ready beside each other and measure one by one.

A context, the user's modules and torch's first kernels take seconds in every process, and in several at once hardly
longer than in one. Getting ready is work on the device: no pair measures before all that stand by are ready.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .channel import BadMessage, PeerGone, PeerSilent
from .children import bench_main, conductor_main, hand_over_compiled
from .clock_kernels import kept_kernels
from .job import GpuJob
from .nvml import list_devices
from .outcome import failed
from .pair import DIE_S, Fork, Pair
from .sanitizing import Sanitizing

_STANDING_BYTES = 6 << 30
"""Of device memory for each pair that stands by: on an NVIDIA H200 two contexts and the clock's buffer take 1.3 GiB;
the rest is for the inputs of the pair that measures."""
_MOST_STANDING = 6
"""A confirmation's: its host code's round and five that time."""


def rounds(job: GpuJob, fork: Fork, deadline: float) -> Generator[dict[str, Any], None, None]:
    """The observation of each round in turn. Whoever stops listening ends the processes that still stand by."""
    planned = list(enumerate(_rounds_of(job)))
    standing = _standing(job)
    with Sanitizing(job, fork) as sanitizing:
        for first in range(0, len(planned), standing):
            yield from _beside(planned[first : first + standing], fork, deadline, sanitizing)


def _rounds_of(job: GpuJob) -> list[GpuJob]:
    """What each pair of processes does: the first checks, all of them time.

    A plan was made by code that knew it was being followed. Before its figures become a claim, the candidate's own host
    code has to give the right outputs, too.
    """
    found = [job] + [replace(job, checked=[])] * (job.process_count - 1)
    if job.stage == "confirmation" and job.load_host_code is not None:
        return [replace(job, load_candidate=job.load_host_code, load_plans=None, timed=[]), *found]
    return found


def _standing(job: GpuJob) -> int:
    """How many pairs may be on the device at once."""
    memory = next((one["memory_bytes"] for one in list_devices() if one["uuid"] == job.device_uuid), 0)
    return min(max(memory // _STANDING_BYTES, 1), _MOST_STANDING)


def _beside(
    planned: list[tuple[int, GpuJob]], fork: Fork, deadline: float, sanitizing: Sanitizing
) -> Generator[dict[str, Any], None, None]:
    with ExitStack() as stack:
        pairs = [stack.enter_context(_forked(job, fork, process, deadline)) for process, job in planned]
        said = [_received(pair, deadline) for pair in pairs]
        for (_, job), pair, first in zip(planned, pairs, said, strict=True):
            if "ready" not in first:
                yield first
                continue
            if job.timed:
                # It works on the device, too: not beside a clock.
                yield from sanitizing.results()
            # Of what an earlier candidate's process left there nothing is taken for the user's own.
            hand_over_compiled(job)
            pair.report.send({"go": True})
            result = _received(pair, deadline)
            pair.close()
            yield result


def _forked(job: GpuJob, fork: Fork, process: int, deadline: float) -> Pair:
    hand_over_compiled(job)
    bench = partial(bench_main, job, kept_kernels(Path(job.cache_folder), job.device_uuid))
    return Pair(fork, str(process), _left(deadline), bench, partial(conductor_main, job, process))


def _received(pair: Pair, deadline: float) -> dict[str, Any]:
    """What the conductor says next: that it is ready, or its report, completed by how the bench ended where that
    explains a failure.
    """
    left = _left(deadline)
    try:
        result = pair.report.receive(left)
    except PeerSilent:
        return failed("timeout", f"not finished within {left:.0f} s")
    except (PeerGone, BadMessage):
        code = pair.conductor.wait(DIE_S)
        message = f"the checking process ended ({_ending(code)}): reference() or your own kernel crashed; see the log"
        return failed("host-failure", message)
    failure = result.get("failure")
    if failure is not None and failure["kind"] == "crash" and failure["message"].endswith("ended"):
        failure["message"] = f"the process that ran the kernel ended: {_ending(pair.bench.wait(DIE_S))}"
    return result


def _left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


def _ending(code: int | None) -> str:
    if code is None:
        return "it had to be killed"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
