"""Without a GPU: what is written at the timed sizes, and the values at some places.

Runs in the host's own process. The user's own plan is followed once when a task is opened (audit_own); a candidate has
to write every element that it writes, and the right values where they are looked at (audit_candidate).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .carried import Lowered
from .opened import OpenTask, OwnAudit, OwnValues
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, remove_folder
from .timedvalues import asked_of_candidate, asked_of_own, compared_values, drawn_for_values, forget_unused, with_truths

if TYPE_CHECKING:
    from .judging import Judge

OWN_S = 20.0
SLOWDOWN, GRACE_S = 8.0, 5.0
"""A candidate may take this many times the processor time of the user's own kernel, plus a grace."""
_SHARE = 0.8
"""Of the patience, for the launches."""
_WRONG = ("out-of-bounds", "mismatch")


@dataclass(frozen=True)
class Audited:
    """``check``: what is wrong, as in the protocol, or None. ``why_not``: why nothing can be said; "" else.

    ``sizes``: at how many everything is written that the user's own kernel writes. ``values``: checks of the values at
    some places, in the protocol's words.
    """

    check: dict[str, Any] | None = None
    why_not: str = ""
    notes: tuple[str, ...] = ()
    sizes: int = 0
    values: list[dict[str, Any]] = field(default_factory=list)

    def told_in(self, observation: dict[str, Any]) -> None:
        environment = observation["environment"]
        environment["notes"].extend(self.notes)
        observation["unaudited"] = self.why_not
        observation["checks"].extend(self.values)
        if self.check is not None:
            observation["checks"].append(self.check)
        elif self.sizes and not self.why_not:
            environment["at the timed sizes"] = f"all is written that your kernel writes ({self.sizes} looked at)"


def audit_own(judge: Judge, task: OpenTask, lowered: dict[str, Lowered], cancel: Cancel) -> dict[str, OwnAudit]:
    """By timed workload."""
    values = drawn_for_values(judge, task, lowered, cancel)
    jobs = [
        (one, judge.children.submit(_audit_own, judge, task, one, lowered[one["id"]], values[one["id"]], cancel))
        for one in task.timed
    ]
    audits = with_truths(judge, task, {one["id"]: job.result() for one, job in jobs}, cancel)
    forget_unused(values, audits)
    return audits


def _audit_own(
    judge: Judge, task: OpenTask, one: dict[str, Any], lowered: Lowered, values: OwnValues, cancel: Cancel
) -> OwnAudit:
    if lowered.why_not:
        return OwnAudit(why_not=lowered.why_not)
    folder = judge.secret / task.name / f"audit-{secrets.token_hex(4)}"
    file = str(folder / "written.npz")
    own = {"file": file, "outputs": []}
    values = replace(values, spots=str(folder / "spots.npz"))
    payload = {**_payload(task, one, lowered, OWN_S), "own": own, "values": asked_of_own(values)}
    result = judge.step("audit", payload, cancel, Patience.computing(OWN_S), folder)
    if result.value is None:
        return OwnAudit(why_not=str(failure_of(result)["message"]))
    if result.value["outcome"] != "covered":
        return OwnAudit(why_not=result.value["message"])
    said = result.value["values"]
    why_not = values.why_not or said.get("why_not", "") or said.get("failed", {}).get("message", "")
    written = {"file": file, **{key: result.value[key] for key in ("outputs", "effects")}}
    return OwnAudit(written, replace(values, run=said.get("run", {}), why_not=why_not), result.processor_s)


def audit_candidate(
    judge: Judge, task: OpenTask, lowered: dict[str, Lowered], deadline: float, cancel: Cancel
) -> Audited:
    """All sizes at which the user's own plan could be followed; the first that shows something wrong decides."""
    notes = tuple(note for one in task.timed if (note := _note(one, task.audits[one["id"]])))
    asked = [one for one in task.timed if not task.audits[one["id"]].why_not]
    if not asked:
        return Audited(notes=notes)
    folders = {one["id"]: judge.spool / "steps" / secrets.token_hex(8) for one in asked}
    jobs = {
        one["id"]: judge.children.submit(
            _audit, judge, task, one, lowered[one["id"]], folders[one["id"]], deadline, cancel
        )
        for one in asked
    }
    try:
        found = {name: job.result() for name, job in jobs.items()}
        values = compared_values(judge, task, {name: one.run for name, one in found.items() if one.run}, cancel)
    finally:
        for folder in folders.values():
            remove_folder(folder)
    wrong = next((one.check for one in found.values() if one.check), None)
    why_not = next((one.why_not for one in found.values() if one.why_not), "")
    return Audited(wrong, why_not, notes, len(asked), values)


