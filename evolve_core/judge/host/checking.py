"""Correctness without a GPU, the user's own kernel: small workloads that it runs on, and what it gives there.

Runs in the host's own process. What a child that ran somebody's kernel left is compared by another child, the oracle.
"""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .carried import Lowered, Workload, interpret, lower
from .checks import compared_check
from .complaints import none_left, own_failed
from .errors import StepError
from .opened import CheckedWorkload, Draw, OpenTask, code_of, is_varied
from .outcomes import compare_failure, run_failure
from .patience import Patience
from .pool import Cancel, remove_folder

if TYPE_CHECKING:
    from .judging import Judge

POISONS = ("nan", "zero")

Ran = tuple[CheckedWorkload, list[dict[str, Any]], dict[str, Any] | None]
"""A workload, the runs on it, and the one in which launches did nothing."""


@dataclass(frozen=True)
class Drawn:
    """A small workload with its inputs, others to call the entry with before, and the user's own plan for it."""

    workload: dict[str, Any]
    drawn: Draw
    before: Draw | None
    lowered: Lowered


@dataclass(frozen=True)
class _Refused:
    """Why the user's own kernel has no outputs on a workload."""

    why: StepError
    timed_out: bool


def check_own(
    judge: Judge, task: OpenTask, workloads: list[dict[str, Any]], deadline: float, cancel: Cancel
) -> tuple[list[CheckedWorkload], list[dict[str, Any]]]:
    """Run the user's own kernel on every small workload; keep those where it agrees with the oracle.

    A workload of varied values that it does not stand is nothing to speak of: the task never promised those.
    """
    drawn, before = _draw(judge, task, workloads, cancel)
    asked = [Workload.of(one, drawn[one["id"]]) for one in workloads]
    own = lower(judge, task, task.text.source, asked, cancel, Patience.of_own(deadline))

    def run(one: dict[str, Any]) -> Future[CheckedWorkload | _Refused]:
        name = one["id"]
        scene = Drawn(one, drawn[name], before.get(name), own[name])
        return judge.children.submit(_run_own, judge, task, scene, deadline, cancel)

    # The smallest one first and alone: a kernel that never ends should cost one patience, not one per workload.
    outcomes = [run(one).result() for one in workloads[:1]]
    if outcomes and isinstance(outcomes[0], _Refused) and outcomes[0].timed_out:
        raise outcomes[0].why
    outcomes += [job.result() for job in [run(one) for one in workloads[1:]]]
    runnable = [one for one in outcomes if isinstance(one, CheckedWorkload)]
    pairs = zip(workloads, outcomes, strict=True)
    refused = [end.why for one, end in pairs if isinstance(end, _Refused) and not is_varied(one)]
    kept, checks, disagreements = _agreeing(judge, task, runnable, cancel)
    task.notes.extend([*(why.message for why in refused), *disagreements])
    if workloads and all(one.is_varied for one in kept):
        raise none_left(refused, disagreements, task.text)
    return kept, checks


