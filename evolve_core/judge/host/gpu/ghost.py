"""The user's own kernel where launches do nothing: the measure for a candidate of which the same is asked."""

from __future__ import annotations

from ..compare import does_nothing
from ..copies import clone_inputs
from .cases import Case
from .job import Named, Runner
from .launches import LaunchCount, idle
from .poison import POISONS, poisoned
from .slots import wait_for_device


def own_idle_equal(native: Runner, case: Case) -> bool | None:
    """Whether ``native`` gives the same without its kernels; None where it launches none that can be held back, or
    where that tells nothing.

    Its results were ``case.native``. Fresh memory holds no result of an earlier call.
    """
    count = LaunchCount()
    count.install()
    before = count.seen()
    with poisoned(POISONS[0]):
        native(clone_inputs(case.inputs))
    if not count.since(before):
        return None
    try:
        with poisoned(POISONS[0]), idle():
            outputs = native(clone_inputs(case.inputs))
        wait_for_device()
    except Exception:  # noqa: BLE001 - the user's host code may raise anything over what no kernel wrote
        return None
    return idle_equal(case.effects.results(outputs), case.native, case)


def idle_equal(outputs: Named, with_launches: Named, case: Case) -> bool | None:
    """Whether a call without launches gave what the same call with them did (compare.does_nothing)."""
    return does_nothing(outputs, with_launches, case.inputs.values())
