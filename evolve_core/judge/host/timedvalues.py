"""Without a GPU: values at the timed sizes, at a few elements of each output, held against the truth like any others.

Runs in the host's own process, which only passes data on. Inputs, places and truth are made when a task is opened, and
no candidate's code sees them; spots.py computes what is there, in the audit of a plan.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .carried import Lowered
from .checking import compare
from .checks import compared_check
from .errors import StepError
from .opened import CheckedWorkload, Draw, OpenTask, OwnAudit, OwnValues
from .outcomes import compare_failure
from .patience import Patience
from .plan import ITEM_BYTES
from .pool import Cancel, remove_folder

if TYPE_CHECKING:
    from .judging import Judge

MOST_BYTES = 512 << 20
"""Of the inputs of one workload: more takes too long to draw and to read."""
TRUTH_S = 30.0
"""Of processor time, for reference() at one size."""
_ROUNDINGS = 4
"""Times that reference() runs where a policy allows most (precision.py)."""
SAMPLED = "sampled"
"""The origin of such a check, in the protocol's words."""


def drawn_for_values(
    judge: Judge, task: OpenTask, lowered: Mapping[str, Lowered], cancel: Cancel
) -> dict[str, OwnValues]:
    """Inputs of every timed workload by its id, with the integers that its addresses are followed with."""
    found = {one["id"]: OwnValues(why_not=_why_not(task, one, lowered[one["id"]])) for one in task.timed}
    items = [
        {"id": one["id"], "recipe": one["recipe"], "seed": one["seed"]}
        for one in task.timed
        if not found[one["id"]].why_not
    ]
    folder = judge.secret / task.name / f"timed-{secrets.token_hex(4)}"
    try:
        files = judge.trusted("draw", task.text, {"items": items}, cancel, folder)
    except StepError as error:
        remove_folder(folder)
        cancel.check()
        return {name: OwnValues(why_not=one.why_not or error.message) for name, one in found.items()}
    drawn = {item["id"]: Draw(item["seed"], files[item["id"]]) for item in items}
    return {name: one if one.why_not else OwnValues(drawn[name]) for name, one in found.items()}


def _why_not(task: OpenTask, workload: dict[str, Any], lowered: Lowered) -> str:
    if lowered.why_not:
        return lowered.why_not
    if not task.has_reference:
        # The user's own kernel has no error against itself: a more exact one would be wrong.
        return "the task has no reference()"
    tensors = [entry for _, entry in workload["entries"] if entry["kind"] == "tensor"]
    bytes_ = sum(math.prod(one["shape"]) * ITEM_BYTES.get(one["dtype"], 8) for one in tensors)
    return f"its inputs have {bytes_ >> 20} MiB" if bytes_ > MOST_BYTES else ""


def asked_of_own(values: OwnValues) -> dict[str, Any] | None:
    """What the audit step is asked of the user's own plan, which chooses where to look; None: nothing."""
    asked = asked_of_candidate(values)
    return None if asked is None else {**asked, "seed": secrets.randbits(64)}


def asked_of_candidate(values: OwnValues) -> dict[str, Any] | None:
    """The same of a candidate's."""
    if values.why_not or values.drawn is None:
        return None
    return {"inputs": values.drawn.inputs, "spots": values.spots, "seed": None}


def with_truths(judge: Judge, task: OpenTask, audits: Mapping[str, OwnAudit], cancel: Cancel) -> dict[str, OwnAudit]:
    """The audits of the user's own kernel, with what its values are held against; where these do not agree, no
    candidate's are looked at.
    """
    jobs = {
        one["id"]: judge.children.submit(_with_truth, judge, task, one, audits[one["id"]], cancel) for one in task.timed
    }
    return {name: replace(audits[name], values=job.result()) for name, job in jobs.items()}


def forget_unused(drawn: Mapping[str, OwnValues], audits: Mapping[str, OwnAudit]) -> None:
    """Delete the inputs that no candidate's values are going to be computed from: hundreds of megabytes."""
    for name, own in audits.items():
        values = drawn[name].drawn
        if values is not None and (own.why_not or own.values.why_not):
            Path(values.inputs["file"]).unlink(missing_ok=True)


def _with_truth(judge: Judge, task: OpenTask, one: dict[str, Any], own: OwnAudit, cancel: Cancel) -> OwnValues:
    values = own.values
    if own.why_not or values.why_not or values.drawn is None:
        return values
    folder = judge.secret / task.name / f"truth-{secrets.token_hex(4)}"
    payload = {
        "inputs": values.drawn.inputs,
        "spots": values.spots,
        "outputs": own.written["outputs"],
        "in_place": own.written["effects"]["outputs"] is None,
    }
    try:
        right = judge.trusted("truth-at", task.text, payload, cancel, folder, Patience.computing(_truth_s(task)))
        workload = {**one, "origin": SAMPLED}
        nothing = Draw(values.drawn.seed, _no_inputs(judge, task))
        checked = CheckedWorkload(workload, nothing, values.run, own.processor_s, **right)
        (compared,) = compare(judge, task, [(checked, [values.run], None)], cancel)
    except StepError as error:
        cancel.check()
        return replace(values, why_not=error.message)
    why_not = str(compared.get("unreadable") or compare_failure(compared["checks"][0]["outputs"]) or "")
    return replace(values, checked=checked, why_not=why_not)


def _truth_s(task: OpenTask) -> float:
    """Of reference() on the inputs as they are, and on those that a policy lets a kernel round."""
    return TRUTH_S if task.precision == "strict" else _ROUNDINGS * TRUTH_S


def _no_inputs(judge: Judge, task: OpenTask) -> dict[str, Any]:
    """The compare step reads inputs: here are none."""
    file = judge.secret / task.name / "nothing.bin"
    file.write_bytes(b"")
    header = {"entries": [], "storages": [], "sha256": hashlib.sha256(b"").hexdigest()}
    return {"file": str(file), "header": header}


def compared_values(
    judge: Judge, task: OpenTask, runs: Mapping[str, dict[str, Any]], cancel: Cancel
) -> list[dict[str, Any]]:
    """Checks of a candidate's ``runs`` by workload, in the protocol's words."""
    ran = [
        (checked, [run], None)
        for name, run in runs.items()
        if (checked := task.audits[name].values.checked) is not None
    ]
    compared = compare(judge, task, [*ran], cancel)
    return [
        compared_check(one, answer["checks"][0], run, answer)
        for (one, (run,), _), answer in zip(ran, compared, strict=True)
        if "unreadable" not in answer
    ]
