"""An observation that is hardly more than a failure, and what the seconds of one were spent on."""

from __future__ import annotations

import time
from typing import Any

from .nvml import SLOWING
from .phases import completed
from .rivals import Neighbours


def nothing() -> dict[str, Any]:
    """The observation of nothing at all."""
    return {"failure": None, "checks": [], "timing": [], "environment": {}}


def failed(kind: str, message: str) -> dict[str, Any]:
    """An observation of nothing but a failure."""
    return {**nothing(), "failure": _failure(kind, message)}


def rivals_failure(neighbours: Neighbours) -> dict[str, Any] | None:
    """The observation of a device on which somebody else computes; None where nobody does. Under the device's lock."""
    if not (found := neighbours.rivals()):
        return None
    return failed("contended", f"another process computes on this GPU (pids {found}); end it and run again")


def slowed(environment: dict[str, Any]) -> dict[str, Any] | None:
    """The failure of a measurement during which the device slowed itself down."""
    reasons = sorted(set(environment.get("throttle", ())) & SLOWING)
    if not reasons:
        return None
    return _failure("contended", f"the GPU slowed itself down while it was measured ({', '.join(reasons)})")


def with_all_seconds(result: dict[str, Any], started: float) -> dict[str, Any]:
    """The observation with what was spent since ``started`` (monotonic) and no phase accounts for."""
    environment = result["environment"]
    environment["seconds"] = completed(environment.get("seconds", {}), time.monotonic() - started)
    return result


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "file": None, "line": None, "workload": None, "seed": None}
