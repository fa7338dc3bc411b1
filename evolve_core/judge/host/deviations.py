"""How far outputs are from the truth: computed where the tensors lie, and brought to the host in one transfer.

A device takes microseconds for each of these numbers, and tens of microseconds to hand one over. So everything about
all outputs of a call goes into one vector, and only that is waited for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from .quantiles import NONE, OWN_PRECISION_EPS, flushed, quantile_ratio, rms, row_ratio

_TRUTH_EPS = 2.0**-52
"""The truth is computed in fp64."""

_FIGURES = (
    "max_abs_truth", "rms_truth", "max_error", "rms_error", "mean_error", "signed_error", "native_max", "native_rms",
    "native_mean", "native_signed", "quantile_ratio", "row_ratio", "misrounded", "native_misrounded",
)  # fmt: skip
NUMBERS = (*_FIGURES, "ulp")
_INTEGER_FIGURES = ("max_abs_truth", "max_error", "native_max")
_DO_NOT_HOLD = -1.0


class Expected:
    """One output's truth and what the user's own kernel gives for it, on any one device; kept for many comparisons."""

    def __init__(self, truth: torch.Tensor, native: torch.Tensor, free: torch.Tensor | None = None) -> None:
        """``free``: where an output may be anything, the truth being NaN; everywhere else it may then be NaN, too. None
        where NaN and infinities must lie as in the truth.
        """
        self.truth, self.native, self.dtype, self.free = truth, native, native.dtype, free
        self.is_float = native.dtype.is_floating_point or native.dtype.is_complex

    @cached_property
    def rounded(self) -> torch.Tensor:
        """The truth in the output's own type."""
        return self.truth.to(self.dtype)

    @cached_property
    def is_finite(self) -> bool:
        return bool((torch.isfinite(parts_of(self.truth)) & torch.isfinite(parts_of(self.native))).all())

    @cached_property
    def order(self) -> torch.Tensor:
        """The truth's positions by magnitude."""
        return torch.argsort(parts_of(self.truth).abs())


@dataclass(frozen=True)
class Deviation:
    """``numbers``: those of ``NUMBERS``, None where they mean nothing."""

    exact: bool
    nonfinite_ok: bool
    numbers: dict[str, float | None]


def deviations(pairs: Sequence[tuple[torch.Tensor, Expected]], quantiles: bool) -> list[Deviation]:
    """Of each output, in the expected type and shape, from what is expected of it.

    The figures are over what is finite in the output, the truth and the user's kernel's. Only where a candidate has an
    infinity or NaN of its own does it take a second transfer.
    """
    if not pairs:
        return []
    fetched = _fetched([_vector(out, expected, quantiles) for out, expected in pairs])
    return [_deviation(out, expected, row, quantiles) for (out, expected), row in zip(pairs, fetched, strict=True)]


def _fetched(vectors: list[torch.Tensor]) -> list[list[float]]:
    # A plain number among the outputs is a tensor on the host.
    rows: list[list[float]] = torch.stack([vector.to(vectors[0].device) for vector in vectors]).tolist()
    return rows


def _vector(out: torch.Tensor, expected: Expected, quantiles: bool) -> torch.Tensor:
    """Two flags, over how many elements the figures are, and ``_FIGURES``, in fp64."""
    exact = torch.eq(out, expected.rounded).logical_or_(out.isnan() & expected.rounded.isnan()).all()
    if not expected.is_float:
        parts = _Parts.of(out, expected)
        return _joined(exact, torch.ones_like(exact), out.numel(), parts.integer_figures())
    nonfinite_ok = _meets(out, expected.rounded, expected.free) | _meets(out, expected.native, expected.free)
    if not expected.is_finite:
        parts = _Parts.of(out, expected).finite()
        return _joined(exact, nonfinite_ok, parts.count, parts.figures(expected.dtype, quantiles))
    parts = _Parts.of(out, expected)
    holds = torch.where(torch.isfinite(parts.out).all(), float(parts.count), _DO_NOT_HOLD)
    order = expected.order if quantiles else None
    return _joined(exact, nonfinite_ok, holds, parts.figures(expected.dtype, quantiles, order))


def _joined(
    exact: torch.Tensor, nonfinite_ok: torch.Tensor, elements: float | torch.Tensor, figures: list[torch.Tensor]
) -> torch.Tensor:
    parts = [exact, nonfinite_ok, torch.as_tensor(elements, device=exact.device), *figures]
    return torch.stack([part.double() for part in parts])


def _deviation(out: torch.Tensor, expected: Expected, row: list[float], quantiles: bool) -> Deviation:
    exact, nonfinite_ok, elements, *figures = row
    if elements == _DO_NOT_HOLD:
        parts = _Parts.of(out, expected).finite()
        elements, (figures,) = parts.count, _fetched([torch.stack(parts.figures(expected.dtype, quantiles))])
    named: dict[str, float | None] = {**dict(zip(_FIGURES, figures, strict=True)), "ulp": 0.0}
    if not expected.is_float:
        named = {
            **dict.fromkeys(NUMBERS),
            **({key: named[key] for key in (*_INTEGER_FIGURES, "ulp")} if elements else {}),
        }
    elif elements:
        named["ulp"] = _ulp(figures[0], expected.dtype)
    return Deviation(bool(exact), bool(nonfinite_ok), {key: _representable(value) for key, value in named.items()})


