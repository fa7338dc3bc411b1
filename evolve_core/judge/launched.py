"""Whether the candidate's kernels did the work: a right and fast answer that no kernel made is no improvement of one.

Launches are seen in three places: in the trace that compiles the host code (complete where the entry needs no
contents of its tensors), in Triton's interpreter, and in the timed calls on a device. A candidate that launches
something useless beside a library call passes here, but not ``idle_kernels``, which asks what changes where launches do
nothing; and what it claims is still measured against the user's kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.observation import SAMPLED, Check, Observation

_OF_LIBRARIES = ("at::", "at_cuda", "cublas", "cudnn", "cutlass_", "nvjet", "_xmma_", "splitK", "Memcpy", "Memset")
"""In the names of what torch, cuBLAS and cuDNN run on a device, as torch.profiler shows them."""
_ELSEWHERE = "its outputs come from somewhere else"


@dataclass(frozen=True, slots=True)
class Unlaunched:
    """``certain``: the host code ran to its end and launched nothing. Else there is only no sign of a launch."""

    reason: str
    certain: bool


def unlaunched(opened: OpenedTask, observed: Observation) -> Unlaunched | None:
    """What speaks against the candidate's kernels having run where the user's own do; None where nothing does."""
    return _traced(opened, observed) or _interpreted(observed) or _timed(opened, observed)


def idle_kernels(checks: Sequence[Check]) -> str:
    """The sentence that says that a candidate's kernels have no part in its outputs, where the user's own have."""
    looked_at = [check for check in checks if check.idle_equal is not None and check.native_idle_equal is False]
    if looked_at and all(check.idle_equal for check in looked_at):
        return f"its outputs are the same where its kernels do nothing: {_ELSEWHERE.replace('its outputs', 'they')}"
    return ""


def _traced(opened: OpenedTask, observed: Observation) -> Unlaunched | None:
    own = {launch.workload for launch in opened.baseline.launches}
    found = {launch.workload for launch in observed.launches}
    if own and not found and (observed.traced or not observed.notes):
        return Unlaunched(f"the entry launches no kernel: {_ELSEWHERE}", certain=True)
    if observed.traced and own - found:
        label = _label(opened, min(own - found))
        return Unlaunched(f"the entry launches no kernel on {label}: {_ELSEWHERE}", certain=True)
    return None


def _interpreted(observed: Observation) -> Unlaunched | None:
    small = [check for check in observed.checks if check.origin != SAMPLED]
    counted = [check for check in small if check.native_launches and check.launches is not None]
    if not counted or any(check.launches for check in counted):
        return None
    if not observed.launches:
        return Unlaunched(f"the entry launches no kernel: {_ELSEWHERE}", certain=True)
    return Unlaunched("no kernel was launched on the small workloads, so none of it was checked", certain=False)


def _timed(opened: OpenedTask, observed: Observation) -> Unlaunched | None:
    for timing in observed.timing:
        if timing.baseline_launches and timing.candidate_launches == 0 and not _own_kernels(observed, timing.workload):
            label = _label(opened, timing.workload)
            return Unlaunched(f"a timed call on {label} launched no Triton kernel, where yours does", certain=False)
    seen = observed.launches or any(timing.candidate_launches for timing in observed.timing)
    if observed.timing and opened.baseline.launches and not seen and not _own_kernels(observed):
        return Unlaunched("it was timed, but no launch of a kernel was seen", certain=False)
    return None


def _own_kernels(observed: Observation, workload: str = "") -> list[str]:
    """Kernels on the device that Triton did not launch and no library of torch's is known to bring: an extension's."""
    checks = [check for check in observed.checks if workload in ("", check.workload)]
    names = {name for check in checks for name in check.device_kernels}
    return sorted(name for name in names if not any(part in name for part in _OF_LIBRARIES))


def _label(opened: OpenedTask, name: str) -> str:
    workload = opened.workload(name)
    return workload.label if workload else name
