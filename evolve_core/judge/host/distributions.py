"""Values that a workload's own distribution hides things from: a dropped epsilon, a sum that overflows, a lost outlier.

Only floating-point tensors change, and nothing of their shape, strides or sign structure beyond what a name says. A
kernel need not stand every distribution: one on which the user's own kernel fails is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .compare import Outputs, compare_outputs
from .copies import clone

AS_DRAWN = "as drawn"
# Factors that 16-bit types can hold: their largest values are 6e4 (float16) and 3e38 (bfloat16).
_SMALL, _LARGE, _OUTLIER = 1e-3, 1e2, 1e2
_SPREAD = 1e-2
_OUTLIER_EVERY = 997  # a prime, so that outliers fall into every column of a row-major tensor in turn
_SOUND_SHARE = 0.05
_HEADROOM = 2.0
"""The two halves of a sum, taken in another order, may each exceed it; twice it is what they are given."""


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


def is_sound(native: Outputs, truth: Outputs) -> bool:
    """Whether the values may be used: the truth stays within the outputs' types, and the user's own kernel stands them.

    It is compared with the rounded truth instead of itself: its own NaN must not excuse it. Outputs that are no tensors
    have no say.
    """
    pairs = [(one, right) for one, right in zip(native, truth, strict=True) if isinstance(one[1], torch.Tensor)]
    native, truth = [one for one, _ in pairs], [right for _, right in pairs]
    ideal = [(name, value.to(own.dtype)) for (name, own), (_, value) in pairs]
    if not all(_fits(value, rounded) for (_, value), (_, rounded) in zip(truth, ideal, strict=True)):
        return False
    return all(row["nonfinite_ok"] and _close(row) for row in compare_outputs(native, truth, ideal, False))


def _fits(truth: torch.Tensor, rounded: torch.Tensor) -> bool:
    """Whether what is finite in the truth stays finite in the output's type, with room for partial results.

    Next to the type's largest value the last bit of an fp32 sum decides between that value and infinity, and beyond it
    the order of operations between infinity and NaN: that the user's kernel agrees with the truth there is luck. An
    infinity or NaN of the truth itself must be met as ever.
    """
    if not rounded.dtype.is_floating_point:
        return True
    finite = torch.isfinite(truth)
    if not bool(torch.isfinite(rounded[finite].double()).all()):
        return False
    # Nobody adds in 8 bits, and what is quantised to them fills their range on purpose.
    small = rounded.dtype.itemsize == 1 or not bool(finite.any())
    return small or float(truth[finite].abs().max()) * _HEADROOM <= torch.finfo(rounded.dtype).max


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
