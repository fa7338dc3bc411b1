"""Scans: running sums, maxima and recurrences along a row."""

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
    bf16,
    f16,
    integers,
    normal,
    spoiled_last_row,
    tf32,
)  # fmt: skip

SHAPES = ((1, 7), (7, 129), (128, 700))


def doubling(x: Tensor) -> Tensor:
    """Hillis and Steele: log2(n) steps, as a block of threads scans."""
    step = 1
    while step < x.shape[-1]:
        x = torch.cat((x[..., :step], x[..., step:] + x[..., :-step]), -1)
        step *= 2
    return x


def by_blocks(x: Tensor, block: int = 64, carry: Function = lambda x: x, within: Function = doubling) -> Tensor:
    """A scan inside each block; ``carry`` of the sum so far goes on to the next."""
    done, before = [], torch.zeros_like(x[..., :1])
    for piece in x.split(block, dim=-1):
        done.append(within(piece) + before)
        before = carry(done[-1][..., -1:])
    return torch.cat(done, -1)


def forgetful(x: Tensor, block: int = 64) -> Tensor:
    """Each block gets the sum of the one before, and nothing of those before that."""
    done, before = [], torch.zeros_like(x[..., :1])
    for piece in x.split(block, dim=-1):
        done.append(doubling(piece) + before)
        before = piece.sum(-1, keepdim=True)
    return torch.cat(done, -1)


def exclusive(x: Tensor, scan: Function = by_blocks) -> Tensor:
    return scan(x).roll(1, -1).index_fill(-1, torch.tensor([0]), 0)


def sum_mutants(dtype: torch.dtype) -> dict[str, Function]:
    right = at(dtype, by_blocks)
    return {
        "exclusive": at(dtype, exclusive),
        "blocks not joined": at(dtype, lambda x: by_blocks(x, carry=torch.zeros_like)),
        "only the block before": at(dtype, forgetful),
        "carry in fp16": at(dtype, lambda x: by_blocks(x, carry=f16)),
        "carry in bf16": at(dtype, lambda x: by_blocks(x, carry=bf16)),
        "accumulated in fp16": at(dtype, by_blocks, F16),
        "last row backwards": spoiled_last_row(at(dtype, lambda x: by_blocks(x.flip(-1)).flip(-1)), right),
        "last element of the one before": at(
            dtype, lambda x: torch.cat((by_blocks(x)[..., :-1], by_blocks(x)[..., -2:-1]), -1)
        ),
    }


def running_sum(name: str, dtype: torch.dtype) -> Operator:
    return Operator(
        name, SHAPES, lambda generator, *shape: {"x": normal(generator, *shape, dtype=dtype)},
        lambda x: x.cumsum(-1), at(dtype, by_blocks),
        honest={
            "doubling": at(dtype, doubling),
            "blocks of 32": at(dtype, lambda x: by_blocks(x, 32)),
            "serial inside blocks": at(dtype, lambda x: by_blocks(x, 16, within=lambda p: p.cumsum(-1))),
            "in fp64": at(dtype, lambda x: x.double().cumsum(-1)),
        },
        mutants=sum_mutants(dtype),
    )  # fmt: skip


def draw_recurrence(generator: torch.Generator, rows: int, steps: int) -> dict[str, Any]:
    """``a`` in (0, 1): how much of the state is kept."""
    return {
        "a": torch.sigmoid(2 * torch.randn(rows, steps, generator=generator)),
        "b": normal(generator, rows, steps),
    }


def recurrence(a: Tensor, b: Tensor, state: Function = lambda h: h) -> Tensor:
    """h = a h + b, step by step; ``state`` rounds what is carried."""
    h, found = torch.zeros_like(b[..., 0]), []
    for step in range(b.shape[-1]):
        h = state(a[..., step] * h + b[..., step])
        found.append(h)
    return torch.stack(found, -1)


def recurrence_doubling(a: Tensor, b: Tensor) -> Tensor:
    """The same by an associative scan over pairs (a, b)."""
    step = 1
    while step < b.shape[-1]:
        late_a, late_b = a[..., step:], b[..., step:]
        b = torch.cat((b[..., :step], late_a * b[..., :-step] + late_b), -1)
        a = torch.cat((a[..., :step], late_a * a[..., :-step]), -1)
        step *= 2
    return b


