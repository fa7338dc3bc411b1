"""Without a GPU: the work that an estimate rests on, counted at the timed sizes.

By trusted code, out of plans and TTIR, where the user's own kernel can be counted like that; then the candidates' work
is counted so, too, or not at all. Else by the process that runs the source in Triton's interpreter, of both: figures of
the two kinds are not compared. Runs in the host's own process, which only passes data on.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from .carried import Lowered
from .opened import OpenTask, code_of
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, StepResult, step_folder

if TYPE_CHECKING:
    from .judging import Judge

PATIENCE_S = 60.0
"""Of processor time, for one step."""
_SHARE = 0.8
"""Of the patience, for the launches: before the child is killed it can say that they took too long."""
COUNTED_BY = "work counted by"


class _Uncounted(Exception):
    """Trusted code has no account of a workload."""


def count_own_work(
    judge: Judge, task: OpenTask, lowered: dict[str, Lowered], observation: dict[str, Any], cancel: Cancel
) -> None:
    """Of the user's own kernel, which decides how candidates are counted."""
    try:
        observation["work"] = [
            one for work in _accounts(judge, task, lowered, observation, None, cancel).values() for one in _had(work)
        ]
    except _Uncounted as error:
        task.accountless = str(error)
        _profiled(judge, task, task.text.source, observation, None, cancel)


def count_work(
    judge: Judge,
    task: OpenTask,
    source: str,
    lowered: dict[str, Lowered],
    observation: dict[str, Any],
    deadline: float,
    cancel: Cancel,
) -> None:
    """Of a candidate. What cannot be counted is a note: then there is no estimate for it."""
    if task.accountless:
        _profiled(judge, task, source, observation, deadline, cancel)
        return
    labels = {one["id"]: one["label"] for one in task.timed}
    for workload, work in _accounts(judge, task, lowered, observation, deadline, cancel).items():
        try:
            observation["work"].extend(_had(work))
        except _Uncounted as error:
            why = f"the work on {labels[workload]} cannot be counted by trusted code, as your own kernel's is: {error}"
            # First of all notes: it is why there is no estimate.
            observation["environment"]["notes"].insert(0, why)


# -- by trusted code ---------------------------------------------------------------------------------------------------

Account = list[dict[str, Any]] | str
"""WorkProfiles of one workload, or why there are none."""


def _had(account: Account) -> list[dict[str, Any]]:
    if isinstance(account, str):
        raise _Uncounted(account)
    return account


def _accounts(
    judge: Judge,
    task: OpenTask,
    lowered: dict[str, Lowered],
    observation: dict[str, Any],
    deadline: float | None,
    cancel: Cancel,
) -> dict[str, Account]:
    """By timed workload."""
    jobs = {}
    for one in task.timed:
        plan = lowered[one["id"]]
        if not plan.why_not:
            jobs[one["id"]] = judge.children.submit(_account, judge, task, one, plan, deadline, cancel)
    found: dict[str, Account] = {}
    for one in task.timed:
        name = one["id"]
        launches = [launch for launch in observation["launches"] if launch["workload"] == name]
        found[name] = _matched(jobs[name].result(), launches, name) if name in jobs else lowered[name].why_not
    return found


def _account(
    judge: Judge, task: OpenTask, workload: dict[str, Any], lowered: Lowered, deadline: float | None, cancel: Cancel
) -> StepResult:
    patience = _patience(deadline)
    payload = {
        "plan": lowered.plan,
        "kernels": lowered.kernels,
        "entries": workload["entries"],
        "integers": workload.get("integers"),
        "seed": task.account_seed,
        "seconds": _SHARE * min(PATIENCE_S, patience.wall_s),
    }
    with step_folder(judge.spool) as folder:
        return judge.step("account", payload, cancel, patience, folder)


def _matched(result: StepResult, launches: list[dict[str, Any]], workload: str) -> Account:
    """The account beside the launches that the compiler's facts are of: they are told apart by their order, and have
    their names from there, as TTIR may have others.
    """
    if result.value is None:
        return f"counting it did not end: {failure_of(result)['message']}"
    if "why_not" in result.value:
        return str(result.value["why_not"])
    work = result.value["work"]
    if [one["grid"] for one in work] != [one["grid"] for one in launches]:
        return "its launches were other ones when it was followed a second time"
    return [
        {**one, "kernel": launch["kernel"], "workload": workload, "trusted": True}
        for one, launch in zip(work, launches, strict=True)
    ]


def _patience(deadline: float | None) -> Patience:
    left = math.inf if deadline is None else max(1.0, deadline - time.monotonic())
    return Patience.computing(PATIENCE_S, left)


# -- by the process that runs the source -------------------------------------------------------------------------------


def _profiled(
    judge: Judge, task: OpenTask, source: str, observation: dict[str, Any], deadline: float | None, cancel: Cancel
) -> None:
    """Work of every timed workload. What cannot be profiled is a note: then there is no estimate for it."""
    observation["environment"][COUNTED_BY] = f"the process that ran the source itself, because {task.accountless}"
    patience = _patience(deadline)
    jobs = []
    for one in task.timed:
        payload = {
            **code_of(task.text, source),
            "workload": one["id"],
            "entries": one["entries"],
            "integers": one.get("integers"),
        }
        jobs.append((one, judge.children.submit(_profile, judge, payload, cancel, patience)))
    for one, job in jobs:
        result = job.result()
        if result.value is not None:
            # What the child says of its own work is never trusted, whatever it says of that.
            observation["work"].extend({**work, "trusted": False} for work in result.value["work"])
        else:
            why = failure_of(result)["message"]
            observation["environment"]["notes"].append(f"no work profile for {one['label']}: {why}")


def _profile(judge: Judge, payload: dict[str, Any], cancel: Cancel, patience: Patience) -> StepResult:
    with step_folder(judge.spool) as folder:
        return judge.step("profile", payload, cancel, patience, folder)
