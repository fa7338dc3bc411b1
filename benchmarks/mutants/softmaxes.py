"""Softmax, its logarithm, and the losses made of it."""

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
    exp2,
    f16,
    integers,
    lane_pieces,
    lane_sum,
    normal,
    poor_exp,
    spoiled_last_row,
    tf32,
    without_tail,
)  # fmt: skip

SHAPES = ((1, 7), (7, 1), (13, 259), (96, 1024))
SMOOTHING = 0.1


def draw(dtype: torch.dtype) -> Any:
    return lambda generator, *shape: {"x": normal(generator, *shape, dtype=dtype)}


def softmax(
    x: Tensor, exp: Function = torch.exp, total: Function = lane_sum, shift: float = 1.0, seen: Function = lambda x: x
) -> Tensor:
    """``shift`` 0: no maximum is subtracted. ``seen`` of the numerators goes into the sum."""
    e = exp(x - shift * x.amax(-1, keepdim=True))
    return e / total(seen(e))[..., None]


def softmax_online(x: Tensor, block: int = 32) -> Tensor:
    """One pass for maximum and sum, rescaling whenever the maximum grows."""
    top, total = x.new_full((*x.shape[:-1], 1), -torch.inf), x.new_zeros((*x.shape[:-1], 1))
    for piece in x.split(block, dim=-1):
        larger = torch.maximum(top, piece.amax(-1, keepdim=True))
        total = total * torch.exp(top - larger) + torch.exp(piece - larger).sum(-1, keepdim=True)
        top = larger
    return torch.exp(x - top) / total


def softmax_reciprocal(x: Tensor) -> Tensor:
    """The exponent by one fused multiply-add, as a GPU's compiler makes it of x·c - m."""
    top = x.amax(-1, keepdim=True) * LOG2E
    e = torch.exp2((x.double() * LOG2E - top.double()).to(x.dtype))
    return e * (1 / e.sum(-1, keepdim=True))


