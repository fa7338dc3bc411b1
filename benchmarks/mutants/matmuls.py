"""Matrix products: a running fp32 accumulator over blocks of k, as a GPU's loop over tiles has it."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    Function,
    Operator,
    Shape,
    Tensor,
    at,
    bf16,
    f16,
    integers,
    normal,
    tf32,
)  # fmt: skip

SHAPES = ((1, 17, 5), (33, 65, 17), (64, 300, 40), (192, 640, 160))


def draw(dtype: torch.dtype) -> Any:
    """``a`` of m × k and ``b`` of k × n."""
    return lambda generator, m, k, n: {
        "a": normal(generator, m, k, dtype=dtype),
        "b": normal(generator, k, n, dtype=dtype),
    }


def product(a: Tensor, b: Tensor, block: int = 16, rounded: Function | None = None) -> Tensor:
    """Block by block of k; ``rounded`` is applied to the accumulator after each. Leading dimensions are batches."""
    total = a.new_zeros((*a.shape[:-1], b.shape[-1]))
    for low in range(0, a.shape[-1], block):
        total = total + a[..., low : low + block] @ b[..., low : low + block, :]
        if rounded is not None:
            total = rounded(total)
    return total


def chain(a: Tensor, b: Tensor) -> Tensor:
    """One k after the other: the chain of multiply-adds of a kernel without tensor cores."""
    return product(a, b, 1)


def split_k(a: Tensor, b: Tensor, parts: int = 4) -> Tensor:
    """Stretches of k on several blocks of threads, added at the end."""
    bounds = torch.arange(a.shape[-1]).tensor_split(parts)
    return sum((product(a[..., part], b[..., part, :]) for part in bounds if len(part)), start=torch.zeros(()))


def reversed_k(a: Tensor, b: Tensor) -> Tensor:
    return product(a.flip(-1), b.flip(-2))


def short_k(a: Tensor, b: Tensor, share: float = 0.01) -> Tensor:
    """Without the last ``share`` of k."""
    kept = max(1, a.shape[-1] - max(1, round(a.shape[-1] * share)))
    return product(a[..., :kept], b[..., :kept, :])


def whole_blocks(a: Tensor, b: Tensor, block: int = 16) -> Tensor:
    """Without the ragged block at the end, where there is one."""
    kept = max(block, a.shape[-1] // block * block)
    return product(a[..., :kept], b[..., :kept, :])


def product_mutants(dtype: torch.dtype, result: torch.dtype) -> dict[str, Function]:
    mutants: dict[str, Function] = {
        "last 1 % of k dropped": at(result, short_k),
        "last k dropped": at(result, lambda a, b: short_k(a, b, 0.0)),
        "ragged block of k dropped": at(result, whole_blocks),
        "fp16 accumulator": at(result, lambda a, b: product(a, b, rounded=f16)),
        "bf16 accumulator": at(result, lambda a, b: product(a, b, rounded=bf16)),
        "last column of the neighbour": at(result, lambda a, b: product(a, torch.cat((b[:, :-1], b[:, -2:-1]), 1))),
    }
    if dtype == F32:
        mutants["tf32 inputs"] = at(result, lambda a, b: product(tf32(a), tf32(b)))
        mutants["bf16 inputs"] = at(result, lambda a, b: product(bf16(a), bf16(b)))
        mutants["one input in tf32"] = at(result, lambda a, b: product(tf32(a), b))
        mutants["three products of bf16 parts"] = at(result, three_products)
    if dtype == F16:
        mutants["bf16 inputs"] = at(result, lambda a, b: product(bf16(a), bf16(b)))
    return mutants


def three_products(a: Tensor, b: Tensor) -> Tensor:
    """fp32 out of bf16 pairs without the product of the rests: about 16 bits instead of 24."""
    high_a, high_b = bf16(a), bf16(b)
    low_a, low_b = bf16(a - high_a), bf16(b - high_b)
    return product(high_a, high_b) + (product(high_a, low_b) + product(low_a, high_b))


def matmul(name: str, dtype: torch.dtype, result: torch.dtype, native: Function, shapes: tuple[Shape, ...]) -> Operator:
    return Operator(
        name, shapes, draw(dtype), lambda a, b: a @ b, at(result, native),
        honest={
            "blocks of 32": at(result, lambda a, b: product(a, b, 32)),
            "blocks of 64": at(result, lambda a, b: product(a, b, 64)),
            "split in four": at(result, split_k),
            "k backwards": at(result, reversed_k),
            "the library's": at(result, lambda a, b: a @ b),
        },
        mutants=product_mutants(dtype, result),
    )  # fmt: skip


PLAIN = (
    matmul("matmul fp32", F32, F32, chain, SHAPES),
    matmul("matmul fp16", F16, F16, product, SHAPES),
    matmul("matmul bf16", BF16, BF16, product, SHAPES),
    matmul("matmul fp16 into fp32", F16, F32, product, SHAPES),
)


def draw_linear(generator: torch.Generator, m: int, k: int, n: int) -> dict[str, Any]:
    return {**draw(F16)(generator, m, k, n), "bias": normal(generator, n, dtype=F16, scale=4.0)}


def linear(a: Tensor, b: Tensor, bias: Tensor, times: Function = product) -> Tensor:
    return torch.relu(times(a, b) + bias)


LINEAR = Operator(
    "matmul, bias and relu fp16", SHAPES, draw_linear, lambda a, b, bias: torch.relu(a @ b + bias), at(F16, linear),
    honest={
        "accumulator starts from the bias": at(F16, lambda a, b, bias: torch.relu(torch.addmm(bias, a, b))),
        "split in four": at(F16, lambda a, b, bias: linear(a, b, bias, split_k)),
        "blocks of 64": at(F16, lambda a, b, bias: linear(a, b, bias, lambda a, b: product(a, b, 64))),
    },
    mutants={
        "bias missing": at(F16, lambda a, b, bias: torch.relu(product(a, b))),
        "relu before the bias": at(F16, lambda a, b, bias: torch.relu(product(a, b)) + bias),
        "no relu": at(F16, lambda a, b, bias: product(a, b) + bias),
        "bias shifted": at(F16, lambda a, b, bias: linear(a, b, bias.roll(1))),
        "fp16 accumulator": at(F16, lambda a, b, bias: linear(a, b, bias, lambda a, b: product(a, b, rounded=f16))),
        "last k dropped": at(F16, lambda a, b, bias: linear(a, b, bias, lambda a, b: short_k(a, b, 0.0))),
        "bias in bf16": at(F16, lambda a, b, bias: linear(a, b, bf16(bias))),
    },
)  # fmt: skip


def draw_batched(generator: torch.Generator, batches: int, m: int, k: int, n: int) -> dict[str, Any]:
    return {
        "a": normal(generator, batches, m, k, dtype=BF16),
        "b": normal(generator, batches, k, n, dtype=BF16),
    }


BATCHED = Operator(
    "batched matmul bf16", ((2, 3, 17, 5), (3, 33, 65, 17), (8, 64, 256, 64)), draw_batched,
    lambda a, b: a @ b, at(BF16, product),
    honest={
        "blocks of 64": at(BF16, lambda a, b: product(a, b, 64)),
        "split in four": at(BF16, split_k),
        "the library's": at(BF16, lambda a, b: torch.bmm(a, b)),
    },
    mutants={
        "last batch with the b before it": at(BF16, lambda a, b: product(a, torch.cat((b[:-1], b[-2:-1])))),
        "bf16 accumulator": at(BF16, lambda a, b: product(a, b, rounded=bf16)),
        "last 1 % of k dropped": at(BF16, short_k),
        "last k dropped": at(BF16, lambda a, b: short_k(a, b, 0.0)),
        "ragged block of k dropped": at(BF16, lambda a, b: whole_blocks(a, b, 32)),
        "batches reversed": at(BF16, lambda a, b: product(a, b.flip(0))),
    },
)  # fmt: skip


def draw_vector(generator: torch.Generator, m: int, k: int) -> dict[str, Any]:
    return {"a": normal(generator, m, k), "x": normal(generator, k)}


VECTOR = Operator(
    "matrix times vector fp32", ((3, 17), (33, 129), (300, 1000)), draw_vector,
    lambda a, x: a @ x, at(F32, lambda a, x: product(a, x[:, None], 32)[:, 0]),
    honest={
        "blocks of 64": at(F32, lambda a, x: product(a, x[:, None], 64)[:, 0]),
        "split in four": at(F32, lambda a, x: split_k(a, x[:, None])[:, 0]),
        "row by row": at(F32, lambda a, x: (a * x).sum(-1)),
    },
    mutants={
        "tf32 inputs": at(F32, lambda a, x: tf32(a) @ tf32(x)),
        "vector in fp16": at(F32, lambda a, x: a @ f16(x)),
        "last element dropped": at(F32, lambda a, x: a[:, :-1] @ x[:-1]),
        "last 1 % dropped": at(F32, lambda a, x: short_k(a, x[:, None])[:, 0]),
        "fp16 accumulator": at(F32, lambda a, x: product(a, x[:, None], rounded=f16)[:, 0]),
        "last row of the neighbour": at(F32, lambda a, x: torch.cat((a[:-1], a[-2:-1])) @ x),
    },
)  # fmt: skip


def draw_bytes(generator: torch.Generator, m: int, k: int, n: int) -> dict[str, Any]:
    return {
        "a": integers(generator, -128, 128, m, k, dtype=torch.int8),
        "b": integers(generator, -128, 128, k, n, dtype=torch.int8),
    }


def wide(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).to(torch.int32)


def short_accumulator(a: Tensor, b: Tensor) -> Tensor:
    """Sums kept in sixteen bits that wrap."""
    return wide(a, b).to(torch.int16).to(torch.int32)


BYTES = Operator(
    "matmul int8 into int32", SHAPES, draw_bytes, wide, wide,
    honest={
        "blocks": lambda a, b: sum((wide(a[:, i : i + 32], b[i : i + 32]) for i in range(0, a.shape[1], 32)), start=torch.zeros((), dtype=torch.int32)),
        "integers throughout": lambda a, b: a.int() @ b.int(),
    },
    mutants={
        "sixteen bits": short_accumulator,
        "saturating at 2^15": lambda a, b: wide(a, b).clamp(-(2**15), 2**15 - 1),
        "fp16 accumulator": lambda a, b: product(a.float(), b.float(), rounded=f16).nan_to_num().to(torch.int32),
        "unsigned a": lambda a, b: wide(a.view(torch.uint8), b),
        "last k dropped": lambda a, b: wide(a[:, :-1], b[:-1]),
        "-128 as -127": lambda a, b: wide(a.clamp(min=-127), b),
    },
)  # fmt: skip


def draw_quantised(generator: torch.Generator, m: int, k: int, n: int) -> dict[str, Any]:
    """Weights of four bits, groups of 16 along k, with a scale and a zero point each."""
    groups = k // 16
    return {
        "a": normal(generator, m, k, dtype=F16),
        "codes": integers(generator, 0, 16, k, n, dtype=torch.uint8),
        "scale": (0.5 + torch.rand(groups, n, generator=generator)).mul(0.05).to(F16),
        "zero": integers(generator, 6, 10, groups, n, dtype=torch.uint8),
    }


def weights(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (codes.to(scale.dtype) - zero.to(scale.dtype).repeat_interleave(16, 0)) * scale.repeat_interleave(16, 0)


def by_groups(a: Tensor, codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Each group's integers are multiplied first, its scale comes afterwards."""
    total = torch.zeros(a.shape[0], codes.shape[1])
    for group in range(scale.shape[0]):
        rows = slice(16 * group, 16 * group + 16)
        total = total + (a[:, rows] @ (codes[rows].float() - zero[group].float())) * scale[group]
    return total


