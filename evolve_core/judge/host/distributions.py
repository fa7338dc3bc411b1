"""Values that a workload's own distribution hides things from: a dropped epsilon, a sum that overflows, a lost outlier,
a lost NaN, a sum in a poor type.

Only floating-point tensors change, and nothing of their shape or strides. A kernel need not stand every distribution:
one on which the user's own kernel fails is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .compare import Expectation, Outputs, compare_outputs
from .conditioning import moved_inputs, tame_inputs
from .copies import clone
from .deviations import parts_of
from .precision import Named, allowed
from .quantiles import rms
from .variations import (
    CANCELLING,
    EQUAL,
    LARGE,
    NEARLY_CONSTANT,
    OUTLIERS,
    SMALL,
    SPECIAL,
    ZEROS_AND_ONES,
    changed_values,
)

AS_DRAWN = "as drawn"
EVERYWHERE = (SMALL, LARGE, NEARLY_CONSTANT, OUTLIERS)
"""Tried on every workload that is checked on a GPU, and on one without."""
ONCE = (EQUAL, CANCELLING, ZEROS_AND_ONES, SPECIAL)
"""Tried on one workload. Only with reference(): the task never promised such values, so the truth must be certain."""
VARIED = (*EVERYWHERE, *ONCE)
OTHERWISE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    **dict.fromkeys((NEARLY_CONSTANT, EQUAL, CANCELLING, ZEROS_AND_ONES), moved_inputs),
    SPECIAL: tame_inputs,
}
"""Of these distributions the truth of other inputs is needed, too (conditioning.py)."""
_SOUND_SHARE = 0.05
_HEADROOM = 2.0
"""The two halves of a sum, taken in another order, may each exceed it; twice it is what they are given."""
_LUCK_EPS = 2.0**-18
"""32 eps of fp32. A copy moves by 5 eps as its inputs move (conditioning.py), a cube by 14."""
_LUCK_SHARE = 1 / 4
"""Of an eps of the output's type: what moves by less stays, mostly, the same value there."""


def distributions_on(number: int, count: int) -> tuple[str, ...]:
    """What is tried on the ``number``-th of ``count`` checked workloads, the smallest being the first.

    The middle one gets all: a row of one element has the same softmax whatever it holds, and large ones cost most.
    """
    return VARIED if number == count // 2 else EVERYWHERE


def vary(inputs: dict[str, Any], distribution: str) -> dict[str, Any]:
    """``inputs`` with values changed as ``distribution`` says (variations.py); the changed ones are copies."""
    if distribution == AS_DRAWN:
        return inputs
    changed = changed_values(inputs, distribution)
    return {name: clone(value).copy_(changed[name]) if name in changed else value for name, value in inputs.items()}


def measure_on(distribution: str, native: Named, truth: Named, otherwise: Named | None) -> Named:
    """What candidates are measured by: ``native``, or the truth of moved inputs, ``otherwise``, where that is farther
    from ``truth``. Where the user's own kernel has every bit of an output right, it stays the measure.
    """
    if otherwise is None or distribution == SPECIAL:
        return native
    farther = allowed(native, truth, [otherwise])
    return [
        own if _is_exact(own[1], right) else far for own, (_, right), far in zip(native, truth, farther, strict=True)
    ]


def expected_on(distribution: str, measure: Named, truth: Named, otherwise: Named | None) -> Expectation:
    """What is expected of candidates that are measured by ``measure``.

    On special values they may give NaN where the truth has something else, and anything where its NaN comes of an
    infinity: whether infinity meets zero, or another one, is a matter of the way (a compensated sum, a product with a
    mask). What is NaN because an input is may not get lost.
    """
    if distribution != SPECIAL or otherwise is None:
        return Expectation(truth, measure)
    pairs = [(right, other) for (_, right), (_, other) in zip(truth, otherwise, strict=True)]
    free = [
        parts_of(right).isnan() & ~parts_of(other).isnan() if isinstance(right, torch.Tensor) else None
        for right, other in pairs
    ]
    return Expectation(truth, measure, free)


