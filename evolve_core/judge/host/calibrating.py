"""The request ``calibrate``: measure the device that every judgement of this host uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .gpu.lock import lock_folder
from .measuring import GPU_GRACE_S, first_device, try_layers
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, step_folder

if TYPE_CHECKING:
    from .judging import Judge


def calibrate(judge: Judge, deadline_s: float, cancel: Cancel) -> dict[str, Any]:
    """The protocol's Calibration of the first device. Raises StepError where there is none."""
    device = first_device()
    try_layers(judge, cancel)
    payload = {
        "device_uuid": device["uuid"],
        "lock_folder": str(lock_folder()),
        "hidden": judge.hidden,
        "deadline_s": deadline_s,
        **({} if judge.bench_layers is None else {"layers": judge.bench_layers}),
    }
    with step_folder(judge.spool) as folder:
        result = judge.step("gpu-calibrate", payload, cancel, Patience(deadline_s + GPU_GRACE_S), folder)
    found: dict[str, Any] = {"failure": failure_of(result), "probes": [], "timing": [], "environment": {}}
    if isinstance(result.value, dict):
        found = result.value
    found["environment"] |= {**judge.versions, "driver": device["driver"]}
    return {"device": device, **found}
