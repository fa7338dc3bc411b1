"""Who launches a candidate's kernels on a GPU: trusted code by a plan, or its own Python, and then for which reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

KERNEL_ONLY, HOST_CODE = "kernel-only", "host-code"


@dataclass(frozen=True)
class Plans:
    """Launch plans by workload, as JSON (plan.py). ``why_not`` is "" where there is one for every workload.

    ``binary``: of a CUDA file, the SHA-256 of what it was compiled to, from which it is launched without plans, too.
    """

    by_workload: dict[str, Any] = field(default_factory=dict)
    why_not: str = "it was not followed"
    binary: str = ""


def complete(
    traced: dict[str, Any],
    wanted: Iterable[str],
    binaries: set[str],
    binary: str = "",
    unfollowed: str = "it could not be followed without a GPU",
) -> Plans:
    """Plans out of what the compile step said of each workload. ``binaries`` are the kernels that are at hand;
    ``unfollowed``: why it said nothing, where it did not.
    """
    found: dict[str, Any] = {}
    for workload in wanted:
        said = traced.get(workload, {})
        plan = said.get("plan")
        if plan is None:
            return Plans(why_not=str(said.get("why_not") or unfollowed), binary=binary)
        if plan["untimed"]:
            return Plans(why_not=f"its configuration is found by timing: {plan['untimed'][0]}", binary=binary)
        if binaries_of({workload: said}) - binaries:
            return Plans(why_not="a compiled kernel is missing", binary=binary)
        found[workload] = plan
    return Plans(found, "", binary)


def planless(traced: dict[str, Any]) -> str:
    """Why some workload has no launch plan; "" where every one that was followed has one."""
    return next((str(said["why_not"]) for said in traced.values() if "why_not" in said), "")


def binaries_in(observation: dict[str, Any]) -> set[str]:
    """What judging the observed source takes: the kernels that its plans launch, and all that a CUDA file holds."""
    return binaries_of(observation["plans"]) | ({observation["binary"]} - {""})


def binaries_of(traced: dict[str, Any]) -> set[str]:
    """The kernels that the plans of one trace launch."""
    plans = [said["plan"] for said in traced.values() if said.get("plan")]
    steps = [step for plan in plans for step in (*plan["prelude"], *plan["steps"])]
    return {step["binary"] for step in steps if step["do"] == "launch"}


def joint(own: Plans, candidate: Plans) -> tuple[dict[str, Any] | None, str]:
    """Both kernels' plans where both have them, else None and the reason: they must be launched in the same way."""
    if own.why_not:
        return None, f"of your own kernel: {own.why_not}"
    if candidate.why_not:
        return None, candidate.why_not
    return {"baseline": own.by_workload, "candidate": candidate.by_workload}, ""
