"""What is said of a run on a checked workload, in the protocol's words."""

from __future__ import annotations

from typing import Any

from .opened import CheckedWorkload


def failure_on(one: CheckedWorkload, failed: dict[str, Any]) -> dict[str, Any]:
    """The observation's failure: a run that did not end in outputs."""
    kind = "crash" if failed["kind"] == "raised" else failed["kind"]
    return {**failed, "workload": one.workload["id"], "seed": one.drawn.seed, "kind": kind}


def unreadable(one: CheckedWorkload, answer: dict[str, Any]) -> dict[str, Any]:
    """The observation's failure where the oracle could not read a run's outputs."""
    message = f"it wrote outputs of its own in place of the judge's: {answer['unreadable']}"
    return failure_on(one, {"kind": "crash", "message": message, "file": None, "line": None})


def compared_check(
    one: CheckedWorkload, check: dict[str, Any], run: dict[str, Any], comparison: dict[str, Any]
) -> dict[str, Any]:
    """One run whose outputs were compared. ``comparison`` is the oracle's answer about all runs on the workload."""
    agree = comparison["poisons_agree"]
    return {
        **_drawn(one),
        "poison": check["poison"],
        "outcome": "compared" if agree else "mismatch",
        "message": "" if agree else "the outputs depend on what uninitialised memory holds",
        "inputs_changed": check["inputs_changed"],
        "outputs": check["outputs"],
        "out_of_bounds": [],
        "launches": run["launches"],
        "native_launches": one.native["launches"],
        "host_operators": run["operators"],
        "native_operators": one.native["operators"],
        "reference_operators": comparison["reference_operators"],
        "input_elements": comparison["input_elements"],
        "idle_equal": comparison["idle_equal"],
        "native_idle_equal": one.idle_equal,
    }


def broken_check(one: CheckedWorkload, failed: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """One run that raised or went out of bounds; ``value`` is what its step answered."""
    return {
        **_drawn(one),
        "poison": value.get("poison", ""),
        "outcome": failed["kind"],
        "message": failed["message"],
        "inputs_changed": [],
        "outputs": [],
        "out_of_bounds": value.get("out_of_bounds", []),
    }


def is_of_another_kind(checks: list[dict[str, Any]]) -> bool:
    """Whether an output is not of the type or shape that the user's own kernel gives, so that nothing more has to be
    looked at. Tolerances are not the host's business.
    """
    rows = [row for check in checks for row in check["outputs"]]
    return any(not (row["type_ok"] and row["dtype_ok"] and row["shape_ok"]) for row in rows)


def is_settled(checks: list[dict[str, Any]]) -> bool:
    """Without a GPU: whether a check says already that something is wrong."""
    rows = [row for check in checks for row in check["outputs"]]
    broken = any(check["outcome"] != "compared" or check["inputs_changed"] for check in checks)
    return broken or any(row["aliases_input"] for row in rows) or is_of_another_kind(checks)


def _drawn(one: CheckedWorkload) -> dict[str, Any]:
    """Which inputs a check was on: enough to draw them again."""
    return {
        "workload": one.workload["id"],
        "label": one.workload["label"],
        "origin": one.workload["origin"],
        "recipe": one.workload["recipe"],
        "seed": one.drawn.seed,
        "before": one.before.seed if one.before else None,
        "distribution": one.workload["recipe"].get("distribution", ""),
    }
