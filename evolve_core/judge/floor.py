"""A floor under the time of any right kernel, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_SHARE = 0.9
"""A time counts as impossible below this share of the floor. A measured peak is what one library's kernels reached, and
boost clocks move by a few percent (own judgement; no honest kernel was seen below)."""


@dataclass(frozen=True, slots=True)
class Floor:
    """No right kernel takes less than ``us`` microseconds; ``why`` completes "below"."""

    us: float
    why: str


@dataclass(frozen=True, slots=True)
class LeastWork:
    """What every right kernel has to do on one workload: see judge/host/gpu/least.py. ``flops`` by type."""

    dram_bytes: int = 0
    flops: Mapping[str, float] = field(default_factory=dict)
