"""Errors among values of one magnitude, or in one row, where a loss shows that larger values would hide."""

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
ROW_ELEMENTS = 64
"""Columns; the RMS of fewer errors scatters by more than an eighth."""
_SMALL_ROW = 1 / 30
"""Of the largest row's RMS: errors in rows that are not so small show in the whole."""
_ROW_SHARE = 1 / 4
"""Equal elements are rounded alike, all in the direction that the last bit of a sum decides."""
_OWN_PRECISION_ROW_SHARE = 64.0
"""Elements of a row share errors (its denominator's), of which the user's kernel may have none by luck. Four times this
is 2⁻¹⁵ of the row, and rounding to tf32 costs 0.21 · 2⁻¹⁰.
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


def row_ratio(
    error: torch.Tensor, own: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype, columns: int
) -> torch.Tensor:
    """The worst RMS(error) / (RMS(own) + eps·RMS(truth)/4) in a row much smaller than the largest; 64 eps for 32-bit
    and wider types.

    All flat, rows of ``columns`` elements. Flushed denormals count as right. None where there is no such row.
    """
    none = torch.full((), NONE, dtype=torch.float64, device=truth.device)
    if columns < ROW_ELEMENTS or truth.numel() < 2 * columns:
        return none
    spread, ours, size = (_rms_by_row(values, columns) for values in (error, own, truth))
    epsilon = torch.finfo(dtype).eps
    share = _OWN_PRECISION_ROW_SHARE if epsilon < OWN_PRECISION_EPS else _ROW_SHARE
    small = (size > 0.0) & (size < size.max() * _SMALL_ROW)
    ratio = torch.where(small, spread / (ours + epsilon * share * size + flushed(dtype)), 0.0)
    return torch.where(small.any(), ratio.nan_to_num(nan=0.0, posinf=math.inf).max(), none)


def _rms_by_row(values: torch.Tensor, columns: int) -> torch.Tensor:
    rows = values.view(-1, columns)
    return (rows * rows).mean(dim=1).sqrt()


def _rms_by_group(values: torch.Tensor, groups: int) -> torch.Tensor:
    """RMS of each of as many runs of ``values`` as ``groups``, the first ones longer by one (torch.tensor_split)."""
    short, longer = divmod(values.numel(), groups)
    squares = values * values
    split = longer * (short + 1)
    parts = (squares[:split].view(longer, short + 1), squares[split:].view(groups - longer, short))
    return torch.cat([part.mean(dim=1) for part in parts]).sqrt()
