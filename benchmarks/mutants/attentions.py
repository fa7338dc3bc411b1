"""Attention: blocks of keys, an online softmax, probabilities rounded to the inputs' type before the second product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    LOG2E,
    Function,
    Operator,
    Shape,
    Tensor,
    at,
    bf16,
    exp2,
    f16,
    normal,
    poor_exp,
    tf32,
)  # fmt: skip


def same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class Recipe:
    """How attention is computed. ``hidden(queries, keys)`` is the mask, True where a key is not seen.

    ``weights`` rounds the probabilities before the second product, ``scores`` what the first one gave, ``sums`` the
    accumulator after every block.
    """

    block: int = 32
    exp: Function = torch.exp
    scale: float | None = None
    hidden: Function | None = None
    bias: Function | None = None
    weights: Function = same
    scores: Function = same
    sums: Function = same
    rescale: bool = True
    shift: bool = True
    keys_dropped: int = 0
    values_rolled: int = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(heads, 0), v.repeat_interleave(heads, 0).roll(self.values_rolled, 0)
        scores = self.scores(q @ k.mT * (self.scale or q.shape[-1] ** -0.5))
        if self.bias is not None:
            scores = scores + self.bias(*scores.shape).to(scores.dtype)
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden(*scores.shape[-2:]), -1e30)
        kept = max(1, scores.shape[-1] - self.keys_dropped)
        return self._online(scores[..., :kept], v[..., :kept, :])

    def _online(self, scores: Tensor, v: Tensor) -> Tensor:
        top = scores.new_full((*scores.shape[:-1], 1), -1e30)
        total, result = torch.zeros_like(top), scores.new_zeros((*scores.shape[:-1], v.shape[-1]))
        for low in range(0, scores.shape[-1], self.block):
            piece = scores[..., low : low + self.block]
            larger = torch.maximum(top, piece.amax(-1, keepdim=True)) if self.shift else torch.zeros_like(top)
            e = self.exp(piece - larger)
            shrink = self.exp(top - larger) if self.shift and self.rescale else torch.ones_like(top)
            total = total * shrink + e.sum(-1, keepdim=True)
            result = self.sums(result * shrink + self.weights(e) @ v[..., low : low + self.block, :])
            top = larger
        return result / total


def plain(q: Tensor, k: Tensor, v: Tensor, hidden: Function | None = None, bias: Function | None = None) -> Tensor:
    """The definition, for fp64 and as an honest variant."""
    heads = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(heads, 0), v.repeat_interleave(heads, 0)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias(*scores.shape).to(scores.dtype)
    if hidden is not None:
        scores = scores.masked_fill(hidden(*scores.shape[-2:]), -torch.inf)
    return torch.softmax(scores, -1) @ v


def draw(dtype: torch.dtype) -> Any:
    return lambda generator, heads, shared, queries, keys, size: {
        "q": normal(generator, heads, queries, size, dtype=dtype),
        "k": normal(generator, shared, keys, size, dtype=dtype),
        "v": normal(generator, shared, keys, size, dtype=dtype),
    }


def causal(queries: int, keys: int, more: int = 0) -> Tensor:
    """The last query sees every key; ``more`` keys beyond the diagonal are seen."""
    return torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1 + more)


def strictly_causal(queries: int, keys: int) -> Tensor:
    """Without the diagonal, but for the first key, which everybody sees."""
    hidden = causal(queries, keys, -1)
    hidden[:, 0] = False
    return hidden


def window(queries: int, keys: int, width: int = 48) -> Tensor:
    """Causal, and no further back than ``width`` keys."""
    return causal(queries, keys) | torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries - width)


def slopes(heads: int, queries: int, keys: int, first: int = 1) -> Tensor:
    """A penalty growing with distance, another slope for each head (ALiBi)."""
    rates = 2.0 ** -torch.arange(first, heads + first, dtype=torch.float32)
    return -rates[:, None, None] * (torch.arange(queries)[:, None] - torch.arange(keys)).abs()


def attention(
    name: str, dtype: torch.dtype, shapes: tuple[Shape, ...], more: dict[str, dict[str, Any]], **options: Any
) -> Operator:
    """``options``: mask and bias. ``more``: further mutants, by what they change of the recipe."""
    low = {F16: f16, BF16: bf16, F32: same}[dtype]
    native: dict[str, Any] = {"weights": low, **options}
    folded = LOG2E * shapes[0][-1] ** -0.5
    poorer = {F16: bf16, BF16: lambda x: x.to(torch.float8_e4m3fn).to(x.dtype), F32: tf32}[dtype]

    def made(**changes: Any) -> Function:
        return at(dtype, Recipe(**{**native, **changes}))

    mutants: dict[str, dict[str, Any]] = {
        "scale off by 1 %": {"scale": 1.01 * shapes[0][-1] ** -0.5},
        "last key dropped": {"keys_dropped": 1},
        "no rescaling of earlier blocks": {"rescale": False},
        "no maximum subtracted": {"shift": False},
        "poor exp": {"exp": poor_exp},
        "probabilities in a poorer type": {"weights": poorer},
        "fp16 accumulator": {"sums": f16},
        "bf16 scores": {"scores": bf16},
        **more,
    }
    return Operator(
        name, shapes, draw(dtype), lambda q, k, v: plain(q, k, v, **options), made(),
        honest={
            "blocks of 64": made(block=64),
            "blocks of 16": made(block=16),
            "exp2": made(exp=exp2),
            **({} if "bias" in options else {"scale with the log2(e) of exp2": made(exp=torch.exp2, scale=folded)}),
            "whole softmax, fp32 probabilities": at(dtype, lambda q, k, v: plain(q, k, v, **options)),
        },
        mutants={name: made(**changes) for name, changes in mutants.items()},
    )  # fmt: skip


SQUARE = ((1, 1, 5, 5, 32), (2, 2, 33, 33, 32), (4, 4, 161, 161, 32))

OPERATORS = (
    attention("attention fp16", F16, SQUARE, {"values of the head before": {"values_rolled": 1}}),
    attention(
        "causal attention bf16", BF16, SQUARE,
        {
            "one key too many": {"hidden": lambda q, k: causal(q, k, 1)},
            "one key too few": {"hidden": strictly_causal},
            "no mask": {"hidden": None},
        },
        hidden=causal,
    ),
    attention(
        "attention fp32", F32, SQUARE,
        {"exponentials in tf32": {"exp": lambda x: tf32(torch.exp(x))}, "scores in tf32": {"scores": tf32}},
    ),
    attention(
        "attention with slopes fp16", F16, ((2, 2, 5, 5, 32), (4, 4, 33, 33, 32), (4, 4, 129, 161, 32)),
        {
            "no slopes": {"bias": None},
            "slopes of the next head": {"bias": lambda h, q, k: slopes(h, q, k, 2)},
            "slopes steeper by 1 %": {"bias": lambda h, q, k: slopes(h, q, k) * 1.01},
        },
        bias=slopes,
    ),
    attention(
        "sliding window attention bf16", BF16, SQUARE,
        {
            "window wider by one": {"hidden": lambda q, k: window(q, k, 49)},
            "window narrower by one": {"hidden": lambda q, k: window(q, k, 47)},
            "no window": {"hidden": causal},
        },
        hidden=window,
    ),
    attention(
        "decoding with shared keys fp16", F16, ((4, 1, 1, 7, 64), (8, 2, 1, 130, 64), (32, 8, 4, 515, 64)),
        {"window of 512": {"hidden": lambda q, k: torch.arange(k).expand(q, k) < k - 512}},
    ),
)  # fmt: skip
