"""Normalisations: layer, RMS, group, batch, and by length."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    Function,
    Operator,
    Tensor,
    at,
    bf16,
    f16,
    lane_pieces,
    lane_sum,
    normal,
    spoiled_last_row,
    tf32,
    without_tail,
)  # fmt: skip

SHAPES = ((1, 17), (7, 33), (13, 259), (96, 1024))
EPS = 1e-5


def draw(dtype: torch.dtype, *parameters: str) -> Any:
    """Rows ``x`` and parameters of one row's length."""
    return lambda generator, rows, columns: {
        "x": normal(generator, rows, columns, dtype=dtype),
        **{name: normal(generator, columns, dtype=dtype) for name in parameters},
    }


def moments(x: Tensor, lanes: int = 64) -> tuple[Tensor, Tensor]:
    """Mean, then the mean square of what is left: two passes."""
    mean = lane_sum(x, lanes)[..., None] / x.shape[-1]
    return mean, lane_sum((x - mean) ** 2, lanes)[..., None] / x.shape[-1]


def welford(x: Tensor, block: int = 32) -> tuple[Tensor, Tensor]:
    """Moments of blocks, merged one by one (Chan, Golub and LeVeque 1979)."""
    mean, squares, count = x.new_zeros((*x.shape[:-1], 1)), x.new_zeros((*x.shape[:-1], 1)), 0
    for piece in x.split(block, dim=-1):
        size = piece.shape[-1]
        own = piece.mean(-1, keepdim=True)
        delta = own - mean
        squares = squares + ((piece - own) ** 2).sum(-1, keepdim=True) + delta**2 * (count * size / (count + size))
        mean = mean + delta * (size / (count + size))
        count += size
    return mean, squares / count


def shifted(x: Tensor) -> tuple[Tensor, Tensor]:
    """One pass over differences from the first element."""
    away = x - x[..., :1]
    mean = away.mean(-1, keepdim=True)
    return x[..., :1] + mean, (away * away).mean(-1, keepdim=True) - mean * mean


def raw_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """E[x²] - E[x]², which cancels where the mean is large."""
    mean = x.mean(-1, keepdim=True)
    return mean, ((x * x).mean(-1, keepdim=True) - mean * mean).clamp(min=0)


def of_short_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    return moments(without_tail(x))


