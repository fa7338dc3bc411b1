"""Errors among values of one magnitude, where a loss shows that larger values would hide."""

from __future__ import annotations

import math

import torch

MAX_QUANTILES = 64
QUANTILE_ELEMENTS = 1024
OWN_PRECISION_EPS = 2.0**-12
"""As in correctness.py, which the host may not import."""
_QUANTILE_SHARE = 1 / 16
"""Half of correctness.RMS_EPS_SHARE: a ratio of 2 is then the rule's limit."""
_OWN_PRECISION_QUANTILE_SHARE = 16.0
"""Small values are where exponentials of rounded arguments end. exp(x) as exp2(x·log2(e)) is off by |x| 2⁻²⁴, which is
44 eps before fp32 underflows at |x| = 88, an RMS of 25 eps over uniform roundings. A ratio of 2 is 32 eps.
"""
NONE = math.nan
"""A figure that means nothing."""


def flushed(dtype: torch.dtype) -> float:
    """The error that flushing denormals to zero may make, 0 where GPUs keep them.

    PTX has ``.ftz`` forms for fp32 alone, and which one a compiler takes differs between two spellings of one function:
    Triton's ``exp`` keeps denormals and its ``exp2`` flushes them (``ex2.approx.ftz.f32``; seen on an H200).
    bf16 has fp32's exponents and is computed in fp32. fp16 denormals are always kept.
    """
    return float(torch.finfo(torch.float32).smallest_normal) if dtype in (torch.float32, torch.bfloat16) else 0.0


def rms(values: torch.Tensor) -> torch.Tensor:
    return (values * values).mean().sqrt()


def quantile_ratio(
    error: torch.Tensor, own: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype, order: torch.Tensor | None
) -> torch.Tensor:
    """The worst RMS(error) / (RMS(own) + eps·RMS(truth)/16) inside magnitude quantiles of at least 1024 elements; 16
    eps for 32-bit and wider types.

    The second term keeps the ratio finite where the user's own kernel is exact; a ratio of 2 is then the rule's
    limit, 2·native + eps·RMS(truth)/8, or 32 eps·RMS(truth). Flushed denormals count as right. None where there
    are too few elements for two quantiles.
    """
    epsilon = torch.finfo(dtype).eps
    share = _OWN_PRECISION_QUANTILE_SHARE if epsilon < OWN_PRECISION_EPS else _QUANTILE_SHARE
    groups = min(MAX_QUANTILES, truth.numel() // QUANTILE_ELEMENTS)
    if groups < 2:
        return torch.full((), NONE, dtype=torch.float64, device=truth.device)
    order = torch.argsort(truth.abs()) if order is None else order
    spread = _rms_by_group(error[order], groups)
    floor = _rms_by_group(own[order], groups) + epsilon * share * _rms_by_group(truth[order], groups) + flushed(dtype)
    # Without a floor, no error is none and any error is infinitely worse. Infinity over infinity tells nothing.
    return torch.where(spread > 0, spread / floor, 0.0).nan_to_num(nan=0.0, posinf=math.inf).max()


def _rms_by_group(values: torch.Tensor, groups: int) -> torch.Tensor:
    """RMS of each of as many runs of ``values`` as ``groups``, the first ones longer by one (torch.tensor_split)."""
    short, longer = divmod(values.numel(), groups)
    squares = values * values
    split = longer * (short + 1)
    parts = (squares[:split].view(longer, short + 1), squares[split:].view(groups - longer, short))
    return torch.cat([part.mean(dim=1) for part in parts]).sqrt()