def recurrence_by_chunks(a: Tensor, b: Tensor, chunk: int = 32, kept: float = 1.0) -> Tensor:
    h, found = torch.zeros_like(b[..., :1]), []
    for piece_a, piece_b in zip(a.split(chunk, -1), b.split(chunk, -1), strict=True):
        found.append(recurrence_doubling(piece_a, piece_b) + piece_a.cumprod(-1) * h * kept)
        h = found[-1][..., -1:]
    return torch.cat(found, -1)


RECURRENCE = Operator(
    "linear recurrence fp32", ((1, 7), (7, 65), (256, 256)), draw_recurrence, recurrence, at(F32, recurrence),
    honest={
        "associative scan": at(F32, recurrence_doubling),
        "chunks": at(F32, recurrence_by_chunks),
        "fused multiply-add": at(F32, lambda a, b: recurrence(a.double(), b.double(), lambda h: h.float().double())),
    },
    mutants={
        "state in bf16": at(F32, lambda a, b: recurrence(a, b, bf16)),
        "state in tf32": at(F32, lambda a, b: recurrence(a, b, tf32)),
        "a in fp16": at(F32, lambda a, b: recurrence(f16(a), b)),
        "chunks not joined": at(F32, lambda a, b: recurrence_by_chunks(a, b, kept=0.0)),
        "a one step late": at(F32, lambda a, b: recurrence(a.roll(1, -1), b)),
        "last step not taken": at(F32, lambda a, b: torch.cat((recurrence(a, b)[..., :-1], b[..., -1:]), -1)),
    },
)  # fmt: skip


def maxima_by_doubling(x: Tensor) -> Tensor:
    step = 1
    while step < x.shape[-1]:
        x = torch.cat((x[..., :step], torch.maximum(x[..., step:], x[..., :-step])), -1)
        step *= 2
    return x


def maxima_of_blocks(x: Tensor, block: int = 64, start: float = -torch.inf, joined: bool = True) -> Tensor:
    done, before = [], torch.full_like(x[..., :1], start)
    for piece in x.split(block, dim=-1):
        done.append(torch.maximum(maxima_by_doubling(piece), before))
        before = done[-1][..., -1:] if joined else before
    return torch.cat(done, -1)


EXACT = (
    Operator(
        "running maximum bf16", SHAPES, lambda generator, *shape: {"x": normal(generator, *shape, dtype=BF16)},
        lambda x: x.cummax(-1).values, maxima_of_blocks,
        honest={"doubling": maxima_by_doubling, "in fp32": at(BF16, lambda x: x.cummax(-1).values)},
        mutants={
            "starts from zero": lambda x: maxima_of_blocks(x, start=0.0),
            "blocks not joined": lambda x: maxima_of_blocks(x, joined=False),
            "of magnitudes": lambda x: maxima_by_doubling(x.abs()),
            "backwards": lambda x: maxima_by_doubling(x.flip(-1)).flip(-1),
            "last element its own": lambda x: torch.cat((maxima_by_doubling(x)[..., :-1], x[..., -1:]), -1),
        },
    ),
    Operator(
        "running count of flags", SHAPES, lambda generator, *shape: {"x": integers(generator, 0, 2, *shape, dtype=torch.int32)},
        lambda x: x.cumsum(-1, dtype=torch.int32), lambda x: x.cumsum(-1, dtype=torch.int32),
        honest={"doubling": doubling, "by blocks": by_blocks},
        mutants={
            "exclusive": lambda x: x.cumsum(-1, dtype=torch.int32) - x,
            "in eight bits": lambda x: x.cumsum(-1, dtype=torch.uint8).int(),
            "blocks not joined": lambda x: by_blocks(x, carry=torch.zeros_like),
            "last row: not summed": spoiled_last_row(lambda x: x, doubling),
        },
    ),
)  # fmt: skip

OPERATORS = (running_sum("running sum fp32", F32), running_sum("running sum fp16", F16), RECURRENCE, *EXACT)
