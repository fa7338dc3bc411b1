"""Reductions: sums, means, variances and lengths; maxima that are exact; argmax and counts, whose results are integers."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    Function,
    Operator,
    Tensor,
    at,
    integers,
    lane_pieces,
    lane_sum,
    normal,
    spoiled_last_row,
    tf32,
    tree_sum,
    without_tail,
)  # fmt: skip
from benchmarks.mutants.norms import moments, raw_moments, shifted, welford

ROWS = ((1, 7), (7, 129), (300, 1024), (1200, 200))


def draw(dtype: torch.dtype) -> Any:
    return lambda generator, *shape: {"x": normal(generator, *shape, dtype=dtype)}


def split_sum(x: Tensor, parts: int = 4) -> Tensor:
    """Partial sums of ``parts`` stretches, added at the end, as kernels with several blocks for a row do."""
    return torch.stack([lane_sum(piece) for piece in x.tensor_split(min(parts, x.shape[-1]), dim=-1)], -1).sum(-1)


def compensated_sum(x: Tensor, lanes: int = 64) -> Tensor:
    """Kahan's sum for each lane, then a tree."""
    total = lost = torch.zeros_like(lane_pieces(x, lanes)[0])
    for piece in lane_pieces(x, lanes):
        term = piece - lost
        larger = total + term
        total, lost = larger, (larger - total) - term
    return tree_sum(total)


def twice_at_seam(x: Tensor) -> Tensor:
    """Two halves that both count the element between them."""
    middle = x.shape[-1] // 2
    return lane_sum(x[..., : middle + 1]) + lane_sum(x[..., middle:])


SUMS = {
    "split in four": split_sum,
    "256 lanes": lambda x: lane_sum(x, 256),
    "compensated": compensated_sum,
    "torch's": lambda x: x.sum(-1),
}


def sum_mutants(dtype: torch.dtype) -> dict[str, Function]:
    right = at(dtype, lane_sum)
    mutants: dict[str, Function] = {
        "last 1 % dropped": at(dtype, lambda x: lane_sum(without_tail(x))),
        "last element dropped": at(dtype, lambda x: lane_sum(x[..., :-1])),
        "middle element counted twice": at(dtype, twice_at_seam),
        "first lane only once": at(dtype, lambda x: lane_sum(x) - x[..., 0]),
        "accumulated in fp16": at(dtype, lambda x: lane_sum(x.half()).float()),
        "accumulated in bf16": at(dtype, lambda x: lane_sum(x.bfloat16()).float()),
        "last row: sum of magnitudes": spoiled_last_row(at(dtype, lambda x: lane_sum(x.abs())), right),
        "last row: mean": spoiled_last_row(at(dtype, lambda x: x.mean(-1)), right),
    }
    if dtype == F32:
        mutants["elements in tf32"] = at(dtype, lambda x: lane_sum(tf32(x)))
    return mutants


def row_sum(name: str, dtype: torch.dtype) -> Operator:
    return Operator(
        name, ROWS, draw(dtype), lambda x: x.sum(-1), at(dtype, lane_sum),
        honest={name: at(dtype, function) for name, function in SUMS.items()}, mutants=sum_mutants(dtype),
    )  # fmt: skip


def column_mean(x: Tensor, total: Function = lane_sum) -> Tensor:
    return total(x.t()) / x.shape[0]


def variance(x: Tensor, statistics: Function = moments) -> Tensor:
    return statistics(x)[1][..., 0]


def length(x: Tensor, total: Function = lane_sum) -> Tensor:
    return torch.sqrt(total(x * x))


def scaled_length(x: Tensor) -> Tensor:
    top = x.abs().amax(-1, keepdim=True)
    return top[..., 0] * length(x / top)


