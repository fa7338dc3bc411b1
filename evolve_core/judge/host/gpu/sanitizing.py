"""A finalist's plan under compute-sanitizer, while the processes of its confirmation get ready.

What guarded memory cannot see is seen here: an access that jumps over the guards into something else that is mapped, a
read past a tensor whose value makes no difference, accesses to shared memory that happen to come in the right order. A
tool costs a process, a context and a run ten to a hundred times as slow, so that one call is watched, on the smallest
of the checked workloads, by all tools beside each other. Nothing is timed before they are done.

Not among them is initcheck: what is read of memory that nobody wrote, and matters, differs between two poisons, and
what does not matter is no fault of a kernel.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import landlock
from ..carrying import Carrier
from ..planreading import plan_from
from .channel import BadMessage, Channel, PeerGone, PeerSilent
from .children import use_device
from .confinement import Confinement, Layer, confine, own_folder
from .inputs import describe
from .job import GpuJob, PlansToWatch
from .outcome import nothing
from .pair import DIE_S, Child, Fork
from .sanitized import MOST_BYTES, why_not, write_job
from .sanitizer import find_sanitizer, watch
from .sanitizer_log import Finding, Tool, Watched

PATIENCE_S = 8.0
"""From the start of the confirmation, which takes 10 to 11.5 s on an NVIDIA H200 without it, the first seconds for
processes that get ready: with it, 15 s are not to be passed."""
_LONGEST_S = 2 * PATIENCE_S + DIE_S
"""With a look at the user's own kernel, where the candidate's did something wrong: then nothing is timed any more."""
_ACCESSES = {"read": "load", "write": "store"}
_NOT = "not sanitized: "


class Sanitizing:
    """From the start of a confirmation until its result is asked for. Of anything but a finalist there is none."""

    def __init__(self, job: GpuJob, fork: Fork) -> None:
        self._deadline = time.monotonic() + PATIENCE_S
        self._child: Child | None = None
        self._told: dict[str, Any] | None = None
        plans = job.watched
        if plans is None:
            is_finalist = job.stage == "confirmation" and job.load_candidate is not None
            if is_finalist and not job.candidate_is_trusted:
                self._told = _said(f"{_NOT}its kernels are not launched by a plan")
            return
        sanitizer, reason = find_sanitizer(), why_not(plan_from(plans.candidate))
        if sanitizer is None or reason:
            self._told = _said(f"{_NOT}{reason or 'compute-sanitizer is not installed'}")
            return
        near, far = socket.socketpair()
        self._line = Channel(near)
        main = partial(_main, job, plans, sanitizer, Channel(far), self._deadline)
        self._child = fork(main, "sanitizer", _LONGEST_S + DIE_S, (far.fileno(),))
        far.close()

    def results(self) -> Iterator[dict[str, Any]]:
        """Its observation, when it is first asked for; nothing any other time. Waits for it."""
        if self._child is not None:
            self._told = self._received()
            self.close()
        told, self._told = self._told, None
        if told is not None:
            yield told

    def close(self) -> None:
        """End it with the tools that it runs, unless it has ended."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.wait(0.0) is None:
            os.kill(child.pid, signal.SIGTERM)
            if child.wait(DIE_S) is None:
                child.kill()
                child.wait(DIE_S)
        self._line.close()

    def __enter__(self) -> Sanitizing:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _received(self) -> dict[str, Any]:
        try:
            return self._line.receive(max(0.0, self._deadline - time.monotonic()) + _LONGEST_S - PATIENCE_S)
        except PeerSilent:
            return _said(f"{_NOT}it did not end in time")
        except (PeerGone, BadMessage):
            return _said(f"{_NOT}the process that draws its inputs ended; see the log")


def _main(job: GpuJob, plans: PlansToWatch, sanitizer: Path, line: Channel, deadline: float) -> None:
    signal.signal(signal.SIGTERM, _leave)
    use_device(job, Path(job.cache_folder))
    with suppress(SystemExit):
        line.send(sanitized(job, plans, sanitizer, deadline))


def _leave(*unused: object) -> None:
    """Out of whatever it waits for; who started the tools ends them on the way."""
    raise SystemExit


