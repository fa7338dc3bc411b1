"""Convolutions over blocks of taps or channels, pooling, and enlarging of images."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from benchmarks.mutants.kit import BF16, F16, F32, Function, Operator, Tensor, at, bf16, f16, lane_sum, normal, tf32


def draw(dtype: torch.dtype, size: int, grouped: bool = False, dimensions: int = 2) -> Any:
    """``shape``: images, channels, results' channels, then the image's sides. ``size`` is the filter's side."""

    def inputs(generator: torch.Generator, images: int, channels: int, results: int, *sides: int) -> dict[str, Any]:
        taps = (size,) * dimensions
        each = 1 if grouped else channels
        return {
            "x": normal(generator, images, channels, *sides, dtype=dtype),
            "weight": normal(generator, results, each, *taps, dtype=dtype),
            "bias": normal(generator, results, dtype=dtype, scale=3.0),
        }

    return inputs


def by_taps(x: Tensor, weight: Tensor, bias: Tensor, rounded: Function | None = None, skip: int = 0) -> Tensor:
    """Same-size 2-D convolution: a running sum over the taps of the filter, all channels at once."""
    edge = weight.shape[-1] // 2
    height, width = x.shape[-2:]
    padded = functional.pad(x, (edge, edge, edge, edge))
    total = x.new_zeros((x.shape[0], weight.shape[0], height, width))
    taps = [(i, j) for i in range(weight.shape[-2]) for j in range(weight.shape[-1])]
    for i, j in taps[: len(taps) - skip]:
        total = total + torch.einsum("nchw,oc->nohw", padded[..., i : i + height, j : j + width], weight[..., i, j])
        if rounded is not None:
            total = rounded(total)
    return total + bias[:, None, None]


def by_channels(x: Tensor, weight: Tensor, bias: Tensor, block: int = 8) -> Tensor:
    edge = weight.shape[-1] // 2
    total = torch.zeros(())
    for low in range(0, x.shape[1], block):
        part = slice(low, low + block)
        total = total + functional.conv2d(x[:, part], weight[:, part], padding=edge)
    return total + bias[:, None, None]


def library(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, skip: int = 0) -> Tensor:
    edge = weight.shape[-1] // 2
    height, width = x.shape[-2:]
    padded = functional.pad(x, (edge, edge, edge, edge))
    total = bias[:, None, None].expand(x.shape)
    taps = [(i, j) for i in range(weight.shape[-2]) for j in range(weight.shape[-1])]
    for i, j in taps[: len(taps) - skip]:
        total = total + padded[..., i : i + height, j : j + width] * weight[:, 0, i, j, None, None]
    return total


def causal_line(x: Tensor, weight: Tensor, bias: Tensor, late: int = 0) -> Tensor:
    """A depthwise convolution along time that sees only the past, as state-space models use; ``late``: off by it."""
    taps = weight.shape[-1]
    padded = functional.pad(x, (taps - 1 + late, 0))
    total = bias[:, None].expand(x.shape)
    for tap in range(taps):
        total = total + padded[..., tap : tap + x.shape[-1]] * weight[:, 0, tap, None]
    return total