QUANTISED = Operator(
    "matmul fp16 by int4 weights", ((1, 16, 5), (33, 64, 17), (64, 512, 96)), draw_quantised,
    lambda a, codes, scale, zero: a @ weights(codes, scale, zero),
    at(F16, lambda a, codes, scale, zero: product(a, weights(codes, scale, zero))),
    honest={
        "scale after each group": at(F16, by_groups),
        "blocks of 64": at(F16, lambda a, codes, scale, zero: product(a, weights(codes, scale, zero), 64)),
        "split in four": at(F16, lambda a, codes, scale, zero: split_k(a, weights(codes, scale, zero))),
    },
    mutants={
        "no zero point": at(F16, lambda a, codes, scale, zero: product(a, weights(codes, scale, 0 * zero + 8))),
        "scale of the next group": at(F16, lambda a, codes, scale, zero: product(a, weights(codes, scale.roll(1, 0), zero))),
        "scale in bf16": at(F16, lambda a, codes, scale, zero: product(a, weights(codes, bf16(scale), zero))),
        "weights in bf16": at(F16, lambda a, codes, scale, zero: product(a, bf16(weights(codes, scale, zero)))),
        "fp16 accumulator": at(F16, lambda a, codes, scale, zero: product(a, weights(codes, scale, zero), rounded=f16)),
        "code 15 as 14": at(F16, lambda a, codes, scale, zero: product(a, weights(codes.clamp(max=14), scale, zero))),
        "last k dropped": at(F16, lambda a, codes, scale, zero: short_k(a, weights(codes, scale, zero), 0.0)),
    },
)  # fmt: skip

OPERATORS = (*PLAIN, LINEAR, BATCHED, VECTOR, BYTES, QUANTISED)
