"""Whether a GPU still answers after something went wrong on it. It is never reset: that would hurt others who use it.

Runs in the host's own process; the device is asked by a child, because one that does not answer may hang whoever asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import StepError, log
from .outcomes import failure_of
from .patience import Patience
from .pool import Cancel, step_folder

if TYPE_CHECKING:
    from .judging import Judge

PROBE_S = 30.0
LOST = "device-lost"
_MAY_HURT = ("crash", "timeout", "out-of-memory", "host-failure")
"""Failures after which somebody was killed, or the device complained."""


def refuse_lost_device(
    judge: Judge, device: dict[str, Any], lock_folder: str, failure: dict[str, Any] | None, cancel: Cancel
) -> None:
    """Raises StepError ``device-lost`` where ``failure`` may have hurt the device, and it does not answer any more."""
    if failure is None or failure["kind"] not in _MAY_HURT:
        return
    payload = {"device_uuid": device["uuid"], "lock_folder": lock_folder, "deadline_s": PROBE_S}
    with step_folder(judge.spool) as folder:
        result = judge.step("gpu-probe", payload, cancel, Patience(2 * PROBE_S), folder)
    if isinstance(result.value, dict) and result.value["answers"]:
        return
    log(f"step gpu-probe: {failure_of(result)['message'] if result.value is None else result.value}\n{result.log}")
    raise StepError(
        LOST,
        f"{device['name']} does not answer any more after a candidate was stopped on it ({failure['message']}). "
        "See in nvidia-smi what holds it; if nothing does, restart the machine or the driver. Then go on.",
    )