CONVOLUTIONS = (
    Operator(
        "convolution 3 × 3 fp16", ((1, 3, 2, 5, 7), (2, 17, 8, 13, 11), (4, 64, 32, 24, 23)), draw(F16, 3), library,
        at(F16, by_taps),
        honest={"blocks of channels": at(F16, by_channels), "the library's": at(F16, library)},
        mutants={
            "fp16 accumulator": at(F16, lambda **inputs: by_taps(**inputs, rounded=f16)),
            "last tap dropped": at(F16, lambda **inputs: by_taps(**inputs, skip=1)),
            "last channel dropped": at(F16, lambda x, weight, bias: by_taps(x[:, :-1], weight[:, :-1], bias)),
            "filter turned": at(F16, lambda x, weight, bias: by_taps(x, weight.flip((-1, -2)), bias)),
            "edge repeated": at(F16, lambda x, weight, bias: functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), weight, bias)),
            "no bias": at(F16, lambda x, weight, bias: by_taps(x, weight, 0 * bias)),
            "inputs in bf16": at(F16, lambda x, weight, bias: by_taps(bf16(x), bf16(weight), bias)),
        },
    ),
    Operator(
        "convolution 1 × 1 fp32", ((1, 3, 2, 5, 7), (2, 33, 8, 13, 11), (2, 128, 64, 24, 24)), draw(F32, 1), library,
        at(F32, lambda x, weight, bias: by_channels(x, weight, bias, 16)),
        honest={
            "blocks of 8": at(F32, by_channels),
            "blocks of 32": at(F32, lambda x, weight, bias: by_channels(x, weight, bias, 32)),
            "the library's": at(F32, library),
        },
        mutants={
            "tf32 inputs": at(F32, lambda x, weight, bias: by_channels(tf32(x), tf32(weight), bias)),
            "filter in tf32": at(F32, lambda x, weight, bias: by_channels(x, tf32(weight), bias)),
            "last channel dropped": at(F32, lambda x, weight, bias: by_channels(x[:, :-1], weight[:, :-1], bias)),
            "no bias": at(F32, lambda x, weight, bias: by_channels(x, weight, 0 * bias)),
            "fp16 products": at(F32, lambda x, weight, bias: by_channels(f16(x), f16(weight), bias)),
        },
    ),
    Operator(
        "depthwise convolution 3 × 3 bf16", ((1, 3, 3, 5, 7), (2, 17, 17, 13, 11), (4, 32, 32, 31, 33)),
        draw(BF16, 3, grouped=True),
        lambda x, weight, bias: functional.conv2d(x, weight, bias, padding=1, groups=x.shape[1]), at(BF16, depthwise),
        honest={
            "bias last": at(BF16, lambda x, weight, bias: depthwise(x, weight, 0 * bias) + bias[:, None, None]),
            "the library's": at(BF16, lambda x, weight, bias: functional.conv2d(x, weight, bias, padding=1, groups=x.shape[1])),
        },
        mutants={
            "last tap dropped": at(BF16, lambda **inputs: depthwise(**inputs, skip=1)),
            "transposed filter": at(BF16, lambda x, weight, bias: depthwise(x, weight.mT, bias)),
            "filter of the next channel": at(BF16, lambda x, weight, bias: depthwise(x, weight.roll(1, 0), bias)),
            "no bias": at(BF16, lambda x, weight, bias: depthwise(x, weight, 0 * bias)),
            "bf16 throughout": at(BF16, depthwise, BF16),
        },
    ),
    Operator(
        "causal convolution along time fp16", ((1, 3, 3, 9), (2, 17, 17, 130), (4, 64, 64, 513)),
        draw(F16, 4, grouped=True, dimensions=1),
        lambda x, weight, bias: functional.conv1d(functional.pad(x, (3, 0)), weight, bias, groups=x.shape[1]),
        at(F16, causal_line),
        honest={
            "bias last": at(F16, lambda x, weight, bias: causal_line(x, weight, 0 * bias) + bias[:, None]),
            "the library's": at(F16, lambda x, weight, bias: functional.conv1d(functional.pad(x, (3, 0)), weight, bias, groups=x.shape[1])),
        },
        mutants={
            "one step late": at(F16, lambda **inputs: causal_line(**inputs, late=1)),
            "filter backwards": at(F16, lambda x, weight, bias: causal_line(x, weight.flip(-1), bias)),
            "oldest tap dropped": at(F16, lambda x, weight, bias: causal_line(x, weight[..., 1:], bias)),
            "state not cleared between images": at(F16, lambda x, weight, bias: causal_line(x.movedim(0, 1).flatten(1)[None], weight, bias)[0].unflatten(1, (len(x), -1)).movedim(1, 0).contiguous() if len(x) > 1 else causal_line(x, weight, bias)),
            "fp16 throughout": at(F16, causal_line, F16),
            "bias in bf16": at(F16, lambda x, weight, bias: causal_line(x, weight, bf16(bias))),
        },
    ),
)  # fmt: skip


def draw_image(dtype: torch.dtype) -> Any:
    return lambda generator, *shape: {"x": normal(generator, *shape, dtype=dtype)}


IMAGES = ((1, 2, 6, 4), (2, 7, 14, 26), (4, 24, 48, 50))


def pool(x: Tensor, order: tuple[int, ...] = (0, 1, 2, 3)) -> Tensor:
    corners = (x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2])
    a, b, c, d = (corners[i] for i in order)
    return (((a + b) + c) + d) * 0.25


def global_pool(x: Tensor) -> Tensor:
    return x.flatten(2).sum(-1) / (x.shape[-1] * x.shape[-2])


