"""Have the oracle try a task's tolerance: on mutants and honest evaluations, and on perturbed inputs.

Runs in the host's own process, and only starts and reads children. They get inputs that the task never drew, so that a
child may well crash: then what it would have told is missing, and says why; the task opens all the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import StepError
from .opened import CheckedWorkload, Draw, OpenTask, code_of, distribution_of, is_varied, task_of
from .outcomes import failure_of, run_failure
from .patience import Patience
from .pool import Cancel, StepResult, remove_folder

if TYPE_CHECKING:
    from .judging import Judge

PATIENCE = Patience.computing(60.0)
ENOUGH = 1024
"""Input elements of the workload on which the user's own kernel runs from the other end: enough for statistics."""
MOST_PROBED = 3
"""Workloads on which an input gets a chance to matter, the largest first."""


@dataclass(frozen=True)
class Trial:
    """The children under way, and what they were given."""

    items: list[dict[str, Any]]
    figures: Future[tuple[list[dict[str, Any]], str]]
    probe: Future[StepResult]
    stand_in: bool

    def outcome(self) -> dict[str, Any]:
        """The protocol's ``teeth`` (docs/judge-host-protocol.md). Waits for the children."""
        (figures, why_not), probe = self.figures.result(), self.probe.result()
        remove_folder(probe.folder)
        if probe.value is None:
            why_not = why_not or failure_of(probe)["message"]
        return {
            "workloads": [{key: one[key] for key in ("id", "label", "seed", "recipe")} for one in self.items],
            "stand_in": self.stand_in,
            "figures": figures,
            **(probe.value or {"inputs": [], "hidden": []}),
            "why_not": why_not,
        }


def nothing_seen(why: str) -> dict[str, Any]:
    """The protocol's ``teeth`` where nothing could be tried."""
    return {"workloads": [], "stand_in": True, "figures": [], "inputs": [], "hidden": [], "why_not": why}


def try_own(judge: Judge, task: OpenTask, cancel: Cancel) -> Trial:
    """On the workloads that the user's own kernel was checked on, with what it gave there."""
    return _start(judge, task, [_item(one.workload, one.drawn, one) for one in task.checked], cancel, stand_in=False)


def try_stand_in(judge: Judge, task: OpenTask, workloads: Sequence[dict[str, Any]], cancel: Cancel) -> Trial:
    """On small workloads that nothing here can run the user's own kernel on: reference() in fp32 stands in for it.

    Raises StepError where there are none, or they cannot be drawn.
    """
    if not workloads:
        raise StepError("task-error", "no workload is small enough for a CPU; add domain(rng) with small sizes")
    items = [{"id": one["id"], "recipe": one["recipe"], "seed": secrets.randbits(48)} for one in workloads]
    folder = task.folder / f"inputs-{secrets.token_hex(4)}"
    files = judge.trusted("draw", task.text, {"items": items}, cancel, folder)
    drawn = [Draw(item["seed"], files[item["id"]]) for item in items]
    given = [_item(one, draw, None) for one, draw in zip(workloads, drawn, strict=True)]
    return _start(judge, task, given, cancel, stand_in=True)


def _item(workload: dict[str, Any], drawn: Draw, own: CheckedWorkload | None) -> dict[str, Any]:
    return {
        "id": workload["id"],
        "label": workload["label"],
        "recipe": workload["recipe"],
        "distribution": distribution_of(workload),
        "elements": workload["elements"],
        "seed": drawn.seed,
        "inputs": drawn.inputs,
        "native": own.native if own else None,
        "truth": own.truth if own else None,
    }


def _start(judge: Judge, task: OpenTask, items: list[dict[str, Any]], cancel: Cancel, *, stand_in: bool) -> Trial:
    plain = sorted((one for one in items if not is_varied(one)), key=lambda one: -int(one["elements"]))
    probe = judge.children.submit(_step, judge, "probe", {**task_of(task.text), "items": plain[:MOST_PROBED]}, cancel)
    turned = None if stand_in else next((one for one in reversed(plain) if one["elements"] >= ENOUGH), None)
    return Trial(items, judge.children.submit(_figures, judge, task, items, turned, cancel), probe, stand_in)


def _step(judge: Judge, step: str, payload: dict[str, Any], cancel: Cancel) -> StepResult:
    return judge.step(step, payload, cancel, PATIENCE, judge.spool / "steps" / secrets.token_hex(8))


def _figures(
    judge: Judge, task: OpenTask, items: list[dict[str, Any]], turned: dict[str, Any] | None, cancel: Cancel
) -> tuple[list[dict[str, Any]], str]:
    """Figures of ``items``, with those of the user's own kernel on ``turned`` from the other end; or why not."""
    payload = {**task_of(task.text), "items": items, "reverse": turned["id"] if turned else None}
    result = _step(judge, "teeth", payload, cancel)
    try:
        if result.value is None:
            return [], failure_of(result)["message"]
        figures: list[dict[str, Any]] = result.value["figures"]
        if turned and result.value["reversed"]:
            figures += _reordered(judge, task, turned, result.value["reversed"], cancel)
        return figures, ""
    finally:
        remove_folder(result.folder)


def _reordered(
    judge: Judge, task: OpenTask, item: dict[str, Any], backwards: dict[str, Any], cancel: Cancel
) -> list[dict[str, Any]]:
    """The figure of the user's own kernel on reversed inputs; none where it does not take them."""
    folder = judge.secret / task.name / f"reversed-{secrets.token_hex(4)}"
    given = {"inputs": backwards["inputs"], "before": None, "poisons": ("nan",)}
    payload = {**code_of(task.text, task.text.source), **given}
    ran = judge.step("run", payload, cancel, PATIENCE, folder, own=True)
    try:
        if run_failure(ran):
            return []
        asked = {**task_of(task.text), "items": [item], "reversed": backwards, "run": ran.value["runs"][0]}
        compared = _step(judge, "reordered", asked, cancel)
        remove_folder(compared.folder)
        return [compared.value] if compared.value else []
    finally:
        remove_folder(folder)