FLOATING = (
    row_sum("sum of rows fp32", F32),
    row_sum("sum of rows fp16", F16),
    Operator(
        "mean of columns bf16", ((3, 7), (259, 13), (1024, 257)), draw(BF16), lambda x: x.mean(0),
        at(BF16, column_mean),
        honest={
            "split in four": at(BF16, lambda x: column_mean(x, split_sum)),
            "times reciprocal": at(BF16, lambda x: lane_sum(x.t(), 256) * (1 / x.shape[0])),
            "running mean": at(BF16, lambda x: welford(x.t())[0][..., 0]),
        },
        mutants={
            "accumulated in bf16": at(BF16, column_mean, BF16),
            "accumulated in fp16": at(BF16, column_mean, F16),
            "last 1 % dropped": at(BF16, lambda x: column_mean(x, lambda s: lane_sum(without_tail(s)))),
            "last row dropped": at(BF16, lambda x: column_mean(x, lambda s: lane_sum(s[..., :-1]))),
            "divided by one less": at(BF16, lambda x: lane_sum(x.t()) / max(1, x.shape[0] - 1)),
            "last column of the neighbour": at(BF16, lambda x: torch.cat((column_mean(x)[:-1], column_mean(x)[-2:-1]))),
        },
    ),
    Operator(
        "mean of everything fp32", ((5, 7), (37, 129), (300, 700)), draw(F32), lambda x: x.mean(),
        lambda x: lane_sum(x.reshape(1, -1), 1024)[0] / x.numel(),
        honest={
            "by rows": lambda x: lane_sum(lane_sum(x)[None])[0] / x.numel(),
            "compensated": lambda x: compensated_sum(x.reshape(1, -1), 1024)[0] / x.numel(),
            "torch's": lambda x: x.mean(),
        },
        mutants={
            "last 1 % dropped": lambda x: lane_sum(without_tail(x.reshape(1, -1)), 1024)[0] / x.numel(),
            "last row dropped": lambda x: lane_sum(x[:-1].reshape(1, -1), 1024)[0] / x.numel(),
            "last element dropped": lambda x: lane_sum(x.reshape(1, -1)[:, :-1], 1024)[0] / x.numel(),
            "accumulated in fp16": lambda x: lane_sum(x.reshape(1, -1).half(), 1024)[0].float() / x.numel(),
            "elements in bf16": lambda x: x.bfloat16().float().mean(),
            "elements in tf32": lambda x: tf32(x).mean(),
            "magnitudes": lambda x: x.abs().mean(),
        },
    ),
    Operator(
        "variance of rows fp32", ((1, 7), (7, 129), (500, 500)), draw(F32), lambda x: x.var(-1, correction=0),
        at(F32, variance),
        honest={
            "merged blocks": at(F32, lambda x: variance(x, welford)),
            "256 lanes": at(F32, lambda x: variance(x, lambda y: moments(y, 256))),
            "differences from the first": at(F32, lambda x: variance(x, lambda y: shifted(y))),
        },
        mutants={
            "E[x²] - E[x]²": at(F32, lambda x: variance(x, raw_moments)),
            "unbiased": at(F32, lambda x: x.var(-1)),
            "last 1 % dropped": at(F32, lambda x: variance(without_tail(x))),
            "mean square": at(F32, lambda x: lane_sum(x * x) / x.shape[-1]),
            "standard deviation": at(F32, lambda x: x.std(-1, correction=0)),
            "squares in tf32": at(F32, lambda x: lane_sum(tf32((x - x.mean(-1, keepdim=True)) ** 2)) / x.shape[-1]),
        },
    ),
    Operator(
        "length of rows fp16", ROWS, draw(F16), lambda x: x.norm(dim=-1), at(F16, length),
        honest={
            "scaled by the largest": at(F16, scaled_length),
            "split in four": at(F16, lambda x: length(x, split_sum)),
            "torch's": at(F16, lambda x: x.norm(dim=-1)),
        },
        mutants={
            "not rooted": at(F16, lambda x: lane_sum(x * x)),
            "sum of magnitudes": at(F16, lambda x: lane_sum(x.abs())),
            "last 1 % dropped": at(F16, lambda x: length(without_tail(x))),
            "last element dropped": at(F16, lambda x: length(x[..., :-1])),
            "squares in fp16": at(F16, length, F16),
            "squares in bf16": at(F16, length, BF16),
        },
    ),
    Operator(
        "dot products fp32", ((1, 9), (7, 129), (200, 1500)),
        lambda generator, *shape: {"a": normal(generator, *shape), "b": normal(generator, *shape)},
        lambda a, b: (a * b).sum(-1), at(F32, lambda a, b: lane_sum(a * b)),
        honest={
            "256 lanes": at(F32, lambda a, b: lane_sum(a * b, 256)),
            "split in four": at(F32, lambda a, b: split_sum(a * b)),
            "einsum": at(F32, lambda a, b: torch.einsum("rc,rc->r", a, b)),
        },
        mutants={
            "tf32 inputs": at(F32, lambda a, b: lane_sum(tf32(a) * tf32(b))),
            "one input in tf32": at(F32, lambda a, b: lane_sum(tf32(a) * b)),
            "last 1 % dropped": at(F32, lambda a, b: lane_sum(without_tail(a * b))),
            "last element dropped": at(F32, lambda a, b: lane_sum((a * b)[..., :-1])),
            "fp16 products": at(F32, lambda a, b: lane_sum((a * b).half().float())),
            "shifted by one": at(F32, lambda a, b: lane_sum(a * b.roll(1, -1))),
        },
    ),
)  # fmt: skip


