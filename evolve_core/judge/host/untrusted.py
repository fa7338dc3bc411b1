"""What a child that ran foreign code says, brought into shape before anything uses it.

Such a child holds the descriptor it answers on, so a candidate can write any JSON it likes there. Wrong shape is no
answer; paths are never taken from it; numbers and strings are only ever shown or estimated with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .planreading import digest, plan_from

MAX_ITEMS = 4096
MAX_CHECKS = 1 << 15
"""Of one measurement: a confirmation of 64 workloads (tasks.MAX_LISTED) checks 24,000 timed results, those of five
processes × 75 pairs each. What they may take is limited in bytes, too (zygote.MAX_RESULT_BYTES).
"""


class Malformed(Exception):
    """The answer does not have the shape of its step."""


def checked_answer(step: str, value: Any, folder: Path) -> Any:
    """The same answer with its paths replaced by ours. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed
    try:
        return _CHECKS[step](value, folder)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Malformed from None


def _run(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    if value.get("outcome") != "compared":
        return {
            "runs": [],
            "outcome": _one_of(value["outcome"], "raised", "out-of-bounds"),
            "message": str(value["message"])[:4000],
            "line": _line(value.get("line")),
            "poison": str(value.get("poison", ""))[:16],
            "before": bool(value.get("before")),
            "out_of_bounds": [_access(one) for one in _list(value.get("out_of_bounds", []))],
        }
    runs = [_exported(one, folder) for one in _list(value["runs"])]
    if not runs:
        raise Malformed
    return {"outcome": "compared", "runs": runs, "notes": [str(note) for note in _list(value.get("notes", []))]}


def _exported(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    poison = _one_of(run["poison"], "nan", "zero")
    return {
        "poison": poison,
        # Never the path that it gave: that could be the file where another run's outputs lie.
        "file": str(folder / f"outputs-{poison}.bin"),
        "header": dict(run["header"]),
        "odd_types": [str(name) for name in _list(run["odd_types"])],
        "aliases": [str(name) for name in _list(run["aliases"])],
        "launches": int(run["launches"]),
        "operators": _operators(run["operators"]),
    }


def _operators(record: dict[str, Any]) -> dict[str, int]:
    return {str(name)[:200]: int(elements) for name, elements in _list(list(record.items()))}


def _access(one: dict[str, Any]) -> dict[str, Any]:
    shown = {key: str(one.get(key, ""))[:1000] for key in ("kernel", "tensor", "access", "message")}
    return {**shown, "line": _line(one.get("line"))}


def _compile(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    kernels = [_facts(one) for one in _list(value["kernels"])]
    launches = [_launch(one, len(kernels)) for one in _list(value["launches"])]
    return {
        "kernels": kernels,
        "launches": launches,
        "plans": {str(name): _plan(one) for name, one in dict(value.get("plans", {})).items()},
        "binary": digest(value["binary"]) if "binary" in value else "",
        "notes": [str(note) for note in _list(value["notes"])],
    }


def _lower(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {"plans": {str(name): _plan(one) for name, one in dict(value["plans"]).items()}}


def _plan(one: dict[str, Any]) -> dict[str, Any]:
    if one.get("plan") is None:
        return {"why_not": str(one["why_not"])[:300]}
    plan = plan_from(one["plan"])
    return {"plan": plan.as_json(), "operators": plan.operators}


def _facts(one: dict[str, Any]) -> dict[str, Any]:
    for key in ("registers", "spill_bytes", "shared_bytes", "num_warps", "num_stages"):
        if int(one[key]) < 0:
            raise Malformed
    return {**one, "name": str(one["name"]), "target": str(one["target"])}


def _launch(one: dict[str, Any], kernels: int) -> dict[str, Any]:
    x, y, z = (int(n) for n in one["grid"])
    if min(x, y, z) < 1 or not 0 <= int(one["facts"]) < kernels:
        raise Malformed
    return {
        "workload": str(one["workload"]),
        "kernel": str(one["kernel"]),
        "grid": [x, y, z],
        "facts": int(one["facts"]),
        "num_warps": int(one["num_warps"]),
        "num_stages": int(one["num_stages"]),
        "constexprs": {str(key): str(text) for key, text in one["constexprs"].items()},
    }


def _profile(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    work = _list(value["work"])
    for one in work:
        if not isinstance(one["per_program"], dict) or len(one["grid"]) != 3 or not isinstance(one["kernel"], str):
            raise Malformed
    return {"work": work}


def _gpu(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "failure": None if value["failure"] is None else dict(value["failure"]),
        "checks": _list(value["checks"], MAX_CHECKS),
        "timing": _list(value["timing"]),
        "environment": dict(value["environment"]),
    }


def _list(value: Any, at_most: int = MAX_ITEMS) -> list[Any]:
    if not isinstance(value, list) or len(value) > at_most:
        raise Malformed
    return value


def _line(value: Any) -> int | None:
    return None if value is None else int(value)


def _one_of(value: Any, *allowed: str) -> str:
    if value not in allowed:
        raise Malformed
    return str(value)


_CHECKS = {
    "run": _run,
    "compile": _compile,
    "compile-cuda": _compile,
    "lower": _lower,
    "profile": _profile,
    "gpu": _gpu,
}
