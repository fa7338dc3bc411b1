"""Changes of format: casts, quantising, dequantising, packed integers, arithmetic that wraps."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.mutants.kit import BF16, F16, F32, Operator, Tensor, at, bf16, f16, integers, normal

SHAPES = ((1, 8), (13, 78), (96, 1024))
STEP = 1 / 16


def toward_zero(x: Tensor) -> Tensor:
    """fp16 by cutting the mantissa."""
    nearest = x.half()
    too_large = nearest.float().abs() > x.abs()
    return torch.where(
        too_large, torch.nextafter(nearest.float(), torch.zeros(())).half().float(), nearest.float()
    ).half()


def cut(x: Tensor) -> Tensor:
    """bf16 by dropping the lower half of the bits."""
    return (x.view(torch.int32) & ~0xFFFF).view(F32).bfloat16()


def nearest_even(x: Tensor) -> Tensor:
    bits = x.view(torch.int32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & ~0xFFFF).view(F32).bfloat16()


def away_from_zero_bf16(x: Tensor) -> Tensor:
    return ((x.view(torch.int32) + 0x8000) & ~0xFFFF).view(F32).bfloat16()


CASTS = (
    Operator(
        "cast fp32 to bf16", SHAPES, lambda generator, *shape: {"x": normal(generator, *shape)},
        lambda x: x, lambda x: x.bfloat16(),
        honest={"bits, to nearest even": nearest_even, "through fp64": lambda x: x.double().bfloat16()},
        mutants={
            "bits cut off": cut,
            "through fp16": lambda x: x.half().bfloat16(),
            "through ten bits cut": lambda x: (x.view(torch.int32) & ~0x1FFF).view(F32).bfloat16(),
            "saturating at 100": lambda x: x.clamp(-100, 100).bfloat16(),
            "small values flushed": lambda x: torch.where(x.abs() < 1e-4, 0.0, x).bfloat16(),
        },
    ),
    Operator(
        "cast bf16 to fp32", SHAPES, lambda generator, *shape: {"x": normal(generator, *shape, dtype=BF16)},
        lambda x: x, lambda x: x.float(),
        honest={"shifted bits": lambda x: (x.view(torch.int16).int() << 16).view(F32), "through fp64": lambda x: x.double().float()},
        mutants={
            "through fp16": lambda x: x.half().float(),
            "saturating at 100": lambda x: x.float().clamp(-100, 100),
            "scaled by 1 + 2⁻²³": lambda x: x.float() * (1 + 2**-23),
            "lowest bit lost": lambda x: (x.view(torch.int16) & ~1).view(BF16).float(),
        },
    ),
)  # fmt: skip


def draw_halves(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    """Multiples of half a step, so that ties are common."""
    return {"x": integers(generator, -300, 301, *shape, dtype=F32) * (STEP / 2)}


def quantised(x: Tensor) -> Tensor:
    return torch.round(x / STEP).clamp(-128, 127).to(torch.int8)


def draw_codes(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    return {
        "codes": integers(generator, -128, 128, rows, columns, dtype=torch.int8),
        "scale": torch.rand(rows, generator=generator) * 0.1 + 0.01,
        "zero": integers(generator, -10, 11, rows, dtype=torch.int8),
    }


def dequantised(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (codes.to(scale.dtype) - zero.to(scale.dtype)[:, None]) * scale[:, None]


def by_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of eight bits and a scale for each row, from the largest magnitude in it."""
    scale = x.abs().amax(-1) / 127
    return torch.round(x / scale[:, None]).to(torch.int8), scale


def by_rows_with(x: Tensor, divisor: float = 127.0, rounding: Any = torch.round) -> tuple[Tensor, Tensor]:
    """The same with the reciprocal once for each row."""
    largest = x.abs().amax(-1)
    return rounding(x * (divisor / largest)[:, None]).to(torch.int8), largest / divisor


