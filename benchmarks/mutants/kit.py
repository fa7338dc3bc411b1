"""What an operator of the study is, and the arithmetic that its implementations share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor
Function = Callable[..., Any]
Shape = tuple[int, ...]

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453


@dataclass(frozen=True, slots=True)
class Operator:
    """One function that GPU kernels implement, and programs that compute it rightly or not.

    ``draw(generator, *shape)`` makes the arguments, by name, of all the others. ``reference`` gets them widened to
    fp64. ``native`` stands for the user's own kernel. ``honest`` are kernels that a good engineer would take for it;
    each of ``mutants`` differs in function or in precision. ``teeth`` False: without the mutants of teeth.py.
    """

    name: str
    shapes: tuple[Shape, ...]
    draw: Callable[..., dict[str, Any]]
    reference: Function
    native: Function
    honest: Mapping[str, Function]
    mutants: Mapping[str, Function]
    teeth: bool = True


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = F32, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, generator=generator) * scale).to(dtype)


def integers(generator: torch.Generator, low: int, high: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.randint(low, high, shape, generator=generator).to(dtype)


def at(dtype: torch.dtype, function: Function, compute: torch.dtype = F32) -> Function:
    """``function`` on its floating-point arguments cast to ``compute``, every operation rounded to that type; results
    as ``dtype``.
    """

    def computed(**inputs: Any) -> Any:
        found = function(**{name: _cast(value, compute) for name, value in inputs.items()})
        return tuple(_cast(one, dtype) for one in found) if isinstance(found, tuple) else _cast(found, dtype)

    return computed


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def f16(x: Tensor) -> Tensor:
    """Rounded to fp16, kept in its own type."""
    return x.half().to(x.dtype)


def bf16(x: Tensor) -> Tensor:
    """Rounded to bf16, kept in its own type."""
    return x.bfloat16().to(x.dtype)


def tf32(x: Tensor) -> Tensor:
    """Rounded to the ten stored bits of mantissa that tensor cores read of an fp32 (PTX ISA, ``.tf32``)."""
    bits = x.float().contiguous().view(torch.int32)
    rounded = (bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF
    return torch.where(torch.isfinite(x), rounded.view(F32), x.float())


def exp2(x: Tensor) -> Tensor:
    """The exponential as GPUs have it in hardware: ``ex2`` of x·log2(e)."""
    return torch.exp2(x * LOG2E)


def poor_exp(x: Tensor) -> Tensor:
    """exp with a cubic for the fraction of the power of two: relative error about 1e-4."""
    scaled = x * LOG2E
    whole = torch.floor(scaled)
    part = scaled - whole
    return torch.ldexp(1 + part * (0.695556856 + part * (0.226173572 + part * 0.0781455737)), whole)


def tree_sum(x: Tensor) -> Tensor:
    """The last axis added in pairs, every addition rounded to the type of ``x``."""
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = torch.nn.functional.pad(x, (0, 1))
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]


def lane_sum(x: Tensor, lanes: int = 64) -> Tensor:
    """The last axis as a block of threads adds it: a running sum for each lane, then a tree over the lanes."""
    pieces = lane_pieces(x, lanes)
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return tree_sum(total)


def lane_pieces(x: Tensor, lanes: int, fill: float = 0.0) -> list[Tensor]:
    """The last axis in pieces of ``lanes`` elements, the last one filled up."""
    missing = -x.shape[-1] % lanes
    padded = torch.nn.functional.pad(x, (0, missing), value=fill) if missing else x
    return list(padded.split(lanes, dim=-1))


def without_tail(x: Tensor, share: float = 0.01) -> Tensor:
    """The last axis without its last ``share``: at least one element is gone where there are two."""
    length = x.shape[-1]
    return x[..., : max(1, length - max(1, round(length * share)))]


def last_row(wrong: Function, right: Function, **inputs: Any) -> Tensor:
    """What ``right`` computes, with the last row of what ``wrong`` does."""
    found = right(**inputs).clone()
    found[-1] = wrong(**inputs)[-1]
    return found


def spoiled_last_row(wrong: Function, right: Function) -> Function:
    """A kernel whose last row goes another way."""
    return lambda **inputs: last_row(wrong, right, **inputs)
