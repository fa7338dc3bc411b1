"""What a device need not show: before a claim, a planned candidate's kernels are interpreted from their TTIR, too.

A race that this GPU decides in the same way each time, fresh memory that happens to hold what it should, a false
``tl.assume`` of which this compiler makes nothing: right here, and wrong under the next driver.

Runs in the host's own process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .carried import Workload, interpret, lower
from .checking import check_own, poisons_of
from .checks import broken_check
from .errors import StepError
from .opened import CheckedWorkload, OpenTask
from .outcomes import run_failure
from .patience import Patience
from .pool import Cancel, step_folder

if TYPE_CHECKING:
    from .judging import Judge

SLOWDOWN, GRACE_S = 4.0, 2.0
"""Times the processor time that the user's own kernel took, and so much more: a claim is made within 15 s, and one that
takes longer here is measured all the same."""


def interpretable(
    judge: Judge, task: OpenTask, small: Callable[[], list[dict[str, Any]]], deadline: float, cancel: Cancel
) -> list[CheckedWorkload]:
    """Those of the ``small`` workloads on which the user's own kernel can be interpreted, and nothing is found in it.

    To have none is no fault of a task that is judged on a device: why is not told.
    """
    notes = [*task.notes]
    try:
        checked, _ = check_own(judge, task, small(), deadline, cancel)
    except StepError:
        cancel.check()
        return []
    finally:
        task.notes[:] = notes
    return [one for one in checked if one.is_carried]


def interpreted_findings(
    judge: Judge, task: OpenTask, source: str, deadline: float, cancel: Cancel
) -> list[dict[str, Any]]:
    """The first check on which the interpreter finds something against the kernels; none where nothing is found, or
    where they cannot be interpreted in time.
    """
    asked = [Workload.of(one.workload, one.drawn) for one in task.checked]
    if not asked:
        return []
    left = Patience(max(1.0, deadline - time.monotonic()))
    lowered = judge.children.submit(lower, judge, task, source, asked, cancel, left).result()

    def look(one: CheckedWorkload) -> dict[str, Any] | None:
        plan = lowered[one.workload["id"]]
        if plan.why_not:
            return None
        patience = Patience.computing(
            SLOWDOWN * one.native_processor_s + GRACE_S, max(0.1, deadline - time.monotonic())
        )
        with step_folder(judge.spool) as folder:
            found = interpret(
                judge, task, plan, one.drawn, poisons_of(one.workload), cancel, patience, folder, idle=False
            )
        failed = None if found.why_not else run_failure(found.result)
        return None if failed is None else broken_check(one, failed, found.result.value)

    jobs = [judge.children.submit(look, one) for one in task.checked]
    return [check for check in (job.result() for job in jobs) if check is not None][:1]