def _draw(
    judge: Judge, task: OpenTask, workloads: list[dict[str, Any]], cancel: Cancel
) -> tuple[dict[str, Draw], dict[str, Draw]]:
    """Inputs of every workload by its id, and for the middle one others to call the entry with before.

    Not for the smallest one: a row of one element has the same softmax whatever it holds.
    """
    plain = [one for one in workloads if not is_varied(one)]
    middle = plain[len(plain) // 2 :][:1]
    wanted = [(one["id"], one["recipe"]) for one in workloads]
    wanted += [(f"{one['id']}-before", one["recipe"]) for one in middle]
    items = [{"id": name, "recipe": recipe, "seed": secrets.randbits(48)} for name, recipe in wanted]
    folder = task.folder / f"inputs-{secrets.token_hex(4)}"
    files = judge.trusted("draw", task.text, {"items": items}, cancel, folder)
    drawn = {item["id"]: Draw(item["seed"], files[item["id"]]) for item in items}
    return drawn, {one["id"]: drawn[f"{one['id']}-before"] for one in middle}


def _run_own(judge: Judge, task: OpenTask, scene: Drawn, deadline: float, cancel: Cancel) -> CheckedWorkload | _Refused:
    folder = judge.secret / task.name / f"native-{secrets.token_hex(4)}"
    workload, drawn = scene.workload, scene.drawn
    payload = run_payload(task, task.text.source, workload, drawn, scene.before)
    result = judge.step("run", payload, cancel, Patience.of_own(deadline), folder, own=True)
    if failure := run_failure(result):
        if failure["kind"] == "task-error":
            raise StepError("task-error", failure["message"], task.text.source_file, failure.get("line"))
        what = f"your own kernel does not run on {workload['label']} (seed {drawn.seed})"
        return _Refused(own_failed(what, failure, task.text), failure["kind"] == "timeout")
    checked = CheckedWorkload(workload, drawn, result.value["runs"][-1], result.processor_s, scene.before)
    place = judge.secret / task.name / f"idle-{secrets.token_hex(8)}"
    idle = idle_run(judge, task, task.text.source, checked, place, Patience.of_own(deadline), cancel, own=True)
    checked = _carried(judge, task, scene.lowered, replace(checked, idle=idle), deadline, cancel)
    return (
        checked if task.has_reference else replace(checked, truth=_upcast_truth(judge, task, checked, deadline, cancel))
    )


def _carried(
    judge: Judge, task: OpenTask, lowered: Lowered, checked: CheckedWorkload, deadline: float, cancel: Cancel
) -> CheckedWorkload:
    """With what the trusted interpreter gives in place of Triton's, where it has nothing to say against the kernel.

    What it finds in the user's own kernel is a note; candidates are then checked as that kernel is.
    """
    if lowered.why_not:
        return checked
    folder = judge.secret / task.name / f"carried-{secrets.token_hex(4)}"
    one, asked = checked.workload, checked.before is not None
    patience = Patience.of_own(deadline)
    found = interpret(judge, task, lowered, checked.drawn, poisons_of(one), cancel, patience, folder, idle=asked)
    if found.why_not:
        return checked
    value = found.result.value
    if value["outcome"] != "compared":
        where = f"{Path(task.text.source_file).name}:{value['line']}" if value["line"] else task.text.entry
        task.notes.append(f"{where}: your own kernel {value['message']}, on {one['label']} (seed {checked.drawn.seed})")
        return checked
    idle = value["idle"] if asked else None
    return replace(
        checked,
        native=value["runs"][-1],
        native_processor_s=found.result.processor_s,
        idle=idle,
        by_host=checked.native,
    )


def run_payload(
    task: OpenTask, source: str, workload: dict[str, Any], drawn: Draw, before: Draw | None
) -> dict[str, Any]:
    inputs = {"inputs": drawn.inputs, "before": before.inputs if before else None}
    return {**code_of(task.text, source), **inputs, "poisons": poisons_of(workload)}


def idle_run(
    judge: Judge,
    task: OpenTask,
    source: str,
    one: CheckedWorkload,
    folder: Path,
    patience: Patience,
    cancel: Cancel,
    *,
    own: bool,
) -> dict[str, Any] | None:
    """The outputs where launches do nothing; None where it is not asked, or where the host code waits for its kernels.

    Not asked but on the workload that has inputs to be called with before: one answer is enough.
    """
    if one.before is None:
        return None
    payload = {**run_payload(task, source, one.workload, one.drawn, None), "poisons": POISONS[:1], "idle": True}
    result = judge.step("run", payload, cancel, patience, folder, own=own)
    if run_failure(result):
        return None
    run: dict[str, Any] = result.value["runs"][0]
    return run


def poisons_of(workload: dict[str, Any]) -> tuple[str, ...]:
    """What fresh memory holds makes the difference that it makes on the task's own values."""
    return POISONS[:1] if is_varied(workload) else POISONS


def _upcast_truth(
    judge: Judge, task: OpenTask, checked: CheckedWorkload, deadline: float, cancel: Cancel
) -> dict[str, Any] | None:
    """Without reference(): the user's own kernel on wider inputs. None where it does not run on those."""
    folder = judge.secret / task.name / f"truth-{secrets.token_hex(4)}"
    code = code_of(task.text, task.text.source)
    payload = {**code, "inputs": checked.drawn.inputs, "poisons": ("zero",), "upcast": True}
    result = judge.step("run", payload, cancel, Patience.of_own(deadline), folder, own=True)
    if run_failure(result):
        return None
    truth: dict[str, Any] = result.value["runs"][0]
    return truth


def _agreeing(
    judge: Judge, task: OpenTask, runnable: list[CheckedWorkload], cancel: Cancel
) -> tuple[list[CheckedWorkload], list[dict[str, Any]], list[str]]:
    kept: list[CheckedWorkload] = []
    checks: list[dict[str, Any]] = []
    disagreements: list[str] = []
    doubted: list[CheckedWorkload] = []
    compared = compare(judge, task, [(one, [one.native], one.idle) for one in runnable], cancel)
    for one, comparison in zip(runnable, compared, strict=True):
        if not comparison["sound"]:
            continue
        outputs = comparison["checks"][0]["outputs"]
        if not one.is_varied and (why := compare_failure(outputs)):
            if one.by_host is not None:
                doubted.append(replace(one, native=one.by_host, by_host=None))
                continue
            disagreements.append(f"on {one.workload['label']} (seed {one.drawn.seed}): {why}")
            continue
        one = replace(one, idle_equal=comparison["idle_equal"])
        kept.append(one)
        checks.append(compared_check(one, comparison["checks"][0], one.native, comparison))
    if doubted:
        # One of the two interpreters is wrong, which is not the kernel's fault.
        more, seen, against = _agreeing(judge, task, doubted, cancel)
        kept, checks, disagreements = [*kept, *more], [*checks, *seen], [*disagreements, *against]
    return kept, checks, disagreements


def compare(judge: Judge, task: OpenTask, ran: list[Ran], cancel: Cancel) -> list[dict[str, Any]]:
    if not ran:
        return []
    items = [
        {
            "id": one.workload["id"],
            "inputs": one.drawn.inputs,
            "native": one.native,
            "truth": one.truth,
            "coarse": list(one.coarse),
            "runs": runs,
            "distribution": one.distribution,
            "idle": idle,
        }
        for one, runs, idle in ran
    ]
    folder = judge.spool / "steps" / secrets.token_hex(8)
    try:
        compared: list[dict[str, Any]] = judge.trusted("compare", task.text, {"items": items}, cancel, folder)
    finally:
        remove_folder(folder)
    return compared
