"""Reads the data files beside this module."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

from evolve_core.targets.model import DeviceLimits, PerClock, SmLimits, Target

_FOLDER = Path(__file__).parent


class UnknownTarget(ValueError):
    """No data file has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown target '{name}': use one of {', '.join(names())}")
        self.name = name


def names() -> tuple[str, ...]:
    """Every known target: architectures first (sm_80 … gfx1100), then single devices."""
    stems = (path.stem for path in _FOLDER.glob("*.toml"))
    return tuple(sorted(stems, key=lambda stem: (_is_device(stem), not stem.startswith("sm_"), len(stem), stem)))


def _is_device(stem: str) -> bool:
    return not stem.startswith(("sm_", "gfx"))


@functools.cache
def load(name: str) -> Target:
    """The target of that name. Raises UnknownTarget, whose message lists what there is."""
    if name not in names():
        raise UnknownTarget(name)
    return _target(name, tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def _target(name: str, data: dict[str, Any]) -> Target:
    peaks = dict(data["peak_tflops"])
    tensor = peaks.pop("tensor")
    return Target(
        name=name,
        architecture=data["architecture"],
        device=data["device"],
        vendor=data["vendor"],
        sources=tuple(data["sources"]),
        assumed=tuple(data["assumed"]),
        limits=DeviceLimits(**data["device_limits"]),
        sm=SmLimits(**data["sm_limits"]),
        per_clock=PerClock(**data["per_clock"]),
        peak_tflops={dtype: float(value) for dtype, value in peaks.items()},
        tensor_tflops={dtype: float(value) for dtype, value in tensor.items()},
    )
