"""Evidence: the replayable record behind one verdict, as JSON, and how it is read back and doubted.

It holds everything that the verdict was reached from (sources, raw observations, workloads), so that anybody can reach
it again from the record alone, and judge the same candidate again on another machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import Observation, parse_observation, parse_workload
from evolve_core.judge.teeth import Teeth
from evolve_core.judge.teeth_record import as_record, contradiction, from_record
from evolve_core.judge.verdict import Correctness, Failure, Interval, Speed, Stage, Verdict
from evolve_core.judge.yardstick import NOTHING_KNOWN, Yardstick
from evolve_core.task.model import Task, TaskKind

VERSION = 3
"""1 had neither target nor number of finalists, 2 nothing of what times were held against and of the tolerance."""


class BadEvidence(KernelEvolveError):
    """The file is no evidence of ours, or was changed after it was written."""


Warm = Mapping[str, tuple[float, Interval | None]]
"""By workload timed on a warm L2 cache: the ratio there and its interval."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a record says was found: the part of its verdict that a replay is compared with."""

    correctness: Correctness
    speed: Speed
    failure: Failure | None
    stage: Stage
    reason: str
    ratio: float | None
    interval: Interval | None
    warm: Warm


@dataclass(frozen=True, slots=True)
class Record:
    """Evidence, read back. ``opened`` is the task as it was open then; ``source`` the candidate that was judged.

    ``folder`` is where the source file lay, "" where the record does not say; ``package`` the names of the packages
    around it, outermost first.
    """

    claim: Claim
    opened: OpenedTask
    observed: Observation
    source: str
    target: str
    finalists: int
    folder: str
    package: tuple[str, ...]
    teeth: Teeth
    yardstick: Yardstick = NOTHING_KNOWN


def evidence(
    opened: OpenedTask,
    observed: Observation,
    verdict: Verdict,
    candidate_id: str,
    source: str,
    target: str,
    finalists: int,
    teeth: Teeth,
    yardstick: Yardstick = NOTHING_KNOWN,
) -> dict[str, Any]:
    """Everything needed to check ``verdict`` later: sources with hashes, raw observations, environment. JSON-able."""
    task = opened.task
    return {
        "version": VERSION,
        "candidate": candidate_id,
        "task": {
            "file": task.task_file.name,
            "source_file": task.source_file.name,
            "folder": str(task.source_file.parent.absolute()),
            "package": list(_package_of(task.source_file)),
            "entry": task.entry,
            "kind": str(task.kind),
            "kernels": list(task.kernels),
            "has_reference": task.has_reference,
            "has_domain": task.has_domain,
            **_text("task", opened.task_text),
        },
        "baseline": {**_text("source", opened.source), "observation": dict(opened.baseline.raw)},
        "judged": {**_text("source", source), "observation": dict(observed.raw)},
        "workloads": [asdict(one) for one in opened.workloads],
        "mode": opened.mode,
        "target": target,
        "finalists": finalists,
        "yardstick": asdict(yardstick),
        "teeth": as_record(teeth),
        "environment": dict(observed.environment),
        "verdict": asdict(verdict),
    }


def read_evidence(path: Path) -> Record:
    """The record in a file. Raises BadEvidence with what is wrong with it, OSError where it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadEvidence(f"{path.name} is not JSON ({error}); give the file that `judge` or `show` wrote.") from None
    if not isinstance(data, dict) or "verdict" not in data or "judged" not in data:
        raise BadEvidence(f"{path.name} is not the evidence of a verdict; `judge` prints where it puts it.")
    if data.get("version") != VERSION:
        raise BadEvidence(
            f"{path.name} has version {data.get('version')} and this kernel-evolve reads {VERSION}; judge it again."
        )
    try:
        return _record(data)
    except (KeyError, TypeError, ValueError) as error:
        raise BadEvidence(f"{path.name} is damaged: {type(error).__name__}: {error}.") from None


def verdict_of(record: Record) -> Verdict:
    """The verdict that the record's own observations lead to, reached now."""
    return compose(
        record.opened,
        record.observed,
        target=record.target,
        stage=record.claim.stage,
        source=record.source,
        finalists=record.finalists,
        yardstick=record.yardstick,
    )


