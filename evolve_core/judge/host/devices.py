"""Which GPUs this machine has, asked without touching CUDA."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


def find_devices() -> list[dict[str, Any]]:
    """One entry per GPU that the host may use (protocol ``devices``); empty without a driver.

    ``CUDA_VISIBLE_DEVICES`` of the host's environment chooses among them, in its order.
    """
    from .gpu.nvml import list_devices

    return visible(list_devices(), os.environ)


def visible(devices: Sequence[dict[str, Any]], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """As the CUDA C++ Programming Guide has it (Environment Variables): indices in the order of the PCI bus (as with
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID``), or UUIDs and what they begin with; what names no device hides itself and all
    that follows. A device that is named twice hides all, as in torch.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return list(devices)
    chosen: list[dict[str, Any]] = []
    for name in (one.strip() for one in wanted.split(",")):
        found = [one for one in devices if _is_named(one, name)]
        if len(found) != 1:
            break
        if found[0] in chosen:
            return []
        chosen += found
    return chosen


def _is_named(device: dict[str, Any], name: str) -> bool:
    if name.isdecimal():
        return int(name) == device["index"]
    return bool(name.startswith("GPU-")) and str(device["uuid"]).startswith(name)
