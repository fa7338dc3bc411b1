"""Losses: a number for each row or element, and means over everything."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    LN2,
    LOG2E,
    Function,
    Operator,
    Tensor,
    at,
    bf16,
    f16,
    lane_sum,
    normal,
    poor_exp,
    tf32,
    without_tail,
)  # fmt: skip

SHAPES = ((1, 9), (13, 77), (400, 300))


def draw_pair(dtype: torch.dtype) -> Any:
    return lambda generator, *shape: {
        "x": normal(generator, *shape, dtype=dtype),
        "y": normal(generator, *shape, dtype=dtype),
    }


def squared_error(x: Tensor, y: Tensor, seen: Function = lambda x: x) -> Tensor:
    return lane_sum(seen(((x - y) ** 2).reshape(1, -1)), 1024)[0] / x.numel()


def huber(x: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    away = (x - y).abs()
    return torch.where(away <= delta, 0.5 * away * away, delta * (away - 0.5 * delta))


def huber_clipped(x: Tensor, y: Tensor) -> Tensor:
    away = (x - y).abs()
    near = away.clamp(max=1.0)
    return near * (away - 0.5 * near)


def logits_loss(x: Tensor, y: Tensor, exp: Function = torch.exp) -> Tensor:
    """Binary cross entropy; ``y`` becomes a target by its sign."""
    target = (y > 0).to(x.dtype)
    return x.clamp(min=0) - x * target + torch.log1p(exp(-x.abs()))


def logits_naive(x: Tensor, y: Tensor) -> Tensor:
    p = torch.sigmoid(x)
    return -torch.log(torch.where(y > 0, p, 1 - p))


def divergence(x: Tensor, y: Tensor, seen: Function = lambda x: x, swap: bool = False) -> Tensor:
    """Kullback–Leibler of softmax(y) from softmax(x), by rows."""
    p, q = torch.log_softmax(y, -1), torch.log_softmax(x, -1)
    first, second = (q, p) if swap else (p, q)
    return lane_sum(seen(torch.exp(first) * (first - second)))


def divergence_base_2(x: Tensor, y: Tensor) -> Tensor:
    p, q = torch.log_softmax(y, -1) * LOG2E, torch.log_softmax(x, -1) * LOG2E
    return lane_sum(torch.exp2(p) * (p - q), 256) * LN2


def cosine(x: Tensor, y: Tensor, seen: Function = lambda x: x) -> Tensor:
    lengths = torch.sqrt(lane_sum(seen(x * x)) * lane_sum(seen(y * y)))
    return lane_sum(seen(x * y)) / lengths.clamp(min=1e-30)


def cosine_of_units(x: Tensor, y: Tensor) -> Tensor:
    return lane_sum(x / x.norm(dim=-1, keepdim=True) * (y / y.norm(dim=-1, keepdim=True)), 256)


def cosine_reference(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))


OPERATORS = (
    Operator(
        "mean squared error of fp16", SHAPES, draw_pair(F16), lambda x, y: functional.mse_loss(x, y), at(F32, squared_error),
        honest={
            "by rows": at(F32, lambda x, y: lane_sum(lane_sum((x - y) ** 2)[None])[0] / x.numel()),
            "torch's": at(F32, lambda x, y: functional.mse_loss(x, y)),
        },
        mutants={
            "last 1 % dropped": at(F32, lambda x, y: squared_error(x, y, without_tail)),
            "last row dropped": at(F32, lambda x, y: squared_error(x, y, lambda s: s[:, : -x.shape[-1]] if len(x) > 1 else s)),
            "difference in fp16": at(F32, lambda x, y: f16(f16(x - y) ** 2).mean()),
            "difference in bf16": at(F32, lambda x, y: (bf16(x - y) ** 2).mean()),
            "accumulated in fp16": at(F32, squared_error, F16),
            "halved": at(F32, lambda x, y: 0.5 * squared_error(x, y)),
        },
    ),
    Operator(
        "huber loss of elements fp32", SHAPES, draw_pair(F32), lambda x, y: functional.huber_loss(x, y, reduction="none"),
        at(F32, huber),
        honest={
            "clipped": at(F32, huber_clipped),
            "torch's": at(F32, lambda x, y: functional.smooth_l1_loss(x, y, reduction="none")),
        },
        mutants={
            "delta 1.01": at(F32, lambda x, y: huber(x, y, 1.01)),
            "only squares": at(F32, lambda x, y: 0.5 * (x - y) ** 2),
            "linear part not lowered": at(F32, lambda x, y: torch.where((x - y).abs() <= 1, 0.5 * (x - y) ** 2, (x - y).abs())),
            "difference in tf32": at(F32, lambda x, y: huber(tf32(x - y), 0 * y)),
            "fp16 throughout": at(F32, huber, F16),
        },
    ),
    Operator(
        "binary cross entropy of logits bf16", SHAPES, draw_pair(BF16),
        lambda x, y: functional.binary_cross_entropy_with_logits(x, (y > 0).to(x.dtype), reduction="none"),
        at(BF16, logits_loss),
        honest={
            "exp2": at(BF16, lambda x, y: logits_loss(x, y, lambda z: torch.exp2(z * LOG2E))),
            "softplus": at(BF16, lambda x, y: functional.softplus(torch.where(y > 0, -x, x))),
            "minus log-sigmoid": at(BF16, lambda x, y: -functional.logsigmoid(torch.where(y > 0, x, -x))),
        },
        mutants={
            "logarithm of a sigmoid": at(BF16, logits_naive),
            "targets exchanged": at(BF16, lambda x, y: logits_loss(x, -y)),
            "poor exp": at(BF16, lambda x, y: logits_loss(x, y, poor_exp)),
            "no log1p": at(BF16, lambda x, y: x.clamp(min=0) - x * (y > 0) + torch.log(1 + bf16(torch.exp(-x.abs())))),
            "bf16 throughout": at(BF16, logits_loss, BF16),
        },
    ),
    Operator(
        "divergence of rows, fp16 logits", SHAPES, draw_pair(F16), divergence, at(F32, divergence),
        honest={
            "base 2": at(F32, divergence_base_2),
            "256 lanes": at(F32, lambda x, y: (p := torch.log_softmax(y, -1)).exp().mul(p - torch.log_softmax(x, -1)).sum(-1)),
        },
        mutants={
            "the other way round": at(F32, lambda x, y: divergence(x, y, swap=True)),
            "last 1 % dropped": at(F32, lambda x, y: divergence(x, y, without_tail)),
            "without the entropy": at(F32, lambda x, y: -(torch.softmax(y, -1) * torch.log_softmax(x, -1)).sum(-1)),
            "probabilities in tf32": at(F32, lambda x, y: lane_sum(tf32(torch.softmax(y, -1)) * (torch.log_softmax(y, -1) - torch.log_softmax(x, -1)))),
            "fp16 throughout": at(F32, divergence, F16),
        },
    ),
    Operator(
        "cosine of rows fp32", SHAPES, draw_pair(F32), cosine_reference, at(F32, cosine),
        honest={
            "of unit vectors": at(F32, cosine_of_units),
            "two lengths": at(F32, lambda x, y: lane_sum(x * y, 256) / (x.norm(dim=-1) * y.norm(dim=-1))),
        },
        mutants={
            "inputs in tf32": at(F32, lambda x, y: cosine(tf32(x), tf32(y))),
            "last 1 % dropped": at(F32, lambda x, y: cosine(x, y, without_tail)),
            "eps 1e-6 added": at(F32, lambda x, y: lane_sum(x * y) / (lane_sum(x * x) * lane_sum(y * y) + 1e-6).sqrt()),
            "without one length": at(F32, lambda x, y: lane_sum(x * y) / lane_sum(x * x)),
            "fp16 throughout": at(F32, cosine, F16),
            "means subtracted": at(F32, lambda x, y: cosine(x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True))),
        },
    ),
)  # fmt: skip