def sanitized(job: GpuJob, plans: PlansToWatch, sanitizer: Path, deadline: float) -> dict[str, Any]:
    """The observation of one call of the candidate's plan: checks where something was found, and what was looked at.

    In a process that runs the user's task, to draw inputs, and no candidate. It is confined like a bench before the
    candidate's kernels are loaded in one of its children. ``deadline`` is monotonic.
    """
    started = time.monotonic()
    seed = secrets.randbits(48)
    inputs = job.draw(plans.workload, seed, job.device)
    plan = plan_from(plans.candidate)
    if not Carrier(plan, job.device, lambda *unused: None).fits(inputs):
        return _said(f"{_NOT}there is no plan for its inputs")
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    if sum(_span(value) * value.element_size() for value in tensors.values()) > MOST_BYTES:
        return _said(f"{_NOT}the smallest workload has more than {MOST_BYTES >> 20} MiB of inputs")
    contents = [(name, _content(value)) for name, value in tensors.items()]
    where = describe(inputs)
    own = own_folder(Path(job.spool))
    confine(Confinement(own, own / "compiled", job.hidden, job.spool), _layers(job))

    def watched(which: str, plan: Mapping[str, Any], tools: Sequence[Tool], seconds: float) -> dict[Tool, Watched]:
        folder = own / which
        folder.mkdir(parents=True)
        write_job(folder, plan, plans.binaries, contents)
        return watch(sanitizer, tools, folder, seconds)

    seen = watched("candidate", plans.candidate, list(Tool), max(0.5, deadline - time.monotonic()))
    found = [tool for tool, one in seen.items() if one.findings]
    # What is found in the user's own kernel, too, says nothing against a candidate: it is asked only then.
    can = found and not why_not(plan_from(plans.baseline))
    native = watched("baseline", plans.baseline, found, PATIENCE_S) if can else {}
    checks = [
        _check(plans.workload, seed, seen[tool]) for tool in found if not (tool in native and native[tool].findings)
    ]
    return {**_said(_summary(seen, native, where, time.monotonic() - started)), "checks": checks}


def _layers(job: GpuJob) -> list[Layer]:
    """Of the bench's confinement; but the tools, which have entries of their own in /proc, name their threads there,
    and where Landlock is too old for signals, nobody could end them any more.
    """
    left_out = {Layer.PROC} if landlock.abi() >= landlock.SCOPED_ABI else {Layer.PROC, Layer.SIGNALS}
    return [layer for layer in job.layers if layer not in left_out]


def _summary(seen: Mapping[Tool, Watched], native: Mapping[Tool, Watched], where: str, seconds: float) -> str:
    """What was looked at, by tool."""
    parts = []
    for tool, one in seen.items():
        if one.why_not:
            parts.append(f"{_NOT}{one.why_not}")
        elif tool in native and native[tool].findings:
            parts.append(f"{tool} complains about your own kernel, too: {native[tool].findings[0].says}")
        else:
            parts.append(f"{tool} found {'something' if one.findings else 'nothing'} on {where}")
    return f"{'; '.join(parts)} ({seconds:.1f} s)"


def _check(workload: str, seed: int, watched: Watched) -> dict[str, Any]:
    """A check of the protocol that failed, for the first of the findings."""
    first = watched.findings[0]
    outside = [one for one in watched.findings if one.access and not one.is_misaligned]
    return {
        "workload": workload,
        "seed": seed,
        "poison": "nan",
        "outcome": "out-of-bounds" if outside else "mismatch",
        "message": _message(outside[0] if outside else first, watched),
        "inputs_changed": [],
        "outputs": [],
        "out_of_bounds": [_outside(one, watched) for one in outside],
        "timed": False,
    }


def _outside(finding: Finding, watched: Watched) -> dict[str, Any]:
    return {
        "kernel": finding.kernel,
        "line": finding.line,
        "tensor": _nearest(finding, watched),
        "access": _ACCESSES.get(finding.access, finding.access),
        "message": finding.says,
    }


def _message(finding: Finding, watched: Watched) -> str:
    at = f" at line {finding.line}" if finding.line else ""
    if not finding.access:
        return f"a race in shared memory in {finding.kernel}{at}, by compute-sanitizer's {finding.tool}: {finding.says}"
    near = _nearest(finding, watched)
    what = "a misaligned" if finding.is_misaligned else "an invalid"
    beside = f" near {near}" if near else ""
    by = f"by compute-sanitizer's {finding.tool}: {finding.says}"
    return f"{what} {finding.access} in {finding.kernel}{at}{beside}, {by}"


def _nearest(finding: Finding, watched: Watched) -> str:
    """The tensor that the address is closest to; "" where no address is known."""
    address = finding.address
    if address is None or not watched.allocations:
        return ""
    return min(watched.allocations, key=lambda one: max(one[0] - address, address - (one[0] + one[1]), 0))[2]


def _said(words: str) -> dict[str, Any]:
    return {**nothing(), "environment": {"sanitizer": words}}


def _span(tensor: torch.Tensor) -> int:
    """Elements from the first to the last, both counted."""
    if not tensor.numel():
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))


def _content(tensor: torch.Tensor) -> bytes:
    """The bytes from its first element to its last, also those between that are not of the tensor."""
    whole = tensor.detach().as_strided((_span(tensor),), (1,), tensor.storage_offset())
    return bytes(whole.cpu().view(torch.uint8).numpy()) if whole.numel() else b""
