"""Values that a workload's own distribution hides things from: a dropped epsilon, a sum that overflows, a lost outlier.

Only floating-point tensors change, and nothing of their shape, strides or sign structure beyond what a name says. A
kernel need not stand every distribution: one on which the user's own kernel fails is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .copies import clone

AS_DRAWN = "as drawn"
# Factors that 16-bit types can hold: their largest values are 6e4 (float16) and 3e38 (bfloat16).
_SMALL, _LARGE, _OUTLIER = 1e-3, 1e2, 1e2
_SPREAD = 1e-2
_OUTLIER_EVERY = 997  # a prime, so that outliers fall into every column of a row-major tensor in turn
_SOUND_SHARE = 0.05


def _outliers(values: torch.Tensor) -> torch.Tensor:
    flat = values.reshape(-1)
    flat[::_OUTLIER_EVERY] *= _OUTLIER
    return flat.reshape(values.shape)


_VARIATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "small values": lambda values: values * _SMALL,
    "large values": lambda values: values * _LARGE,
    "nearly constant values": lambda values: values * _SPREAD + 1,
    "outliers": _outliers,
}
VARIED = tuple(_VARIATIONS)


def vary(inputs: dict[str, Any], distribution: str) -> dict[str, Any]:
    """``inputs`` with the values of floating-point tensors of two or more elements changed as ``distribution`` says."""
    if distribution == AS_DRAWN:
        return inputs
    change = _VARIATIONS[distribution]
    return {name: _varied(value, change) for name, value in inputs.items()}


def is_sound(rows: list[dict[str, Any]]) -> bool:
    """Whether the user's own kernel stands the distribution, from its comparison with the truth (``compare``'s
    rows).
    """
    return all(row["nonfinite_ok"] and _close(row) for row in rows)


def _close(row: dict[str, Any]) -> bool:
    if row["rms_error"] is None or row["rms_truth"] is None:
        return bool(row["exact"])
    return bool(row["n"]) and row["rms_truth"] > 0.0 and row["rms_error"] <= _SOUND_SHARE * row["rms_truth"]


def _varied(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    plain = isinstance(value, torch.Tensor) and value.dtype.is_floating_point and value.numel() > 1
    if not plain or 0 in value.stride():
        return value
    copy = clone(value)
    copy.copy_(change(value.clone()))
    return copy
