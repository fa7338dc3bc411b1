"""The truth of other inputs than those that were drawn, to tell what an honest kernel cannot be held to.

How far does it move when its inputs move in their last bits? As far as that the best kernel may be off.

A kernel that rounds each step gives, at its best, the right answer for inputs that differ in their last bits (Higham,
Accuracy and Stability of Numerical Algorithms, 1.5: backward error). On values that are drawn to be hard, the user's
own kernel may be nearer by luck, as where its sum cancels in just the right order; then that is what counts. And which
NaN is one of the inputs', and which comes of an infinity, and may well be none where another way is gone?
"""

from __future__ import annotations

from typing import Any

import torch

from .quantiles import flushed

LAST_BITS = 8.0
"""Eps of fp32. A running sum of n normal terms is off by 0.15 n eps (judge/correctness.py), terms that move by up to 8
eps at random move it by 4.6 √n eps; within twice that, which is the rule, it may have 3800 terms one after another.
"""


def moved_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """``inputs`` in fp32 or wider, each value moved by a random part of up to ``LAST_BITS`` eps of that."""
    return {name: _moved(value) if _is_floating(value) else value for name, value in inputs.items()}


def tame_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """``inputs`` in fp32 or wider with 1 and -1 for infinities, without denormals that GPUs may flush and without zeros
    that have a sign. NaN stays.
    """
    return {name: _tame(value) if _is_floating(value) else value for name, value in inputs.items()}


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def _wide(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.float64 if value.dtype == torch.float64 else torch.float32)


def _moved(value: torch.Tensor) -> torch.Tensor:
    wide = _wide(value)
    generator = torch.Generator(value.device).manual_seed(0)
    part = torch.rand(wide.shape, generator=generator, dtype=wide.dtype, device=value.device) * 2 - 1
    return wide * (1 + part * LAST_BITS * torch.finfo(wide.dtype).eps)


def _tame(value: torch.Tensor) -> torch.Tensor:
    wide = _wide(value)
    plain = torch.where(wide.isinf(), torch.sign(wide), wide)
    return torch.where(plain.abs() < flushed(value.dtype), 0.0, plain) + 0.0
