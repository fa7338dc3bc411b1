"""Small workloads without anybody's Python: plans and TTIR out of an untrusted child, carried out in a trusted one.

Runs in the host's own process, which only passes data on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .binaries import regular_content
from .errors import log
from .opened import Draw, OpenTask, code_of
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, StepResult, step_folder
from .tier import binaries_of

if TYPE_CHECKING:
    from .judging import Judge

MAX_TEXT_BYTES = 4 << 20
"""Of one kernel's TTIR: those of the examples have some tens of KiB."""
_SHARE = 0.8
"""Of the patience, for the launches: before the child is killed it can say which of them took too long."""
_LOSES_NOTHING = ("unsupported", "too-long")
"""Ends of the trusted interpreter that say nothing about a kernel."""


@dataclass(frozen=True)
class Lowered:
    """A source's plan for one workload with the TTIR of its kernels by hash; or ``why_not``, which is "" else."""

    plan: dict[str, Any] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True)
class Workload:
    """What a plan is made for."""

    id: str
    label: str
    entries: list[Any]
    """Of its inputs, as buffers.py describes them."""

    @classmethod
    def of(cls, workload: dict[str, Any], drawn: Draw) -> Workload:
        return cls(workload["id"], workload["label"], drawn.inputs["header"]["entries"])


def lower(
    judge: Judge, task: OpenTask, source: str, workloads: Iterable[Workload], cancel: Cancel, patience: Patience
) -> dict[str, Lowered]:
    """Plans by workload. Inputs of the same types, shapes and values of arguments share one.

    Where the host code fails, every workload has that as its reason.
    """
    alike: dict[str, list[Workload]] = {}
    for one in workloads:
        alike.setdefault(json.dumps(one.entries), []).append(one)
    firsts = [same[0] for same in alike.values()]
    wanted = [{"id": one.id, "label": one.label, "entries": one.entries} for one in firsts]
    payload = {**code_of(task.text, source), "workloads": wanted}
    with step_folder(judge.spool) as folder:
        result = judge.step("lower", payload, cancel, patience, folder)
        found = {first.id: _lowered(result, first.id, folder, Path(task.text.source_file).name) for first in firsts}
    return {one.id: found[same[0].id] for same in alike.values() for one in same}


def lower_timed(judge: Judge, task: OpenTask, source: str, cancel: Cancel, patience: Patience) -> dict[str, Lowered]:
    """Plans of the timed workloads: what is written and how much is done at these sizes is seen from them."""
    asked = [Workload(one["id"], one["label"], one["entries"]) for one in task.timed]
    return lower(judge, task, source, asked, cancel, patience)


def _lowered(result: StepResult, workload: str, folder: Path, file: str) -> Lowered:
    if result.value is None:
        return Lowered(why_not=_failure(result, file))
    said = result.value["plans"].get(workload, {})
    if "plan" not in said:
        return Lowered(why_not=str(said.get("why_not") or "it could not be followed"))
    kernels: dict[str, str] = {}
    for name in binaries_of({workload: said}):
        content = regular_content(folder / f"{name}.ttir")
        if content is None or len(content) > MAX_TEXT_BYTES or hashlib.sha256(content).hexdigest() != name:
            return Lowered(why_not="the TTIR of a kernel is missing")
        kernels[name] = content.decode("utf-8", "replace")
    return Lowered(said["plan"], kernels)


def _failure(result: StepResult, file: str) -> str:
    """How the host code failed, with the line of ``file``."""
    failure = failure_of(result)
    message, line = str(failure["message"]), failure["line"]
    if not line:
        return message
    said = message.removeprefix(f"line {line}: ").partition(": its launches are unknown")[0]
    return f"{said} ({file}:{line})"


@dataclass(frozen=True)
class Interpreted:
    """What the trusted interpreter saw. ``result.value`` has runs, or says what the kernels did wrong.

    ``why_not``: why it says nothing about the candidate; "" where it does. ``is_refused``: because of the candidate's
    plan, and not because of what the interpreter cannot run.
    """

    result: StepResult
    why_not: str = ""
    is_refused: bool = False


def interpret(
    judge: Judge,
    task: OpenTask,
    lowered: Lowered,
    drawn: Draw,
    poisons: Iterable[str],
    cancel: Cancel,
    patience: Patience,
    folder: Path,
    *,
    idle: bool,
) -> Interpreted:
    """Carry out one plan on drawn inputs, in a child. ``idle``: also with launches that do nothing."""
    payload = {
        "plan": lowered.plan,
        "kernels": lowered.kernels,
        "inputs": drawn.inputs,
        "poisons": list(poisons),
        "idle": idle,
        "seconds": _SHARE * (patience.processor_s or patience.wall_s),
        "file": Path(task.text.source_file).name,
    }
    result = judge.step("interpret", payload, cancel, patience, folder)
    if result.value is None:
        log(f"step interpret:\n{result.log}")
        return Interpreted(result, f"the judge's own interpreter did not end: {failure_of(result)['message']}")
    outcome, message = result.value["outcome"], str(result.value.get("message", ""))
    if outcome in _LOSES_NOTHING:
        return Interpreted(result, message)
    return Interpreted(result, message, is_refused=True) if outcome in ("forged", "raised") else Interpreted(result)