def half_away(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def through_fp8(x: Tensor) -> Tensor:
    return x.clamp(-448, 448).to(torch.float8_e4m3fn).float()


QUANTISING = (
    Operator(
        "quantise to int8 by a fixed step", SHAPES, draw_halves, quantised, quantised,
        honest={"times the reciprocal": lambda x: torch.round(x * 16).clamp(-128, 127).to(torch.int8),
                "clamped first": lambda x: torch.round((x / STEP).clamp(-128, 127)).to(torch.int8)},
        mutants={
            "half away from zero": lambda x: half_away(x / STEP).clamp(-128, 127).to(torch.int8),
            "half up": lambda x: torch.floor(x / STEP + 0.5).clamp(-128, 127).to(torch.int8),
            "cut": lambda x: torch.trunc(x / STEP).clamp(-128, 127).to(torch.int8),
            "not clamped": lambda x: torch.round(x / STEP).to(torch.int32).to(torch.int8),
            "from -127": lambda x: quantised(x).clamp(min=-127),
        },
    ),
    Operator(
        "quantise rows to int8 by their maximum", SHAPES, lambda generator, *shape: {"x": normal(generator, *shape)},
        by_rows, by_rows,
        honest={"times the reciprocal": by_rows_with, "in fp64": lambda x: tuple(
            one if one.dtype == torch.int8 else one.float() for one in by_rows(x.double()))},
        mutants={
            "by 128": lambda x: by_rows_with(x, 128.0, lambda y: torch.round(y).clamp(-128, 127)),
            "cut": lambda x: by_rows_with(x, rounding=torch.trunc),
            "maximum without magnitude": lambda x: (torch.round(x / (x.amax(-1) / 127)[:, None]).clamp(-128, 127).to(torch.int8), x.amax(-1) / 127),
            "one scale for all": lambda x: (torch.round(x / (x.abs().amax() / 127)).to(torch.int8), (x.abs().amax() / 127).expand(len(x)).clone()),
            "scale in fp16": lambda x: (by_rows(x)[0], f16(by_rows(x)[1])),
        },
    ),
    Operator(
        "dequantise int8 with scale and zero fp16", SHAPES, draw_codes, dequantised, at(F16, dequantised),
        honest={
            "fused": at(F16, lambda codes, scale, zero: codes.float() * scale[:, None] - (zero.float() * scale)[:, None]),
            "integer difference": at(F16, lambda codes, scale, zero: (codes.int() - zero.int()[:, None]).float() * scale[:, None]),
        },
        mutants={
            "no zero": at(F16, lambda codes, scale, zero: dequantised(codes, scale, 0 * zero)),
            "difference in int8": at(F16, lambda codes, scale, zero: (codes - zero[:, None]).float() * scale[:, None]),
            "scale in fp16": at(F16, lambda codes, scale, zero: dequantised(codes, f16(scale), zero)),
            "scale in bf16": at(F16, lambda codes, scale, zero: dequantised(codes, bf16(scale), zero)),
            "unsigned": at(F16, lambda codes, scale, zero: dequantised(codes.view(torch.uint8), scale, zero)),
            "scale of the next row": at(F16, lambda codes, scale, zero: dequantised(codes, scale.roll(1), zero)),
        },
    ),
    Operator(
        "fp32 through fp8 with a scale", SHAPES, lambda generator, *shape: {"x": normal(generator, *shape)},
        lambda x: through_fp8(x.float() * 64).to(x.dtype) / 64, lambda x: through_fp8(x * 64) / 64,
        honest={"times the reciprocal": lambda x: through_fp8(x * 64) * (1 / 64), "clamped before scaling": lambda x: through_fp8(x.clamp(-7, 7) * 64) / 64},
        mutants={
            "other fp8": lambda x: (x * 64).clamp(-448, 448).to(torch.float8_e5m2).float() / 64,
            "overflow is not a number": lambda x: torch.where(x.abs() > 7.25, torch.nan, through_fp8(x * 64) / 64),
            "clamped at 240": lambda x: through_fp8((x * 64).clamp(-240, 240)) / 64,
            "scale 32": lambda x: through_fp8(x * 32) / 32,
            "no rounding": lambda x: x.clamp(-7, 7),
        },
    ),
)  # fmt: skip


def draw_packed(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    return {"packed": integers(generator, 0, 256, rows, columns, dtype=torch.uint8)}


def unpacked(packed: Tensor) -> Tensor:
    """Two signed numbers of four bits from each byte, the lower first."""
    low, high = (packed & 15).to(torch.int8), (packed >> 4).to(torch.int8)
    return torch.stack(tuple(torch.where(n > 7, n - 16, n) for n in (low, high)), -1).flatten(-2)


def unpacked_by_shifts(packed: Tensor) -> Tensor:
    signed = packed.view(torch.int8)
    return torch.stack(((signed << 4) >> 4, signed >> 4), -1).flatten(-2)


def draw_bytes(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    return {name: integers(generator, 0, 256, *shape, dtype=torch.uint8) for name in ("a", "b")}


INTEGERS = (
    Operator(
        "unpack int4", SHAPES, draw_packed, unpacked, unpacked,
        honest={"arithmetic shifts": unpacked_by_shifts, "by exclusive or": lambda packed: ((torch.stack((packed & 15, packed >> 4), -1).flatten(-2) ^ 8).to(torch.int8) - 8)},
        mutants={
            "upper first": lambda packed: unpacked((packed << 4) | (packed >> 4)),
            "unsigned": lambda packed: torch.stack((packed & 15, packed >> 4), -1).flatten(-2).to(torch.int8),
            "sign of the lower only": lambda packed: torch.stack((unpacked(packed)[..., ::2], (packed >> 4).to(torch.int8)), -1).flatten(-2),
            "-8 as -7": lambda packed: unpacked(packed).clamp(min=-7),
            "halves, not pairs": lambda packed: torch.cat((unpacked(packed)[..., ::2], unpacked(packed)[..., 1::2]), -1),
        },
    ),
    Operator(
        "sum of bytes that wraps", SHAPES, draw_bytes, lambda a, b: a + b, lambda a, b: a + b,
        honest={"wide, then masked": lambda a, b: ((a.int() + b.int()) & 255).to(torch.uint8), "a minus minus b": lambda a, b: a - (0 - b)},
        mutants={
            "saturating": lambda a, b: (a.int() + b.int()).clamp(max=255).to(torch.uint8),
            "signed saturating": lambda a, b: (a.view(torch.int8).int() + b.view(torch.int8).int()).clamp(-128, 127).to(torch.int8).view(torch.uint8),
            "modulo 255": lambda a, b: ((a.int() + b.int()) % 255).to(torch.uint8),
            "exclusive or": lambda a, b: a ^ b,
        },
    ),
)  # fmt: skip

OPERATORS = CASTS + QUANTISING + INTEGERS