def unsupported(record: Record) -> str:
    """How the claim differs from what its own observations lead to; "" where they agree."""
    if why := contradiction(record.teeth):
        return why
    found = verdict_of(record)
    claim = record.claim
    if (found.correctness, found.speed, found.failure) != (claim.correctness, claim.speed, claim.failure):
        return f"it claims {in_words(claim)}, but its own observations say {in_words(found)}"
    if found.ratio != claim.ratio or found.interval != claim.interval:
        return f"it claims a ratio of {claim.ratio}, but its own samples give {found.ratio}"
    if _warm(found) != claim.warm:
        return "the ratios on a warm L2 cache that it claims are not those that its own samples give"
    return ""


def in_words(verdict: Verdict | Claim) -> str:
    """ "correct, faster", "wrong, unmeasured, cheating"."""
    return ", ".join(str(word) for word in (verdict.correctness, verdict.speed, verdict.failure) if word)


def _warm(verdict: Verdict) -> Warm:
    return {one.workload: (one.warm_ratio, one.warm_interval) for one in verdict.workloads if one.warm_ratio}


def _record(data: Mapping[str, Any]) -> Record:
    task, baseline, judged = data["task"], data["baseline"], data["judged"]
    for part, name in ((task, "task"), (baseline, "source"), (judged, "source")):
        _unchanged(part, name)
    opened = OpenedTask(
        id="",
        task=Task(
            _file_name(task["file"]),
            _file_name(task["source_file"]),
            TaskKind(task["kind"]),
            str(task["entry"]),
            tuple(str(name) for name in task["kernels"]),
            bool(task["has_reference"]),
            bool(task["has_domain"]),
        ),
        source=str(baseline["source"]),
        task_text=str(task["task"]),
        mode=str(data["mode"]),
        workloads=tuple(parse_workload(one) for one in data["workloads"]),
        baseline=parse_observation(baseline["observation"]),
    )
    observed = parse_observation(judged["observation"])
    source, target = str(judged["source"]), str(data["target"])
    package = tuple(str(_file_name(name)) for name in task.get("package", ()))
    return Record(
        claim=_claim(data["verdict"]),
        opened=opened,
        observed=observed,
        source=source,
        target=target,
        finalists=int(data["finalists"]),
        folder=str(task.get("folder", "")),
        package=package,
        yardstick=Yardstick.from_json(data["yardstick"]),
        teeth=from_record(data["teeth"]),
    )


def _package_of(source_file: Path) -> tuple[str, ...]:
    """The packages that the file lies in, as the host finds them (loading.module_name)."""
    parts: tuple[str, ...] = ()
    folder = source_file.absolute().parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        parts, folder = (folder.name, *parts), folder.parent
    return parts


def _file_name(given: Any) -> Path:
    """A replay writes the files under these names: nothing but a name will do."""
    name = Path(str(given)).name
    if name != given or name in ("", ".", ".."):
        raise ValueError(f"{given!r} is not the name of a file")
    return Path(name)


def _claim(verdict: Mapping[str, Any]) -> Claim:
    return Claim(
        correctness=Correctness(verdict["correctness"]),
        speed=Speed(verdict["speed"]),
        failure=Failure(verdict["failure"]) if verdict["failure"] else None,
        stage=Stage(verdict["stage"]),
        reason=str(verdict["reason"]),
        ratio=None if verdict["ratio"] is None else float(verdict["ratio"]),
        interval=_interval(verdict["interval"]),
        # Records from before there was a warm series have neither.
        warm={
            str(one["workload"]): (float(one["warm_ratio"]), _interval(one["warm_interval"]))
            for one in verdict["workloads"]
            if one.get("warm_ratio")
        },
    )


def _interval(record: Mapping[str, Any] | None) -> Interval | None:
    return Interval(float(record["low"]), float(record["high"])) if record else None


def _text(name: str, text: str) -> Mapping[str, str]:
    return {name: text, f"{name}_sha256": hashlib.sha256(text.encode()).hexdigest()}


def _unchanged(part: Mapping[str, Any], name: str) -> None:
    if hashlib.sha256(str(part[name]).encode()).hexdigest() != part[f"{name}_sha256"]:
        raise BadEvidence(f"The {name} text in the evidence is not the one that was judged: its hash differs.")