def variance_without_last(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, _ = moments(x)
    return mean, lane_sum((x - mean)[..., :-1] ** 2)[..., None] / x.shape[-1]


def unbiased(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = moments(x)
    return mean, variance * (x.shape[-1] / (x.shape[-1] - 1))


def in_low_precision(dtype: torch.dtype) -> Function:
    def low(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = moments(x.to(dtype))
        return mean.float(), variance.float()

    return low


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, statistics: Function = moments, eps: float = EPS) -> Tensor:
    mean, variance = statistics(x)
    return (x - mean) * torch.rsqrt(variance + eps) * weight + bias


def layer_norm_fused(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Scale and offset folded into one multiply-add for each element."""
    mean, variance = moments(x)
    scale = weight / torch.sqrt(variance + EPS)
    return torch.addcmul(bias, x - mean, scale)


def layer_norm_operator(name: str, dtype: torch.dtype) -> Operator:
    def using(statistics: Function, **options: float) -> Function:
        return at(dtype, lambda x, weight, bias: layer_norm(x, weight, bias, statistics, **options))

    mutants = {
        "eps dropped": using(moments, eps=0.0),
        "eps 1e-6": using(moments, eps=1e-6),
        "eps outside the root": at(
            dtype, lambda x, weight, bias: (x - moments(x)[0]) / (moments(x)[1].sqrt() + EPS) * weight + bias
        ),
        "last 1 % dropped": using(of_short_rows),
        "last square dropped": using(variance_without_last),
        "unbiased variance": using(unbiased),
        "moments in fp16": using(in_low_precision(F16)),
        "moments in bf16": using(in_low_precision(BF16)),
        "no bias": at(dtype, lambda x, weight, bias: layer_norm(x, weight, torch.zeros_like(bias))),
        "weight shifted": at(dtype, lambda x, weight, bias: layer_norm(x, weight.roll(1), bias)),
        "last row against its column": spoiled_last_row(
            at(dtype, lambda x, weight, bias: (x - x.mean(0)) * weight + bias), at(dtype, layer_norm)
        ),
    }
    if dtype == F32:
        mutants["E[x²] - E[x]²"] = using(raw_moments)
        mutants["output through tf32"] = at(dtype, lambda x, weight, bias: tf32(layer_norm(x, weight, bias)))
    return Operator(
        name, SHAPES, draw(dtype, "weight", "bias"),
        lambda x, weight, bias: functional.layer_norm(x, x.shape[-1:], weight, bias, EPS), at(dtype, layer_norm),
        honest={
            "merged blocks": using(welford),
            "merged blocks of 128": using(lambda x: welford(x, 128)),
            "256 lanes": using(lambda x: moments(x, 256)),
            "fused": at(dtype, layer_norm_fused),
        },
        mutants=mutants,
    )  # fmt: skip


def mean_square(x: Tensor, lanes: int = 64) -> Tensor:
    return lane_sum(x * x, lanes)[..., None] / x.shape[-1]


def rms_norm(x: Tensor, weight: Tensor, square: Function = mean_square, eps: float = EPS) -> Tensor:
    return x * torch.rsqrt(square(x) + eps) * weight


def rms_reference(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * weight


RMS_BF16 = Operator(
    "rms norm bf16", SHAPES, draw(BF16, "weight"), rms_reference, at(BF16, rms_norm),
    honest={
        "weight first": at(BF16, lambda x, weight: (x * weight) * torch.rsqrt(mean_square(x) + EPS)),
        "quotient": at(BF16, lambda x, weight: x / torch.sqrt(mean_square(x, 256) + EPS) * weight),
        "sum then one factor": at(BF16, lambda x, weight: rms_norm(x, weight, lambda x: x.square().mean(-1, keepdim=True))),
    },
    mutants={
        "eps dropped": at(BF16, lambda x, weight: rms_norm(x, weight, eps=0.0)),
        "eps 1e-6": at(BF16, lambda x, weight: rms_norm(x, weight, eps=1e-6)),
        "mean subtracted": at(BF16, lambda x, weight: rms_norm(x - x.mean(-1, keepdim=True), weight)),
        "last 1 % dropped": at(BF16, lambda x, weight: rms_norm(x, weight, lambda x: mean_square(without_tail(x)))),
        "last square not summed": at(BF16, lambda x, weight: rms_norm(x, weight, lambda x: lane_sum(x[..., :-1] ** 2)[..., None] / x.shape[-1])),
        "squares in bf16": at(BF16, lambda x, weight: rms_norm(x, weight, lambda x: mean_square(x.bfloat16()).float())),
        "weight plus one": at(BF16, lambda x, weight: rms_norm(x, weight + 1)),
        "factor rounded to bf16": at(BF16, lambda x, weight: x * bf16(torch.rsqrt(mean_square(x) + EPS)) * weight),
        "bf16 throughout": at(BF16, rms_norm, BF16),
    },
)  # fmt: skip


def draw_residual(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    return {**draw(F16, "weight")(generator, rows, columns), "residual": normal(generator, rows, columns, dtype=F16)}


def add_norm(x: Tensor, weight: Tensor, residual: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """The normalised sum, and the sum itself."""
    total = x + residual
    return rms_norm(total, weight, **options), total


ADD_NORM = Operator(
    "residual and rms norm fp16", SHAPES, draw_residual,
    lambda x, weight, residual: (rms_reference(x + residual, weight), x + residual), at(F16, add_norm),
    honest={
        "256 lanes": at(F16, lambda **inputs: add_norm(**inputs, square=lambda x: mean_square(x, 256))),
        "weight first": at(F16, lambda x, weight, residual: (
            ((x + residual) * weight) * torch.rsqrt(mean_square(x + residual) + EPS), residual + x,
        )),
    },
    mutants={
        "eps dropped": at(F16, lambda **inputs: add_norm(**inputs, eps=0.0)),
        "sum not returned": at(F16, lambda x, weight, residual: (add_norm(x, weight, residual)[0], x)),
        "norm of the rounded sum": at(F16, lambda x, weight, residual: add_norm(f16(x + residual), weight, torch.zeros_like(x))),
        "last 1 % dropped": at(F16, lambda **inputs: add_norm(**inputs, square=lambda x: mean_square(without_tail(x)))),
        "squares in fp16": at(F16, lambda **inputs: add_norm(**inputs, square=lambda x: mean_square(x.half()).float())),
        "norm without the residual": at(F16, lambda x, weight, residual: (rms_norm(x, weight), x + residual)),
    },
)  # fmt: skip


def draw_groups(generator: torch.Generator, images: int, groups: int, each: int, pixels: int) -> dict[str, Any]:
    channels = groups * each
    return {
        "x": normal(generator, images, channels, pixels),
        "weight": normal(generator, channels),
        "bias": normal(generator, channels),
        "groups": groups,
    }


def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, statistics: Function = moments, eps: float = EPS
) -> Tensor:
    rows = x.reshape(x.shape[0], groups, -1)
    mean, variance = statistics(rows)
    normed = ((rows - mean) * torch.rsqrt(variance + eps)).reshape(x.shape)
    return normed * weight[:, None] + bias[:, None]


def group_reference(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    return functional.group_norm(x, groups, weight, bias, EPS)


GROUP_NORM = Operator(
    "group norm fp32", ((1, 1, 2, 9), (3, 2, 3, 49), (8, 8, 4, 289)), draw_groups,
    group_reference, at(F32, group_norm),
    honest={
        "merged blocks": at(F32, lambda **inputs: group_norm(**inputs, statistics=welford)),
        "256 lanes": at(F32, lambda **inputs: group_norm(**inputs, statistics=lambda x: moments(x, 256))),
        "torch's": at(F32, group_reference),
    },
    mutants={
        "eps dropped": at(F32, lambda **inputs: group_norm(**inputs, eps=0.0)),
        "eps 1e-6": at(F32, lambda **inputs: group_norm(**inputs, eps=1e-6)),
        "twice the groups' size": at(F32, lambda x, weight, bias, groups: group_norm(x, weight, bias, max(1, groups // 2) if groups > 1 else x.shape[1])),
        "last 1 % dropped": at(F32, lambda **inputs: group_norm(**inputs, statistics=of_short_rows)),
        "E[x²] - E[x]²": at(F32, lambda **inputs: group_norm(**inputs, statistics=raw_moments)),
        "moments in bf16": at(F32, lambda **inputs: group_norm(**inputs, statistics=in_low_precision(BF16))),
        "bias of the next channel": at(F32, lambda x, weight, bias, groups: group_norm(x, weight, bias.roll(1), groups)),
    },
)  # fmt: skip


def draw_batch(generator: torch.Generator, images: int, channels: int, pixels: int) -> dict[str, Any]:
    return {
        "x": normal(generator, images, channels, pixels, dtype=F16),
        "mean": normal(generator, channels),
        "variance": normal(generator, channels).square(),
        "weight": normal(generator, channels),
        "bias": normal(generator, channels),
    }


def batch_norm(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    scale = weight * torch.rsqrt(variance + eps)
    return (x - mean[:, None]) * scale[:, None] + bias[:, None]


def batch_norm_folded(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale = weight / torch.sqrt(variance + EPS)
    return x * scale[:, None] + (bias - mean * scale)[:, None]


def batch_reference(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.batch_norm(x, mean, variance, weight, bias, eps=EPS)


BATCH_NORM = Operator(
    "batch norm of inference fp16", ((1, 3, 5), (3, 7, 49), (8, 32, 289)), draw_batch, batch_reference,
    at(F16, batch_norm),
    honest={"folded": at(F16, batch_norm_folded), "torch's": at(F16, batch_reference)},
    mutants={
        "eps dropped": at(F16, lambda **inputs: batch_norm(**inputs, eps=0.0)),
        "scale in fp16": at(F16, lambda x, mean, variance, weight, bias: (x - mean[:, None]) * f16(weight * torch.rsqrt(variance + EPS))[:, None] + bias[:, None]),
        "mean in fp16": at(F16, lambda x, mean, variance, weight, bias: batch_norm(x, f16(mean), variance, weight, bias)),
        "no bias": at(F16, lambda x, mean, variance, weight, bias: batch_norm(x, mean, variance, weight, 0 * bias)),
        "variance not rooted": at(F16, lambda x, mean, variance, weight, bias: (x - mean[:, None]) * (weight / (variance + EPS))[:, None] + bias[:, None]),
        "channels shifted": at(F16, lambda x, mean, variance, weight, bias: batch_norm(x, mean, variance, weight.roll(1), bias)),
        "fp16 throughout": at(F16, batch_norm, F16),
    },
)  # fmt: skip


def unit(x: Tensor, total: Function = lane_sum, least: float = 1e-12) -> Tensor:
    return x / torch.sqrt(total(x * x)).clamp(min=least)[..., None]


UNIT = Operator(
    "rows of unit length fp32", SHAPES, draw(F32), lambda x: functional.normalize(x, dim=-1), at(F32, unit),
    honest={
        "rsqrt": at(F32, lambda x: x * torch.rsqrt(lane_sum(x * x))[..., None]),
        "256 lanes": at(F32, lambda x: unit(x, lambda s: lane_sum(s, 256))),
        "scaled by the largest first": at(F32, lambda x: unit(x / x.abs().amax(-1, keepdim=True))),
    },
    mutants={
        "not rooted": at(F32, lambda x: x / lane_sum(x * x)[..., None]),
        "sum of magnitudes": at(F32, lambda x: x / lane_sum(x.abs())[..., None]),
        "last 1 % dropped": at(F32, lambda x: unit(x, lambda s: lane_sum(without_tail(s)))),
        "squares in tf32": at(F32, lambda x: unit(x, lambda s: lane_sum(tf32(s)))),
        "eps 1e-6 added": at(F32, lambda x: x * torch.rsqrt(lane_sum(x * x) + 1e-6)[..., None]),
        "fp16 throughout": at(F32, unit, F16),
        "sum of lanes without the last piece": at(F32, lambda x: unit(x, lambda s: lane_sum(torch.cat(lane_pieces(s, 16)[:-1] or [s], -1)))),
    },
)  # fmt: skip

OPERATORS = (
    layer_norm_operator("layer norm fp16", F16),
    layer_norm_operator("layer norm fp32", F32),
    RMS_BF16,
    ADD_NORM,
    GROUP_NORM,
    BATCH_NORM,
    UNIT,
)
