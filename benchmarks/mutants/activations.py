"""Elementwise activations: one input, one output, computed in fp32 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    exp2,
    f16,
    normal,
    poor_exp,
    tf32,
)

Scalar = Callable[[Tensor], Tensor]
SHAPES = ((1, 7), (13, 77), (64, 257), (96, 1024))
ROOT_HALF = math.sqrt(0.5)
ROOT_2_PI = math.sqrt(2 / math.pi)


def activation(
    name: str,
    dtype: torch.dtype,
    reference: Scalar,
    native: Scalar,
    honest: dict[str, Scalar],
    mutants: dict[str, Scalar],
    low: torch.dtype | None = None,
) -> Operator:
    """All are functions of an fp32 tensor. ``low``: one more mutant is ``native`` computed throughout in that type."""
    poor: dict[str, Function] = {name: at(dtype, function) for name, function in mutants.items()}
    if low is not None:
        poor[f"computed in {str(low).removeprefix('torch.')}"] = at(dtype, native, low)
    return Operator(
        name=name,
        shapes=SHAPES,
        draw=lambda generator, *shape: {"x": normal(generator, *shape, dtype=dtype, scale=2.0)},
        reference=lambda x: reference(x),
        native=at(dtype, native),
        honest={name: at(dtype, function) for name, function in honest.items()},
        mutants=poor,
    )


def gelu(x: Tensor, erf: Scalar = torch.erf) -> Tensor:
    return 0.5 * x * (1 + erf(x * ROOT_HALF))


def erf_of_three_terms(x: Tensor) -> Tensor:
    """Abramowitz and Stegun 7.1.25, off by up to 2.5e-5."""
    t = 1 / (1 + 0.47047 * x.abs())
    poly = t * (0.3480242 + t * (-0.0958798 + t * 0.7478556))
    return torch.sign(x) * (1 - poly * torch.exp(-x * x))


def gelu_tanh(x: Tensor, tanh: Scalar = torch.tanh, cubic: float = 0.044715) -> Tensor:
    return 0.5 * x * (1 + tanh(ROOT_2_PI * (x + cubic * x * x * x)))


def gelu_sigmoid(x: Tensor, exp: Scalar = torch.exp) -> Tensor:
    """The same function: (1 + tanh u) / 2 is the sigmoid of 2u."""
    return x / (1 + exp(-2 * ROOT_2_PI * (x + 0.044715 * x * x * x)))


def rational_tanh(x: Tensor) -> Tensor:
    """A Padé approximant, clipped; off by up to 2e-2."""
    return (x * (27 + x * x) / (27 + 9 * x * x)).clamp(-1, 1)


def silu(x: Tensor, exp: Scalar = torch.exp) -> Tensor:
    return x / (1 + exp(-x))


def sigmoid(x: Tensor, exp: Scalar = torch.exp) -> Tensor:
    return 1 / (1 + exp(-x))


def sigmoid_two_sided(x: Tensor) -> Tensor:
    e = torch.exp(-x.abs())
    return torch.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x: Tensor) -> Tensor:
    return torch.where(x > 20, x, torch.log1p(torch.exp(x)))


def softplus_folded(x: Tensor, exp: Scalar = torch.exp) -> Tensor:
    return x.clamp(min=0) + torch.log1p(exp(-x.abs()))


def tanh_of_expm1(x: Tensor) -> Tensor:
    e = torch.expm1(-2 * x.abs())
    return torch.sign(x) * (-e / (e + 2))


def mish(x: Tensor, tanh: Scalar = torch.tanh) -> Tensor:
    return x * tanh(softplus_folded(x))


def mish_rational(x: Tensor, exp: Scalar = torch.exp) -> Tensor:
    """tanh(log(1 + e)) is (e² + 2e) / (e² + 2e + 2)."""
    e = exp(x.clamp(max=20))
    n = e * (e + 2)
    return torch.where(x > 20, x, x * (n / (n + 2)))


def hardswish(x: Tensor) -> Tensor:
    return x * (x + 3).clamp(0, 6) / 6


OPERATORS = (
    activation(
        "gelu fp16", F16, functional.gelu, gelu,
        honest={
            "erfc of the negative": lambda x: 0.5 * x * torch.erfc(-x * ROOT_HALF),
            "product last": lambda x: x * (0.5 * torch.erf(x * ROOT_HALF) + 0.5),
            "in fp64": lambda x: gelu(x.double()),
        },
        mutants={
            "tanh form instead of erf": gelu_tanh,
            "sigmoid of 1.702 x": lambda x: x * torch.sigmoid(1.702 * x),
            "erf of three terms": lambda x: gelu(x, erf_of_three_terms),
            "erf in fp16": lambda x: gelu(x, lambda y: f16(torch.erf(f16(y)))),
            "identity above 2.5": lambda x: torch.where(x > 2.5, x, gelu(x)),
        },
    ),
    activation(
        "gelu tanh fp32", F32, lambda x: functional.gelu(x, approximate="tanh"), gelu_sigmoid,
        honest={
            "exp2": lambda x: gelu_sigmoid(x, exp2),
            "torch.sigmoid": lambda x: x * torch.sigmoid(2 * ROOT_2_PI * (x + 0.044715 * x * x * x)),
            "factored cube": lambda x: x * torch.sigmoid(x * (2 * ROOT_2_PI + 2 * ROOT_2_PI * 0.044715 * (x * x))),
        },
        mutants={
            "erf form": gelu,
            "constant 0.0447": lambda x: gelu_tanh(x, cubic=0.0447),
            "rational tanh": lambda x: gelu_tanh(x, rational_tanh),
            "tf32 inside": lambda x: x * torch.sigmoid(tf32(2 * ROOT_2_PI * (x + 0.044715 * x * x * x))),
            "poor exp": lambda x: gelu_sigmoid(x, poor_exp),
        },
        low=F16,
    ),
    activation(
        "silu bf16", BF16, functional.silu, silu,
        honest={
            "exp2": lambda x: silu(x, exp2),
            "times reciprocal": lambda x: x * (1 / (1 + torch.exp(-x))),
            "torch.sigmoid": lambda x: x * torch.sigmoid(x),
        },
        mutants={
            "hard sigmoid": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
            "sigmoid of 1.01 x": lambda x: x * torch.sigmoid(1.01 * x),
            "sigmoid rounded to bf16": lambda x: x * bf16(torch.sigmoid(x)),
            "identity above 4": lambda x: torch.where(x > 4, x, silu(x)),
        },
        low=BF16,
    ),
    activation(
        "sigmoid fp32", F32, torch.sigmoid, sigmoid,
        honest={"exp2": lambda x: sigmoid(x, exp2), "two-sided": sigmoid_two_sided, "torch.sigmoid": torch.sigmoid},
        mutants={
            "unstable quotient": lambda x: torch.exp(x) / (1 + torch.exp(x)),
            "poor exp": lambda x: sigmoid(x, poor_exp),
            "tf32 exp": lambda x: sigmoid(x, lambda y: tf32(torch.exp(y))),
            "rational tanh": lambda x: 0.5 + 0.5 * rational_tanh(x / 2),
            "zero below -6": lambda x: torch.where(x < -6, 0.0, sigmoid(x)),
        },
        low=F16,
    ),
    activation(
        "softplus fp32", F32, lambda x: functional.softplus(x, threshold=1000), softplus,
        honest={
            "folded": softplus_folded,
            "folded, exp2": lambda x: softplus_folded(x, exp2),
            "logaddexp": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        },
        mutants={
            "log(1 + e) without log1p": lambda x: x.clamp(min=0) + torch.log(1 + torch.exp(-x.abs())),
            "no threshold": lambda x: torch.log1p(torch.exp(x)),
            "threshold 6": lambda x: torch.where(x > 6, x, softplus(x)),
            "poor exp": lambda x: softplus_folded(x, poor_exp),
            "relu below -5": lambda x: torch.where(x < -5, 0.0, softplus(x)),
        },
        low=F16,
    ),
    activation(
        "tanh fp32", F32, torch.tanh, torch.tanh,
        honest={"expm1 form": tanh_of_expm1, "in fp64": lambda x: torch.tanh(x.double())},
        mutants={
            "rational": rational_tanh,
            "1 - 2/(e + 1)": lambda x: 1 - 2 / (torch.exp(2 * x) + 1),
            "rounded to eleven bits": lambda x: f16(torch.tanh(x)),
            "one above 3": lambda x: torch.where(x > 3, 1.0, torch.tanh(x)),
            "x near zero": lambda x: torch.where(x.abs() < 0.01, x, torch.tanh(x)),
        },
    ),
    activation(
        "mish fp16", F16, functional.mish, mish,
        honest={
            "rational": mish_rational,
            "rational, exp2": lambda x: mish_rational(x, exp2),
            "tanh by expm1": lambda x: mish(x, tanh_of_expm1),
        },
        mutants={
            "silu": silu,
            "rational without clamp": lambda x: x * (torch.exp(x) * (torch.exp(x) + 2))
            / (torch.exp(x) * (torch.exp(x) + 2) + 2),
            "poor exp": lambda x: mish_rational(x, poor_exp),
            "tanh in fp16": lambda x: mish(x, lambda y: f16(torch.tanh(f16(y)))),
            "rational tanh": lambda x: mish(x, rational_tanh),
        },
        low=F16,
    ),
    activation(
        "hardswish fp32", F32, functional.hardswish, hardswish,
        honest={
            "times a sixth": lambda x: x * ((x + 3).clamp(0, 6) * (1 / 6)),
            "fused": lambda x: x * (x * (1 / 6) + 0.5).clamp(0, 1),
        },
        mutants={
            "no upper clamp": lambda x: x * (x + 3).clamp(min=0) / 6,
            "corner at 2.99": lambda x: x * (x + 2.99).clamp(0, 6) / 6,
            "sixth as 0.1667": lambda x: x * (x + 3).clamp(0, 6) * 0.1667,
            "tf32 gate": lambda x: x * tf32((x + 3).clamp(0, 6)) / 6,
        },
        low=F16,
    ),
    activation(
        "relu fp16", F16, torch.relu, torch.relu,
        honest={"maximum": lambda x: torch.maximum(x, torch.zeros_like(x)), "select": lambda x: x * (x > 0)},
        mutants={
            "leaky": lambda x: functional.leaky_relu(x, 0.001),
            "clipped at 6": lambda x: x.clamp(0, 6),
            "through bf16": lambda x: bf16(torch.relu(x)),
            "cut at 1e-3": lambda x: torch.where(x > 1e-3, x, 0.0),
        },
    ),
    activation(
        "exp of a clipped input bf16", BF16, lambda x: torch.exp(x.clamp(-10, 10)), lambda x: torch.exp(x.clamp(-10, 10)),
        honest={
            "exp2": lambda x: exp2(x.clamp(-10, 10)),
            "clipped after": lambda x: torch.exp(x).clamp(math.exp(-10), math.exp(10)),
        },
        mutants={
            "not clipped": torch.exp,
            "first four terms below 0.5": lambda x: torch.where(
                x.abs() < 0.5, 1 + x + x * x / 2 + x * x * x / 6, torch.exp(x.clamp(-10, 10))
            ),
            "power of 2.72": lambda x: torch.exp2(x.clamp(-10, 10) * math.log2(2.72)),
            "bf16 exponent": lambda x: torch.exp2(bf16(x.clamp(-10, 10) * math.log2(math.e))),
        },
    ),
)  # fmt: skip
