"""The user's kernel beside what they would use without it: eager, torch.compile, a library. Figures of the task alone.

Measured once for a task, its workloads and the toolchain, and kept in the user's cache as the host's raw answer: what
it comes to is worked out anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve_core.cache import cache_folder, keep
from evolve_core.errors import CannotWrite
from evolve_core.judge.client import HostDied, HostError, HostInfo, JudgeHost, OpenedTask
from evolve_core.judge.observation import Timing, parse_timing
from evolve_core.judge.timing import Samples, measure
from evolve_core.judge.verdict import Baseline, Stage

Answer = Sequence[Mapping[str, Any]]
"""What the host said of each: ``{name, failure, timing}``."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The figures, and the raw answer that they come from, for the evidence."""

    figures: tuple[Baseline, ...]
    raw: Answer


def beside(host: JudgeHost, opened: OpenedTask, deadline_s: float) -> Beside:
    """Times from the cache where there are any, else from the host. Raises nothing: a note says what went wrong."""
    file = cache_folder() / "baselines" / f"{_key(opened, host.info)}.json"
    if (kept := _kept(opened, file)) is not None:
        return kept
    try:
        answer = host.baselines(opened, deadline_s)
        found = Beside(figures(opened, answer), answer)
    except (HostError, HostDied) as error:
        return Beside((Baseline("baselines", note=f"not measured: {error}"),), ())
    except (KeyError, TypeError, ValueError) as error:
        return Beside((Baseline("baselines", note=f"not measured: the host's answer is malformed ({error!r})"),), ())
    if all(one["failure"] is None for one in answer):
        # A cache that cannot be written costs the next run a minute, and this one nothing.
        with contextlib.suppress(CannotWrite):
            keep(file, answer)
    return found


def figures(opened: OpenedTask, answer: Answer) -> tuple[Baseline, ...]:
    """One for each baseline. Raises KeyError, TypeError or ValueError where ``answer`` is none."""
    return tuple(_figure(opened, one) for one in answer)


def _figure(opened: OpenedTask, one: Mapping[str, Any]) -> Baseline:
    name = str(one["name"])
    if one["failure"] is not None:
        return Baseline(name, note=f"not measured: {one['failure']['message']}")
    result = measure(
        [_samples(parse_timing(row)) for row in one["timing"]],
        stage=Stage.CONFIRMATION,
        labels={workload.id: workload.label for workload in opened.workloads},
        weights={workload.id: workload.weight for workload in opened.workloads},
    )
    if result.failure is not None or result.ratio is None:
        return Baseline(name, note=f"not measured: {result.reason}")
    return Baseline(name, result.ratio, result.interval, result.workloads)


def _samples(row: Timing) -> Samples:
    return Samples(row.workload, row.process, row.baseline_ns, row.candidate_ns, empty_ns=row.empty_ns)


def _key(opened: OpenedTask, info: HostInfo) -> str:
    """Everything that the times depend on: the user's source, the task with its workloads, the device, the tools."""
    devices = [(device.uuid, device.driver) for device in info.devices[:1]]
    parts = (opened.source, opened.task_text, opened.task.entry, devices, info.python, info.torch, info.triton)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _kept(opened: OpenedTask, file: Path) -> Beside | None:
    try:
        answer = json.loads(file.read_text(encoding="utf-8"))
        return Beside(figures(opened, answer), answer) if isinstance(answer, list) else None
    except (OSError, KeyError, TypeError, ValueError):
        return None
