"""What a call runs on the device, by name, whoever launches it: of an extension's kernels Triton knows nothing.

The names come from a process that runs foreign code. They can lift a doubt, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MOST_NAMES, MOST_LETTERS = 64, 200


def device_kernels(call: Callable[[], Any]) -> list[str]:
    """Names of kernels, copies and fills in one ``call``, as CUPTI tells them; empty where torch has none of it."""
    activities = torch.profiler.supported_activities() & {torch.profiler.ProfilerActivity.CUDA}
    if not activities:
        call()
        return []
    with torch.profiler.profile(activities=activities) as record:
        call()
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    return names_in({event.name for event in record.events() or () if event.device_type == on_device})


def names_in(said: Any) -> list[str]:
    """``said`` as far as it is a collection of names."""
    names = {name[:MOST_LETTERS] for name in said if isinstance(name, str)} if isinstance(said, (list, set)) else set()
    return sorted(names)[:MOST_NAMES]