@dataclass(frozen=True)
class _Parts:
    """Flat, in fp64, complex numbers as two. All on one device."""

    out: torch.Tensor
    truth: torch.Tensor
    native: torch.Tensor
    rounded: torch.Tensor

    columns: int
    """Of the output's rows, which lie along its last axis; 0 once something was left out."""

    @classmethod
    def of(cls, out: torch.Tensor, expected: Expected) -> _Parts:
        columns = (out.shape[-1] if out.dim() else 1) * (2 if out.is_complex() else 1)
        right, own, rounded = (parts_of(one) for one in (expected.truth, expected.native, expected.rounded))
        return cls(parts_of(out), right, own, rounded, columns)

    @property
    def count(self) -> int:
        return self.truth.numel()

    def finite(self) -> _Parts:
        """Where all but the rounded truth are finite. Waits for the device."""
        at = torch.isfinite(self.out) & torch.isfinite(self.truth) & torch.isfinite(self.native)
        return _Parts(self.out[at], self.truth[at], self.native[at], self.rounded[at], 0)

    def integer_figures(self) -> list[torch.Tensor]:
        """``_FIGURES``, most of which mean nothing of integers."""
        none = torch.full((), NONE, dtype=torch.float64, device=self.out.device)
        known = (
            {}
            if not self.count
            else {
                "max_abs_truth": self.truth.abs().max(),
                "max_error": (self.out - self.truth).abs().max(),
                "native_max": (self.native - self.truth).abs().max(),
            }
        )
        return [known.get(figure, none) for figure in _FIGURES]

    def figures(self, dtype: torch.dtype, quantiles: bool, order: torch.Tensor | None = None) -> list[torch.Tensor]:
        """``_FIGURES``, all zero of no elements. ``order``: the truth's, by magnitude, where it is known already."""
        if not self.count:
            return list(torch.zeros(len(_FIGURES), dtype=torch.float64, device=self.out.device))
        error, own, sign = self.out - self.truth, self.native - self.truth, torch.sign(self.truth)
        top = self.truth.abs().max()
        seen = self.out.masked_fill(_cancelled(self.out, self.truth, top), 0.0)
        none = torch.full_like(top, NONE)
        return [
            top,
            rms(self.truth),
            error.abs().max(),
            rms(error),
            error.mean(),
            (error * sign).mean(),
            own.abs().max(),
            rms(own),
            own.mean(),
            (own * sign).mean(),
            quantile_ratio(seen - self.truth, own, self.truth, dtype, order) if quantiles else none,
            row_ratio(seen - self.truth, own, self.truth, dtype, self.columns) if quantiles else none,
            _misrounded(seen, self.rounded, dtype),
            _misrounded(self.native, self.rounded, dtype),
        ]


def parts_of(tensor: torch.Tensor) -> torch.Tensor:
    """Flat, in fp64, complex numbers as two."""
    parts = torch.view_asparts_of(tensor) if tensor.is_complex() else tensor
    return parts.to(torch.float64).reshape(-1)


def _meets(out: torch.Tensor, wanted: torch.Tensor, free: torch.Tensor | None) -> torch.Tensor:
    """Whether NaN and the infinities lie where they should."""
    x, y = parts_of(out), parts_of(wanted)
    same = torch.stack([test(x) == test(y) for test in (torch.isnan, torch.isposinf, torch.isneginf)]).all(dim=0)
    return (same if free is None else same | x.isnan() | free).all()


def _representable(number: float | None) -> float | None:
    """JSON knows no infinity: an error that overflows fp64 is as large as a number can be."""
    return None if number is None or math.isnan(number) else min(max(number, -1e308), 1e308)


def _ulp(magnitude: float, dtype: torch.dtype) -> float:
    """The distance between neighbours of ``dtype`` at ``magnitude``."""
    facts = torch.finfo(dtype)
    smallest = float(facts.smallest_normal)
    exponent = math.floor(math.log2(max(magnitude, smallest)))
    return float(facts.eps) * 2.0**exponent


def _misrounded(values: torch.Tensor, rounded: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The share of ``values`` that are not the truth rounded to ``dtype``; None for 32-bit and wider types.

    What is computed in fp32 and rounded once is nearly always the truth rounded, whatever the order of its sums.
    Flushed denormals count as right.
    """
    if torch.finfo(dtype).eps < OWN_PRECISION_EPS:
        return torch.full((), NONE, dtype=torch.float64, device=values.device)
    return ((values - rounded).abs() > flushed(dtype)).double().mean()


def _cancelled(out: torch.Tensor, truth: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """Where the truth is exactly zero, and ``out`` is a value that fp64 would have lost beside ``top``.

    x (1 + erf(x)) is exactly zero in fp64 below -8, and a kernel that has x erfc(-x) instead is more right than the
    truth. Elsewhere small values must be as right as large ones.
    """
    return (truth == 0.0) & (out.abs() <= _TRUTH_EPS * top)
