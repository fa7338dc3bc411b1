"""Values that a workload's own distribution hides things from, made of the ones that were drawn.

Torch alone, and nothing of ours: a rejection's script holds this text to draw the same inputs (judge/reproduce.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SMALL, LARGE = "small values", "large values"
NEARLY_CONSTANT, OUTLIERS = "nearly constant values", "outliers"
EQUAL, CANCELLING = "equal values", "cancelling signs"
ZEROS_AND_ONES, SPECIAL = "zeros and ones", "special values"

# Factors that 16-bit types can hold: their largest values are 6e4 (float16) and 3e38 (bfloat16).
_SMALL, _LARGE, _OUTLIER = 1e-3, 1e2, 1e2
_SPREAD = 1e-2
_OUTLIER_EVERY = 997  # a prime, so that outliers fall into every column of a row-major tensor in turn
_LEFT_OVER = 2.0**-6
"""Of the values whose signs cancel: a sum of a thousand is then about a third, and its terms are ones. Types of 8 bits
of mantissa hold the difference.
"""
_STRIDES = (7919, 104729, 1299709)
"""Primes. A reduction adds neighbours, halves or mirrored places first; terms that cancel should be none of these."""
_SPECIAL_FROM = 64
"""Elements; on fewer, nothing would be left beside them."""


def changed_values(inputs: dict[str, Any], distribution: str) -> dict[str, torch.Tensor]:
    """Other values for the inputs that ``distribution`` changes, in fp32 or wider, by name.

    These are the floating-point tensors of two or more elements that no stride of zero repeats; of special values only
    the largest one, the first of several.
    """
    plain = {name: value for name, value in inputs.items() if _is_plain(value)}
    if distribution == SPECIAL:
        largest = max(plain, key=lambda name: plain[name].numel(), default=None)
        plain = {} if largest is None else {largest: plain[largest]}
    return {name: _CHANGES[distribution](_wide(value)) for name, value in plain.items()}


def _is_plain(value: Any) -> bool:
    plain = isinstance(value, torch.Tensor) and value.dtype.is_floating_point and value.numel() > 1
    return plain and 0 not in value.stride()


def _wide(value: torch.Tensor) -> torch.Tensor:
    """A copy, packed, in fp64 or else fp32: narrow types know no arithmetic."""
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    return value.to(wide, copy=True, memory_format=torch.contiguous_format)


def _outliers(values: torch.Tensor) -> torch.Tensor:
    values.view(-1)[::_OUTLIER_EVERY] *= _OUTLIER
    return values


def _equal(values: torch.Tensor) -> torch.Tensor:
    """Each row its first value, in four bits of mantissa: sums of them are then exact in any order."""
    mantissa, exponent = torch.frexp(values[..., :1])
    return torch.ldexp(torch.round(mantissa * 16) / 16, exponent).expand_as(values)


def _cancelling(values: torch.Tensor) -> torch.Tensor:
    """Along each axis half is the other half with the other sign, and a little of what was there; in scattered
    places.
    """
    for axis, length in enumerate(values.shape):
        half = length // 2
        step = torch.arange(half, device=values.device)
        ours = step * _coprime(length) % length
        theirs = (half + step * _coprime(half) % half) * _coprime(length) % length
        along = values.movedim(axis, -1)
        along[..., theirs] = along[..., theirs] * _LEFT_OVER - along[..., ours]
    return values


def _coprime(length: int) -> int:
    """Steps of this many places come everywhere before they come back."""
    return next((prime for prime in _STRIDES if length % prime), 1)


def _zeros_and_ones(values: torch.Tensor) -> torch.Tensor:
    return (values >= values.mean()).to(values.dtype)


def _special(values: torch.Tensor) -> torch.Tensor:
    """One NaN, infinity of either sign, -0 and denormal (of fp32), evenly spread: mostly in rows of their own."""
    denormal = torch.finfo(torch.float32).smallest_normal / 4
    special = (float("nan"), float("inf"), -float("inf"), -0.0, denormal)
    flat = values.view(-1)
    if flat.numel() >= _SPECIAL_FROM:
        for number, value in enumerate(special):
            flat[(2 * number + 1) * flat.numel() // (2 * len(special))] = value
    return values


_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    SMALL: lambda values: values * _SMALL,
    LARGE: lambda values: values * _LARGE,
    NEARLY_CONSTANT: lambda values: values * _SPREAD + 1,
    OUTLIERS: _outliers,
    EQUAL: _equal,
    CANCELLING: _cancelling,
    ZEROS_AND_ONES: _zeros_and_ones,
    SPECIAL: _special,
}
