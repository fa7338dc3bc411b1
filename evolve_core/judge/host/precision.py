"""How much precision a task asks for: the user's policy, by what a kernel may round its inputs to.

Under ``strict``, which is what a task has that says nothing, the user's own kernel is the measure. Under ``tf32`` and
``fast`` an output may also be as far from the truth as reference() is when its fp32 inputs were rounded first, to tf32
and to bfloat16: what tensor cores do to them. Those of sm_90 drop the bits that tf32 has not, so that counts, too. All
the rest of the rule stays; what a kernel rounds between two products is not among it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from .copies import clone

Named = list[tuple[str, Any]]

_TF32_DROPPED_BITS = 13
"""tf32 keeps 10 of fp32's 23 bits of mantissa (PTX ISA, ``.tf32``)."""
STRICT = "strict"


def in_tf32(value: Any) -> Any:
    """An fp32 tensor rounded to nearest, ties to even, still as fp32; infinities, NaN and anything else stay."""
    if not (isinstance(value, torch.Tensor) and value.dtype is torch.float32):
        return value
    bits = value.contiguous().view(torch.int32)
    half = (1 << (_TF32_DROPPED_BITS - 1)) - 1
    rounded = (bits + half + ((bits >> _TF32_DROPPED_BITS) & 1)) & -(1 << _TF32_DROPPED_BITS)
    return torch.where(torch.isfinite(value), rounded.view(torch.float32), value)


def cut_to_tf32(value: Any) -> Any:
    """An fp32 tensor without the bits that tf32 has not, still as fp32; infinities, NaN and anything else stay."""
    if not (isinstance(value, torch.Tensor) and value.dtype is torch.float32):
        return value
    cut = value.contiguous().view(torch.int32) & -(1 << _TF32_DROPPED_BITS)
    return torch.where(torch.isfinite(value), cut.view(torch.float32), value)


def in_bfloat16(value: Any) -> Any:
    """An fp32 tensor rounded to bfloat16, still as fp32; anything else as it is."""
    if not (isinstance(value, torch.Tensor) and value.dtype is torch.float32):
        return value
    return value.to(torch.bfloat16).to(torch.float32)


POLICIES: dict[str, tuple[Callable[[Any], Any], ...]] = {
    STRICT: (),
    "tf32": (in_tf32, cut_to_tf32),
    "fast": (in_tf32, cut_to_tf32, in_bfloat16),
}


def rounded_inputs(policy: str, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """``inputs`` in each way that ``policy`` lets a kernel round them; none where that changes nothing."""
    rounded = [{name: rounding(value) for name, value in inputs.items()} for rounding in POLICIES[policy]]
    return [one for one in rounded if any(one[name] is not value for name, value in inputs.items())]


def allowed(native: Named, truth: Named, coarse: Iterable[Named]) -> Named:
    """What candidates are measured by: ``native``, with one of ``coarse`` in its place where that is farthest from
    ``truth``.

    ``coarse`` is what reference() makes of rounded inputs. Types, shapes and strides are ``native``'s; outputs that are
    no floating-point tensors, or of which ``coarse`` has another shape, stay.
    """
    measure = native
    for given in coarse:
        triples = zip(measure, truth, given, strict=True)
        measure = [(name, _farther(own, right, wrong)) for (name, own), (_, right), (_, wrong) in triples]
    return measure


def _farther(own: Any, right: Any, wrong: Any) -> Any:
    if not (isinstance(own, torch.Tensor) and isinstance(wrong, torch.Tensor) and own.dtype.is_floating_point):
        return own
    if wrong.shape != own.shape:
        return own
    exact, rounded = right.to(torch.float64), wrong.to(own.dtype)
    off, own_off = (rounded.to(torch.float64) - exact).abs(), (own.to(torch.float64) - exact).abs()
    chosen = clone(own)
    # A comparison with NaN is false: what is no number stays the user's own.
    return chosen.copy_(torch.where(torch.isfinite(rounded) & (off > own_off), rounded, own))