def draw_low_rows(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    """Every third row is negative throughout."""
    x = torch.randn(rows, columns, generator=generator)
    x[::3] = -x[::3].abs() - 1
    return {"x": x.half()}


def lane_maximum(x: Tensor, lanes: int = 64) -> Tensor:
    top = lane_pieces(x, lanes, -torch.inf)[0]
    for piece in lane_pieces(x, lanes, -torch.inf)[1:]:
        top = torch.maximum(top, piece)
    return top.amax(-1)


EXACT = (
    Operator(
        "maximum of rows fp16", ROWS, draw_low_rows, lambda x: x.amax(-1), lane_maximum,
        honest={"256 lanes": lambda x: lane_maximum(x, 256), "in fp32": at(F16, lane_maximum)},
        mutants={
            "starts from zero": lambda x: lane_maximum(x).clamp(min=0),
            "largest magnitude": lambda x: x.abs().amax(-1),
            "last 1 % dropped": lambda x: lane_maximum(without_tail(x)),
            "last element dropped": lambda x: lane_maximum(x[..., : max(1, x.shape[-1] - 1)]),
            "filled with zeros": lambda x: torch.stack(lane_pieces(x, 64)).amax((0, -1)),
            "through bf16": lambda x: x.bfloat16().amax(-1).half(),
        },
    ),
)  # fmt: skip


def draw_small(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    """Few distinct values, so that most rows have ties."""
    return {"x": integers(generator, -20, 21, *shape, dtype=F16)}


def argmax(x: Tensor) -> Tensor:
    """The first place of the largest."""
    return torch.argmax((x == x.amax(-1, keepdim=True)).to(torch.int8), dim=-1)


def argmax_by_index(x: Tensor) -> Tensor:
    places = torch.arange(x.shape[-1]).expand(x.shape)
    return torch.where(x == x.amax(-1, keepdim=True), places, x.shape[-1]).amin(-1)


def argmax_by_blocks(x: Tensor, lanes: int = 32) -> Tensor:
    best = torch.full(x.shape[:-1], -torch.inf, dtype=x.dtype)
    place = torch.zeros(x.shape[:-1], dtype=torch.int64)
    for number, piece in enumerate(lane_pieces(x, lanes, -torch.inf)):
        top = piece.amax(-1)
        place = torch.where(top > best, number * lanes + argmax(piece), place)
        best = torch.maximum(best, top)
    return place


def last_argmax(x: Tensor) -> Tensor:
    return x.shape[-1] - 1 - argmax(x.flip(-1))


def positives(x: Tensor) -> Tensor:
    return (x > 0).sum(-1)


INTEGERS = (
    Operator(
        "argmax of rows", ROWS, draw_small, lambda x: argmax(x), lambda x: argmax(x),
        honest={"smallest index": argmax_by_index, "by blocks": argmax_by_blocks},
        mutants={
            "last of ties": last_argmax,
            "largest magnitude": lambda x: argmax(x.abs()),
            "argmin": lambda x: argmax(-x),
            "last element not seen": lambda x: argmax(x[..., : max(1, x.shape[-1] - 1)]),
            "last row: last of ties": spoiled_last_row(last_argmax, argmax),
            "by blocks, later block wins a tie": lambda x: x.shape[-1] - 1 - argmax_by_blocks(x.flip(-1)),
        },
    ),
    Operator(
        "count of positives", ROWS, draw_small, positives, positives,
        honest={"by blocks": lambda x: torch.stack([(p > 0).sum(-1) for p in lane_pieces(x, 32)]).sum(0),
                "via float": lambda x: (x > 0).float().sum(-1).long()},
        mutants={
            "not negative": lambda x: (x >= 0).sum(-1),
            "last element not seen": lambda x: positives(x[..., :-1]),
            "not zero": lambda x: (x != 0).sum(-1),
            "in eight bits": lambda x: (x > 0).sum(-1).to(torch.uint8).long(),
            "last row: not negative": spoiled_last_row(lambda x: (x >= 0).sum(-1), positives),
        },
    ),
)  # fmt: skip

OPERATORS = FLOATING + EXACT + INTEGERS
