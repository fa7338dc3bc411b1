"""Which GPUs this machine has, asked without touching CUDA."""

from __future__ import annotations

from typing import Any


def find_devices() -> list[dict[str, Any]]:
    """One entry per GPU (protocol ``devices``); empty without a driver."""
    from .gpu.nvml import list_devices

    devices: list[dict[str, Any]] = list_devices()
    return devices