def enlarged(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def stretched(x: Tensor) -> Tensor:
    """One axis of the enlarged image: three quarters of the nearer element and one of the other."""
    before = torch.cat((x[..., :1], x[..., :-1]), -1)
    after = torch.cat((x[..., 1:], x[..., -1:]), -1)
    return torch.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), -1).flatten(-2)


def enlarged_by_axes(x: Tensor, rounded: Function = lambda x: x) -> Tensor:
    return stretched(rounded(stretched(x)).mT).mT.contiguous()


def largest_of_four(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2)


POOLING = (
    Operator(
        "largest of 2 × 2 fp16", IMAGES, draw_image(F16), largest_of_four, largest_of_four,
        honest={
            "rows first": lambda x: torch.maximum(x[..., ::2, :], x[..., 1::2, :]).unflatten(-1, (-1, 2)).amax(-1),
            "in fp32": at(F16, largest_of_four),
        },
        mutants={
            "three of four": lambda x: torch.maximum(torch.maximum(x[..., ::2, ::2], x[..., ::2, 1::2]), x[..., 1::2, ::2]),
            "starts from zero": lambda x: largest_of_four(x).clamp(min=0),
            "mean": lambda x: pool(x.float()).half(),
            "windows shifted by one": lambda x: largest_of_four(x.roll(1, -1)),
            "through bf16": lambda x: largest_of_four(x.bfloat16()).half(),
        },
    ),
    Operator(
        "mean of 2 × 2 fp16", IMAGES, draw_image(F16), lambda x: functional.avg_pool2d(x, 2), at(F16, pool),
        honest={
            "another order": at(F16, lambda x: pool(x, (3, 1, 2, 0))),
            "torch's": at(F16, lambda x: functional.avg_pool2d(x, 2)),
        },
        mutants={
            "fp16 sums": at(F16, pool, F16),
            "three of four": at(F16, lambda x: (x[..., ::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, ::2]) / 3),
            "divided by three": at(F16, lambda x: pool(x) * (4 / 3)),
            "rows rounded first": at(F16, lambda x: (f16((x[..., ::2, ::2] + x[..., ::2, 1::2]) / 2) + f16((x[..., 1::2, ::2] + x[..., 1::2, 1::2]) / 2)) / 2),
            "windows shifted by one": at(F16, lambda x: pool(x.roll(1, -1))),
        },
    ),
    Operator(
        "mean of each channel bf16", IMAGES, draw_image(BF16), lambda x: x.mean((-1, -2)), at(BF16, global_pool),
        honest={
            "rows first": at(BF16, lambda x: x.mean(-1).mean(-1)),
            "running sum": at(BF16, lambda x: x.flatten(2).cumsum(-1)[..., -1] * (1 / (x.shape[-1] * x.shape[-2]))),
        },
        mutants={
            "last image row dropped": at(BF16, lambda x: x[..., :-1, :].sum((-1, -2)) / (x.shape[-1] * x.shape[-2])),
            "last element dropped": at(BF16, lambda x: x.flatten(2)[..., :-1].sum(-1) / (x.shape[-1] * x.shape[-2])),
            "rows in bf16": at(BF16, lambda x: bf16(bf16(x.mean(-1))).mean(-1)),
            "accumulated in bf16": at(BF16, lambda x: lane_sum(x.flatten(2).bfloat16()).float() / (x.shape[-1] * x.shape[-2])),
            "maximum": at(BF16, lambda x: x.amax((-1, -2))),
        },
    ),
    Operator(
        "image enlarged twice fp16", ((1, 2, 6, 4), (2, 5, 13, 11), (2, 16, 24, 25)), draw_image(F16), enlarged,
        at(F16, enlarged_by_axes),
        honest={
            "torch's": at(F16, enlarged),
            "other axis first": at(F16, lambda x: stretched(stretched(x.mT).mT)),
        },
        mutants={
            "nearest": at(F16, lambda x: functional.interpolate(x, scale_factor=2)),
            "corners aligned": at(F16, lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
            "rounded between axes": at(F16, lambda x: enlarged_by_axes(x, f16)),
            "rounded to bf16 between axes": at(F16, lambda x: enlarged_by_axes(x, bf16)),
            "last column repeated": at(F16, lambda x: torch.cat((enlarged(x)[..., :-1], enlarged(x)[..., -2:-1]), -1)),
        },
    ),
)  # fmt: skip

OPERATORS = CONVOLUTIONS + POOLING