def is_sound(native: Outputs, truth: Outputs, distribution: str = AS_DRAWN, otherwise: Outputs | None = None) -> bool:
    """Whether the values may be used: the truth stays within the outputs' types, and the user's own kernel stands them.

    It is compared with the rounded truth instead of itself: its own NaN must not excuse it. Outputs that are no tensors
    have no say. ``otherwise`` is the truth of the inputs of ``OTHERWISE``, None where there are none.
    """
    tensors = [isinstance(value, torch.Tensor) for _, value in native]
    given = (native, truth, truth if otherwise is None else otherwise)
    native, truth, otherwise = (_picked(one, tensors) for one in given)
    ideal = [(name, value.to(own.dtype)) for (name, own), (_, value) in zip(native, truth, strict=True)]
    if not all(_fits(value, rounded) for (_, value), (_, rounded) in zip(truth, ideal, strict=True)):
        return False
    if distribution == ZEROS_AND_ONES and any(bool((own != right).any()) for own, right in _values(native, truth)):
        return False  # They are for what is exact in any order, without rounding, and nothing special to what rounds.
    if distribution == SPECIAL and not all(_is_inexact(own) for _, own in native):
        return False  # What an integer is made of NaN is up to the machine.
    if not all(row["nonfinite_ok"] and _close(row) for row in compare_outputs(native, truth, ideal, False)):
        return False
    steady = _is_tame if distribution == SPECIAL else _is_steady
    return all(steady(*values) for values in _values(native, truth, otherwise) if _is_inexact(values[0]))


def _picked(named: Outputs, tensors: Sequence[bool]) -> Outputs:
    return [one for one, picked in zip(named, tensors, strict=True) if picked]


def _values(*named: Outputs) -> list[tuple[Any, ...]]:
    return list(zip(*([value for _, value in one] for one in named), strict=True))


def _is_inexact(value: Any) -> bool:
    return value.dtype.is_floating_point or value.dtype.is_complex


def _is_steady(own: torch.Tensor, truth: torch.Tensor, moved: torch.Tensor) -> bool:
    """Whether the truth hangs on more than the inputs' last bits.

    Where the user's own kernel is exact though they show, as a mean of equal values may be, that is luck, and no
    measure of others.
    """
    if truth.shape != moved.shape:
        return False
    right, other = parts_of(truth), parts_of(moved)
    finite = torch.isfinite(right)
    if not torch.equal(right[~finite].nan_to_num(), other[~finite].nan_to_num()) or not other[finite].isfinite().all():
        return False
    if not finite.any():
        return True
    off, size = float(rms((other - right)[finite])), float(rms(right[finite]))
    luck = max(_LUCK_EPS, _LUCK_SHARE * torch.finfo(own.dtype).eps)
    return off <= (luck if _is_exact(own, truth) else _SOUND_SHARE) * size


def _is_tame(own: torch.Tensor, truth: torch.Tensor, tame: torch.Tensor) -> bool:
    """Whether nothing hangs on the sign of a zero, nor on whether denormals are flushed."""
    if truth.shape != tame.shape:
        return False
    right, other = parts_of(truth), parts_of(tame)
    turned = right.isinf() & other.isinf() & (right != other)
    return not bool((turned | (right.isfinite() & ~other.isfinite())).any())


def _is_exact(own: Any, truth: Any) -> bool:
    """Whether a tensor has every bit of the truth; what is none has nothing to round."""
    if not isinstance(own, torch.Tensor):
        return True
    rounded = truth.to(own.dtype)
    return bool((torch.eq(own, rounded) | (own.isnan() & rounded.isnan())).all())


def _fits(truth: torch.Tensor, rounded: torch.Tensor) -> bool:
    """Whether what is finite in the truth stays finite in the output's type, with room for partial results.

    Next to the type's largest value the last bit of an fp32 sum decides between that value and infinity, and beyond it
    the order of operations between infinity and NaN: that the user's kernel agrees with the truth there is luck. An
    infinity or NaN of the truth itself must be met as ever.
    """
    if not rounded.dtype.is_floating_point:
        return True
    finite = torch.isfinite(truth)
    if not bool(torch.isfinite(rounded[finite].double()).all()):
        return False
    # Nobody adds in 8 bits, and what is quantised to them fills their range on purpose.
    small = rounded.dtype.itemsize == 1 or not bool(finite.any())
    return small or float(truth[finite].abs().max()) * _HEADROOM <= torch.finfo(rounded.dtype).max


def _close(row: dict[str, Any]) -> bool:
    if row["rms_error"] is None or row["rms_truth"] is None:
        return bool(row["exact"])
    return bool(row["n"]) and row["rms_truth"] > 0.0 and row["rms_error"] <= _SOUND_SHARE * row["rms_truth"]