def first_block_maximum(x: Tensor) -> Tensor:
    """Every row is shifted by the maximum of its first 64 elements only."""
    e = torch.exp(x - x[..., :64].amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def softmax_mutants(dtype: torch.dtype) -> dict[str, Function]:
    right = at(dtype, softmax)
    return {
        "no maximum subtracted": at(dtype, lambda x: softmax(x, shift=0.0)),
        "maximum of the first block": at(dtype, first_block_maximum),
        "last 1 % of the sum dropped": at(dtype, lambda x: softmax(x, seen=without_tail)),
        "last element of the sum dropped": at(dtype, lambda x: softmax(x, seen=lambda e: without_tail(e, 0.0))),
        "one too many in the sum": at(dtype, lambda x: softmax(x, total=lambda e: lane_sum(e) + e[..., -1])),
        "poor exp": at(dtype, lambda x: softmax(x, poor_exp)),
        "sum in fp16": at(dtype, lambda x: softmax(x, total=lambda e: lane_sum(e.half()).float())),
        "sum in bf16": at(dtype, lambda x: softmax(x, total=lambda e: lane_sum(e.bfloat16()).float())),
        "fp16 throughout": at(dtype, softmax, F16),
        "base 2": at(dtype, lambda x: softmax(x, torch.exp2)),
        "last row along the other axis": spoiled_last_row(at(dtype, lambda x: softmax(x.t()).t()), right),
    }


HONEST = {
    "exp2 and reciprocal": softmax_reciprocal,
    "online": softmax_online,
    "online, blocks of 128": lambda x: softmax_online(x, 128),
    "256 lanes": lambda x: softmax(x, total=lambda e: lane_sum(e, 256)),
}


def softmax_operator(name: str, dtype: torch.dtype) -> Operator:
    return Operator(
        name, SHAPES, draw(dtype), lambda x: torch.softmax(x, -1), at(dtype, softmax),
        honest={name: at(dtype, function) for name, function in HONEST.items()},
        mutants=softmax_mutants(dtype),
    )  # fmt: skip


def causal(
    x: Tensor, exp: Function = torch.exp, diagonal: int = 0, scale: float = 0.125, fill: float = -torch.inf
) -> Tensor:
    """Row i of scores sees columns up to i + ``diagonal``."""
    seen = torch.ones(x.shape, dtype=torch.bool).tril(diagonal)
    return softmax(torch.where(seen, x * scale, fill), exp)


CAUSAL = Operator(
    "scaled causal softmax bf16", ((3, 3), (33, 77), (256, 256)),
    lambda generator, *shape: {"x": normal(generator, *shape, dtype=BF16, scale=8.0)},
    causal, at(BF16, causal),
    honest={
        "exp2": at(BF16, lambda x: causal(x, exp2)),
        "filled with -1e30": at(BF16, lambda x: causal(x, fill=-1e30)),
        "scale inside the exponent": at(BF16, lambda x: causal(x * 0.125 * LOG2E, torch.exp2, scale=1.0)),
    },
    mutants={
        "diagonal hidden": at(BF16, lambda x: torch.nan_to_num(causal(x, diagonal=-1))),
        "one column too many": at(BF16, lambda x: causal(x, diagonal=1)),
        "no mask": at(BF16, lambda x: softmax(x * 0.125)),
        "filled with zero": at(BF16, lambda x: causal(x, fill=0.0)),
        "filled with -5": at(BF16, lambda x: causal(x, fill=-5.0)),
        "scale 0.124": at(BF16, lambda x: causal(x, scale=0.124)),
        "numerators rounded to bf16": at(BF16, lambda x: causal(x, lambda y: bf16(torch.exp(y)))),
        "bf16 throughout": at(BF16, causal, BF16),
    },
)  # fmt: skip


def log_softmax(x: Tensor, exp: Function = torch.exp, seen: Function = lambda x: x, shift: float = 1.0) -> Tensor:
    shifted = x - shift * x.amax(-1, keepdim=True)
    return shifted - torch.log(lane_sum(seen(exp(shifted))))[..., None]


def log_sum_exp(x: Tensor, exp: Function = torch.exp, seen: Function = lambda x: x, shift: float = 1.0) -> Tensor:
    top = shift * x.amax(-1, keepdim=True)
    return top[..., 0] + torch.log(lane_sum(seen(exp(x - top))))


def log_sum_exp_online(x: Tensor, block: int = 64) -> Tensor:
    found = torch.full(x.shape[:-1], -torch.inf)
    for piece in lane_pieces(x, block, -torch.inf):
        found = torch.logaddexp(found, log_sum_exp(piece))
    return found


LOGARITHMS = (
    Operator(
        "log-softmax fp32", SHAPES, draw(F32), lambda x: torch.log_softmax(x, -1), at(F32, log_softmax),
        honest={
            "exp2 and log2": at(F32, lambda x: (s := x - x.amax(-1, keepdim=True)) - torch.log2(exp2(s).sum(-1, keepdim=True)) * LN2),
            "x minus log-sum-exp": at(F32, lambda x: x - log_sum_exp(x)[..., None]),
            "torch's": at(F32, lambda x: torch.log_softmax(x, -1)),
        },
        mutants={
            "no maximum subtracted": at(F32, lambda x: log_softmax(x, shift=0.0)),
            "logarithm of the softmax": at(F32, lambda x: torch.log(softmax(x))),
            "last 1 % dropped": at(F32, lambda x: log_softmax(x, seen=without_tail)),
            "poor exp": at(F32, lambda x: log_softmax(x, poor_exp)),
            "exponentials in tf32": at(F32, lambda x: log_softmax(x, lambda y: tf32(torch.exp(y)))),
            "logarithm in fp16": at(F32, lambda x: (s := x - x.amax(-1, keepdim=True)) - f16(torch.log(torch.exp(s).sum(-1, keepdim=True)))),
            "fp16 throughout": at(F32, log_softmax, F16),
        },
    ),
    Operator(
        "log-sum-exp fp32", ((1, 7), (9, 259), (512, 300)), draw(F32),
        lambda x: torch.logsumexp(x, -1), at(F32, log_sum_exp),
        honest={
            "exp2": at(F32, lambda x: log_sum_exp(x, exp2)),
            "online": at(F32, log_sum_exp_online),
            "torch's": at(F32, lambda x: torch.logsumexp(x, -1)),
        },
        mutants={
            "no maximum subtracted": at(F32, lambda x: log_sum_exp(x, shift=0.0)),
            "last 1 % dropped": at(F32, lambda x: log_sum_exp(x, seen=without_tail)),
            "poor exp": at(F32, lambda x: log_sum_exp(x, poor_exp)),
            "sum in fp16": at(F32, lambda x: x.amax(-1) + torch.log(lane_sum(torch.exp(x - x.amax(-1, keepdim=True)).half()).float())),
            "log2 without the factor": at(F32, lambda x: x.amax(-1) + torch.log2(torch.exp(x - x.amax(-1, keepdim=True)).sum(-1))),
            "maximum of the row": at(F32, lambda x: x.amax(-1)),
        },
    ),
)  # fmt: skip


def draw_logits(generator: torch.Generator, rows: int, classes: int) -> dict[str, Any]:
    target = integers(generator, 0, classes, rows)
    target[::5] = -100
    return {"x": normal(generator, rows, classes, dtype=F16, scale=2.0), "target": target}


def cross_entropy(x: Tensor, target: Tensor, normaliser: Function = log_sum_exp, ignored: int = -100) -> Tensor:
    """A loss per row; 0 where the target is ``ignored``."""
    picked = x.gather(1, target.clamp(min=0)[:, None])[:, 0]
    return torch.where(target == ignored, 0.0, normaliser(x) - picked)


def smoothed(x: Tensor, target: Tensor, normaliser: Function = log_sum_exp, smoothing: float = SMOOTHING) -> Tensor:
    loss = cross_entropy(x, target, normaliser)
    spread = normaliser(x) - lane_sum(x) / x.shape[-1]
    mixed = (1 - smoothing) * loss + smoothing * torch.where(target == -100, 0.0, spread)
    return tree_mean(mixed, target)


def tree_mean(losses: Tensor, target: Tensor) -> Tensor:
    return lane_sum(losses) / (target != -100).sum().clamp(min=1)


CROSS_ENTROPY = (
    Operator(
        "cross entropy of rows, fp16 logits", ((6, 7), (11, 259), (512, 300)), draw_logits,
        lambda x, target: functional.cross_entropy(x, target, reduction="none"), at(F32, cross_entropy),
        honest={
            "exp2": at(F32, lambda x, target: cross_entropy(x, target, lambda x: log_sum_exp(x, exp2))),
            "online": at(F32, lambda x, target: cross_entropy(x, target, log_sum_exp_online)),
            "shifted logit": at(F32, lambda x, target: torch.where(target < 0, 0.0, -log_softmax(x).gather(1, target.clamp(min=0)[:, None])[:, 0])),
        },
        mutants={
            "ignored rows counted": at(F32, lambda x, target: cross_entropy(x, target, ignored=-1)),
            "no maximum subtracted": at(F32, lambda x, target: cross_entropy(x, target, lambda x: log_sum_exp(x, shift=0.0))),
            "last 1 % dropped": at(F32, lambda x, target: cross_entropy(x, target, lambda x: log_sum_exp(x, seen=without_tail))),
            "target of the next row": at(F32, lambda x, target: cross_entropy(x, torch.where(target < 0, target, target.roll(1).clamp(min=0)))),
            "fp16 result": at(F32, lambda x, target: f16(cross_entropy(x, target))),
            "fp16 throughout": at(F32, cross_entropy, F16),
        },
    ),
    Operator(
        "mean of smoothed cross entropy", ((6, 7), (11, 259), (512, 300)), draw_logits,
        lambda x, target: functional.cross_entropy(x, target, label_smoothing=SMOOTHING), at(F32, smoothed),
        honest={
            "exp2": at(F32, lambda x, target: smoothed(x, target, lambda x: log_sum_exp(x, exp2))),
            "online": at(F32, lambda x, target: smoothed(x, target, log_sum_exp_online)),
            "torch's": at(F32, lambda x, target: functional.cross_entropy(x, target, label_smoothing=SMOOTHING)),
        },
        mutants={
            "no smoothing": at(F32, lambda x, target: smoothed(x, target, smoothing=0.0)),
            "smoothing 0.101": at(F32, lambda x, target: smoothed(x, target, smoothing=0.101)),
            "mean over all rows": at(F32, lambda x, target: smoothed(x, target) * (target >= 0).float().mean()),
            "last 1 % dropped": at(F32, lambda x, target: smoothed(x, target, lambda x: log_sum_exp(x, seen=without_tail))),
            "fp16 throughout": at(F32, smoothed, F16),
            "last row left out": at(F32, lambda x, target: smoothed(x[:-1], target[:-1])),
        },
    ),
)  # fmt: skip

OPERATORS = (
    softmax_operator("softmax fp32", F32),
    softmax_operator("softmax fp16", F16),
    CAUSAL,
    *LOGARITHMS,
    *CROSS_ENTROPY,
)
