"""Functions of several tensors, element by element: gates, residuals, dropout, rotary embedding, Adam."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from benchmarks.mutants.kit import BF16, F16, F32, Operator, Tensor, at, bf16, exp2, f16, normal, poor_exp, tf32

SHAPES = ((1, 7), (13, 77), (64, 258), (96, 1024))
KEEP = 0.9


def two(dtype: torch.dtype) -> Any:
    return lambda generator, *shape: {
        "a": normal(generator, *shape, dtype=dtype),
        "b": normal(generator, *shape, dtype=dtype),
    }


def swiglu(a: Tensor, b: Tensor, exp: Any = torch.exp) -> Tensor:
    return a / (1 + exp(-a)) * b


def geglu(a: Tensor, b: Tensor) -> Tensor:
    return functional.gelu(a) * b


GATED = (
    Operator(
        "swiglu fp16", SHAPES, two(F16), lambda a, b: functional.silu(a) * b, at(F16, swiglu),
        honest={
            "exp2": at(F16, lambda a, b: swiglu(a, b, exp2)),
            "product first": at(F16, lambda a, b: (a * b) * torch.sigmoid(a)),
            "one quotient": at(F16, lambda a, b: (a * b) / (1 + torch.exp(-a))),
        },
        mutants={
            "gate and value exchanged": at(F16, lambda a, b: swiglu(b, a)),
            "poor exp": at(F16, lambda a, b: swiglu(a, b, poor_exp)),
            "gelu gate": at(F16, geglu),
            "gate rounded to bf16": at(F16, lambda a, b: bf16(functional.silu(a)) * b),
            "fp16 throughout": at(F16, swiglu, F16),
            "gate of 1.001 a": at(F16, lambda a, b: functional.silu(1.001 * a) * b),
        },
    ),
    Operator(
        "geglu bf16", SHAPES, two(BF16), geglu, at(BF16, geglu),
        honest={
            "product first": at(BF16, lambda a, b: (a * b) * (0.5 + 0.5 * torch.erf(a * 0.5**0.5))),
            "erfc": at(BF16, lambda a, b: 0.5 * a * b * torch.erfc(-a * 0.5**0.5)),
        },
        mutants={
            "tanh form": at(BF16, lambda a, b: functional.gelu(a, approximate="tanh") * b),
            "sigmoid form": at(BF16, lambda a, b: a * torch.sigmoid(1.702 * a) * b),
            "gate and value exchanged": at(BF16, lambda a, b: geglu(b, a)),
            "relu gate": at(BF16, lambda a, b: torch.relu(a) * b),
            "gate rounded to bf16": at(BF16, lambda a, b: bf16(functional.gelu(a)) * b),
        },
    ),
)  # fmt: skip


def draw_residual(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    return {
        "x": normal(generator, rows, columns, dtype=F16),
        "residual": normal(generator, rows, columns, dtype=F16),
        "bias": normal(generator, columns, dtype=F16),
    }


def residual_sum(x: Tensor, residual: Tensor, bias: Tensor) -> Tensor:
    return x + bias + residual


def draw_dropout(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    return {
        "x": normal(generator, *shape, dtype=F16),
        "keep": torch.rand(*shape, generator=generator) < KEEP,
    }


def dropout(x: Tensor, keep: Tensor, factor: float = 1 / KEEP) -> Tensor:
    return torch.where(keep, x * factor, 0.0)


def ragged_keep(keep: Tensor) -> Tensor:
    """The mask with every element of the last column kept."""
    wrong = keep.clone()
    wrong[:, -1] = True
    return wrong


JOINED = (
    Operator(
        "bias and residual fp16", SHAPES, draw_residual, residual_sum, at(F16, residual_sum),
        honest={
            "residual first": at(F16, lambda x, residual, bias: x + residual + bias),
            "sum of bias and residual first": at(F16, lambda x, residual, bias: x + (bias + residual)),
        },
        mutants={
            "bias missing": at(F16, lambda x, residual, bias: x + residual),
            "bias shifted": at(F16, lambda x, residual, bias: x + bias.roll(1) + residual),
            "last bias missing": at(F16, lambda x, residual, bias: x + residual + functional.pad(bias[:-1], (0, 1))),
            "rounded after the first sum": at(F16, residual_sum, F16),
            "residual in bf16": at(F16, lambda x, residual, bias: x + bias + bf16(residual)),
        },
    ),
    Operator(
        "dropout with a given mask fp16", SHAPES, draw_dropout,
        lambda x, keep: x * keep / KEEP, at(F16, dropout),
        honest={
            "divided": at(F16, lambda x, keep: torch.where(keep, x / KEEP, 0.0)),
            "mask as a factor": at(F16, lambda x, keep: x * (keep.float() * (1 / KEEP))),
        },
        mutants={
            "not rescaled": at(F16, lambda x, keep: dropout(x, keep, 1.0)),
            "mask inverted": at(F16, lambda x, keep: dropout(x, ~keep)),
            "last column always kept": at(F16, lambda x, keep: dropout(x, ragged_keep(keep))),
            "factor rounded to fp16": at(F16, lambda x, keep: dropout(x, keep, 1.111328125)),
            "factor rounded to bf16": at(F16, lambda x, keep: dropout(x, keep, 1.109375)),
            "mask ignored": at(F16, lambda x, keep: x / KEEP),
        },
    ),
)  # fmt: skip


def draw_rotary(generator: torch.Generator, tokens: int, heads: int, size: int) -> dict[str, Any]:
    pairs = torch.arange(size // 2, dtype=torch.float64)
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * 10000.0 ** (-2 * pairs / size)
    return {
        "x": normal(generator, tokens, heads, size, dtype=F16),
        "cos": torch.cos(angles).float(),
        "sin": torch.sin(angles).float(),
    }


def rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    c, s = cos[:, None], sin[:, None]
    return torch.cat((first * c - second * s, second * c + first * s), dim=-1)


def rotary_complex(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    turned = torch.complex(first, second) * torch.complex(cos, sin)[:, None]
    return torch.cat((turned.real, turned.imag), dim=-1)


def rotary_interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    c, s = cos[:, None], sin[:, None]
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack((even * c - odd * s, odd * c + even * s), dim=-1).flatten(-2)


def rotary_last_pair_still(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    out = rotary(x, cos, sin)
    half = x.shape[-1] // 2
    out[..., half - 1] = x[..., half - 1]
    return out


ROTARY = (
    Operator(
        "rotary embedding fp16", ((1, 1, 8), (7, 3, 22), (65, 4, 64), (128, 8, 128)), draw_rotary,
        rotary, at(F16, rotary),
        honest={
            "complex product": at(F16, rotary_complex),
            "fused multiply-add": at(F16, lambda x, cos, sin: rotary(x.double(), cos.double(), sin.double()).float()),
            "rotated half": at(
                F16,
                lambda x, cos, sin: x * cos.repeat(1, 2)[:, None]
                + torch.cat((-x.chunk(2, -1)[1], x.chunk(2, -1)[0]), -1) * sin.repeat(1, 2)[:, None],
            ),
        },
        mutants={
            "interleaved pairs": at(F16, rotary_interleaved),
            "turned the other way": at(F16, lambda x, cos, sin: rotary(x, cos, -sin)),
            "one position late": at(F16, lambda x, cos, sin: rotary(x, cos.roll(1, 0), sin.roll(1, 0))),
            "table in bf16": at(F16, lambda x, cos, sin: rotary(x, bf16(cos), bf16(sin))),
            "table in fp16": at(F16, lambda x, cos, sin: rotary(x, f16(cos), f16(sin))),
            "last pair not turned": at(F16, rotary_last_pair_still),
            "fp16 throughout": at(F16, rotary, F16),
        },
    ),
)  # fmt: skip

RATE, BETA1, BETA2, EPS, DECAY, STEP = 1e-3, 0.9, 0.999, 1e-8, 0.01, 10


def draw_adam(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    """A row of parameters that never had a gradient is among them, as in an embedding."""
    gradient = normal(generator, *shape, scale=1e-2)
    m, v = normal(generator, *shape, scale=1e-3), normal(generator, *shape, scale=1e-2).square()
    for one in (gradient, m, v):
        one[-1] = 0
    return {"p": normal(generator, *shape), "g": gradient, "m": m, "v": v}


def adam(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, eps: float = EPS, decay: float = DECAY, step: int = STEP,
    inside: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    m_hat, v_hat = m / (1 - BETA1**step), v / (1 - BETA2**step)
    root = torch.sqrt(v_hat + eps) if inside else torch.sqrt(v_hat) + eps
    return p - RATE * (m_hat / root + decay * p), m, v


def adam_folded(p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The corrections folded into the step size, the decay into a factor, moments by interpolation."""
    m = torch.lerp(m, g, 1 - BETA1)
    v = torch.addcmul(v * BETA2, g, g, value=1 - BETA2)
    root = v.sqrt() * (1 / (1 - BETA2**STEP) ** 0.5) + EPS
    return p * (1 - RATE * DECAY) - (RATE / (1 - BETA1**STEP)) * (m / root), m, v


ADAM = (
    Operator(
        "adam step fp32", ((2, 7), (13, 77), (64, 513)), draw_adam, adam, at(F32, adam),
        honest={
            "corrections folded": at(F32, adam_folded),
            "step in fp64": at(F32, adam, torch.float64),
        },
        mutants={
            "eps dropped": at(F32, lambda **inputs: adam(**inputs, eps=0.0)),
            "eps inside the root": at(F32, lambda **inputs: adam(**inputs, inside=True)),
            "no decay": at(F32, lambda **inputs: adam(**inputs, decay=0.0)),
            "bias correction of the next step": at(F32, lambda **inputs: adam(**inputs, step=STEP + 1)),
            "v in bf16": at(F32, lambda p, g, m, v: adam(p, g, m, bf16(v))),
            "gradient in tf32": at(F32, lambda p, g, m, v: adam(p, tf32(g), m, v)),
        },
    ),
)  # fmt: skip

OPERATORS = GATED + JOINED + ROTARY + ADAM