def _note(one: dict[str, Any], own: OwnAudit) -> str:
    if own.why_not:
        return f"what is written at {one['label']} was not looked at, because of your own kernel: {own.why_not}"
    if own.values.why_not:
        return f"no value at {one['label']} was looked at, because of your own kernel: {own.values.why_not}"
    return ""


@dataclass(frozen=True)
class _Size:
    """What was seen at one size. ``run``: the values there, in a file."""

    check: dict[str, Any] | None = None
    why_not: str = ""
    run: dict[str, Any] = field(default_factory=dict)


def _audit(
    judge: Judge,
    task: OpenTask,
    one: dict[str, Any],
    lowered: Lowered,
    folder: Path,
    deadline: float,
    cancel: Cancel,
) -> _Size:
    if lowered.why_not:
        return _Size(why_not=f"what it writes at {one['label']} is not known: {lowered.why_not}")
    own = task.audits[one["id"]]
    patience = Patience.computing(SLOWDOWN * own.processor_s + GRACE_S, max(1.0, deadline - time.monotonic()))
    payload = {**_payload(task, one, lowered, patience.processor_s or GRACE_S), "own": own.written}
    payload["values"] = asked_of_candidate(own.values)
    result = judge.step("audit", payload, cancel, patience, folder)
    if result.value is None:
        return _Size(why_not=f"what it writes at {one['label']} is not known: {failure_of(result)['message']}")
    value = result.value
    if value["outcome"] in _WRONG:
        return _Size(_check(one, value["outcome"], value["message"], value["line"], value["out_of_bounds"]))
    if value["outcome"] != "covered":
        return _Size(why_not=f"what it writes at {one['label']} is not known: {value['message']}")
    seen = _covering(one, value["outputs"])
    if (failed := value["values"].get("failed")) and not seen.check:
        return _Size(_check(one, failed["outcome"], failed["message"], failed["line"], failed["out_of_bounds"]))
    why_not = value["values"].get("why_not", "")
    if why_not and not seen.check and not seen.why_not:
        return _Size(why_not=f"what it computes at {one['label']} is not known: {why_not}")
    return replace(seen, run=value["values"].get("run", {}))


def _covering(one: dict[str, Any], outputs: list[dict[str, Any]]) -> _Size:
    for output in outputs:
        name, elements, missing, filled = (output[key] for key in ("name", "elements", "missing", "filled"))
        if missing:
            message = f"only {elements - missing} of {elements} elements of {name} are ever written"
            return _Size(_check(one, "mismatch", message, output["line"]))
        if filled:
            message = f"{filled} of {elements} elements of {name} keep what a fill puts there, where your kernel writes"
            return _Size(why_not=f"at {one['label']}, {message}")
    return _Size()


def _check(
    one: dict[str, Any], outcome: str, message: str, line: int | None, strays: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A check without values: none were drawn, so that any seed shows it."""
    return {
        "workload": one["id"],
        "label": one["label"],
        "origin": "listed",
        "recipe": one["recipe"],
        "seed": 0,
        "poison": "",
        "outcome": outcome,
        "message": f"line {line}: {message}" if line else message,
        "inputs_changed": [],
        "outputs": [],
        "out_of_bounds": strays or [],
    }


def _payload(task: OpenTask, one: dict[str, Any], lowered: Lowered, seconds: float) -> dict[str, Any]:
    return {
        "plan": lowered.plan,
        "kernels": lowered.kernels,
        "entries": one["entries"],
        "integers": one.get("integers"),
        "seconds": _SHARE * seconds,
        "file": Path(task.text.source_file).name,
    }
