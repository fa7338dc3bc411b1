"""The numbers behind a comparison. They are statistics, not a verdict; the rule that judges them is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

MAX_QUANTILES = 64
QUANTILE_ELEMENTS = 1024
_OWN_PRECISION_EPS = 2.0**-12
"""As in correctness.py, which the host may not import."""
_QUANTILE_SHARE = 1 / 16
"""Half of correctness.RMS_EPS_SHARE: a ratio of 2 is then the rule's limit."""
_OWN_PRECISION_QUANTILE_SHARE = 16.0
"""Small values are where exponentials of rounded arguments end. exp(x) as exp2(x·log2(e)) is off by |x| 2⁻²⁴, which is
44 eps before fp32 underflows at |x| = 88, an RMS of 25 eps over uniform roundings. A ratio of 2 is 32 eps.
"""
_INTEGER_BITS = 64
"""Python's integers have no limit; torch.as_tensor takes those that fit 64 bits with their sign."""
_TRUTH_EPS = 2.0**-52
"""The truth is computed in fp64."""

_MISSING = object()
"""Where there is no such output. None is one."""

Named = tuple[str, Any]
Outputs = Sequence[Named]
Compare = Callable[[Outputs, Outputs, Outputs, bool], list[dict[str, Any]]]
"""``compare_outputs``: outputs, truth, the user's own kernel's outputs, and whether by quantiles."""

_NUMBERS = (
    "max_abs_truth",
    "rms_truth",
    "max_error",
    "rms_error",
    "mean_error",
    "signed_error",
    "native_max",
    "native_rms",
    "native_mean",
    "native_signed",
    "quantile_ratio",
    "misrounded",
    "native_misrounded",
    "ulp",
)


def compare_outputs(
    candidate: Sequence[Named], truth: Sequence[Named], native: Sequence[Named], quantiles: bool
) -> list[dict[str, Any]]:
    """One ``OutputCheck`` per expected output (protocol). ``native`` is also the contract for dtype, shape and strides.

    None, a string or a dtype among the outputs must be the same on both sides; ``exact`` then, and no numbers.
    A missing output, or one too many, is an entry whose ``type_ok`` is False, so that nothing is compared by position
    alone. Works on any device; all tensors of one call are on the same one.
    """
    checks = []
    for index, (name, expected) in enumerate(native):
        out = candidate[index][1] if index < len(candidate) and candidate[index][0] == name else _MISSING
        checks.append(_compare_one(name, out, truth[index][1], expected, quantiles))
    # One entry stands for all that is too much: a candidate may return a million numbers.
    checks.extend(_failed(name) for name, _ in candidate[len(native) : len(native) + 1])
    return checks


def is_numeric(value: Any) -> bool:
    """Whether errors can be computed of it: a tensor or a number. None, strings and dtypes are equal or not."""
    return isinstance(value, (torch.Tensor, bool, int, float))


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


def _failed(name: str, **flags: bool) -> dict[str, Any]:
    """Not comparable: the flags say why, the numbers are absent."""
    numbers = dict.fromkeys(_NUMBERS)
    state = {"type_ok": False, "dtype_ok": True, "shape_ok": True, "stride_ok": True, **flags}
    return {"name": name, **state, "aliases_input": False, "nonfinite_ok": False, "exact": False, "n": 0, **numbers}


def _same_object(name: str) -> dict[str, Any]:
    """Equal, and nothing to compute of it."""
    return {**_failed(name, type_ok=True), "nonfinite_ok": True, "exact": True}


def _compare_one(name: str, value: Any, right: Any, expected: Any, quantiles: bool) -> dict[str, Any]:
    if not is_numeric(expected):
        return _same_object(name) if type(value) is type(expected) and value == expected else _failed(name)
    if not is_numeric(value) or isinstance(value, torch.Tensor) != isinstance(expected, torch.Tensor):
        return _failed(name)
    if isinstance(value, int) and value.bit_length() >= _INTEGER_BITS:
        return _failed(name, type_ok=True, dtype_ok=False)
    out, truth, native = _tensor(value), _tensor(right), _tensor(expected)
    dtype_ok, shape_ok = out.dtype == native.dtype, out.shape == native.shape
    if not (dtype_ok and shape_ok):
        return _failed(name, type_ok=True, dtype_ok=dtype_ok, shape_ok=shape_ok)
    stride_ok = _strides(out) == _strides(native)
    rounded = truth.to(native.dtype)
    check = _failed(name, type_ok=True, stride_ok=stride_ok)
    check["n"] = out.numel()
    check["exact"] = _same_values(out, rounded)
    if not (out.dtype.is_floating_point or out.dtype.is_complex):
        return {**check, **_integer_numbers(out, truth, native), "nonfinite_ok": True}
    check["nonfinite_ok"] = _same_nonfinite(out, rounded) or _same_nonfinite(out, native)
    numbers = _errors(_real(out), _real(truth), _real(native), _real(rounded), native.dtype, quantiles)
    return {**check, **{key: _representable(number) for key, number in numbers.items()}}


def _representable(number: float | None) -> float | None:
    """JSON knows no infinity: an error that overflows fp64 is as large as a number can be."""
    return None if number is None or math.isnan(number) else min(max(number, -1e308), 1e308)


def _strides(tensor: torch.Tensor) -> list[int]:
    """Strides that can be observed: those of dimensions with more than one element."""
    return (
        [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
        if tensor.numel()
        else []
    )


def _real(tensor: torch.Tensor) -> torch.Tensor:
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return parts.to(torch.float64).reshape(-1)


def _same_values(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.eq(a, b).logical_or_(a.isnan() & b.isnan()).all())


def _same_nonfinite(a: torch.Tensor, b: torch.Tensor) -> bool:
    parts = [(_real(a), _real(b))]
    return all(
        bool((torch.isnan(x) == torch.isnan(y)).all())
        and bool((torch.isposinf(x) == torch.isposinf(y)).all())
        and bool((torch.isneginf(x) == torch.isneginf(y)).all())
        for x, y in parts
    )


def _integer_numbers(out: torch.Tensor, truth: torch.Tensor, native: torch.Tensor) -> dict[str, Any]:
    if not out.numel():
        return {}
    wide = truth.to(torch.float64)
    return {
        "max_abs_truth": float(wide.abs().max()),
        "max_error": float((out.to(torch.float64) - wide).abs().max()),
        "native_max": float((native.to(torch.float64) - wide).abs().max()),
        "ulp": 0.0,
    }


def _errors(
    out: torch.Tensor,
    truth: torch.Tensor,
    native: torch.Tensor,
    rounded: torch.Tensor,
    dtype: torch.dtype,
    quantiles: bool,
) -> dict[str, Any]:
    """Errors over the positions where truth, candidate and native are all finite, in fp64."""
    finite = torch.isfinite(out) & torch.isfinite(truth) & torch.isfinite(native)
    if not bool(finite.all()):
        out, truth, native, rounded = out[finite], truth[finite], native[finite], rounded[finite]
    if not truth.numel():
        return dict.fromkeys(_NUMBERS, 0.0)
    error, own, sign = out - truth, native - truth, torch.sign(truth)
    top = float(truth.abs().max())
    seen = out.masked_fill(_cancelled(out, truth, top), 0.0)
    return {
        "max_abs_truth": top,
        "rms_truth": _rms(truth),
        "max_error": float(error.abs().max()),
        "rms_error": _rms(error),
        "mean_error": float(error.mean()),
        "signed_error": float((error * sign).mean()),
        "native_max": float(own.abs().max()),
        "native_rms": _rms(own),
        "native_mean": float(own.mean()),
        "native_signed": float((own * sign).mean()),
        "quantile_ratio": _quantile_ratio(seen - truth, own, truth, dtype) if quantiles else None,
        "misrounded": _misrounded(seen, rounded, dtype),
        "native_misrounded": _misrounded(native, rounded, dtype),
        "ulp": _ulp(top, dtype),
    }


def _rms(values: torch.Tensor) -> float:
    return math.sqrt(float((values * values).mean()))


def _ulp(magnitude: float, dtype: torch.dtype) -> float:
    """The distance between neighbours of ``dtype`` at ``magnitude``."""
    facts = torch.finfo(dtype)
    smallest = float(facts.smallest_normal)
    exponent = math.floor(math.log2(max(magnitude, smallest)))
    return float(facts.eps) * 2.0**exponent


def _flushed(dtype: torch.dtype) -> float:
    """The error that flushing denormals to zero may make, 0 where GPUs keep them.

    PTX has ``.ftz`` forms for fp32 alone, and which one a compiler takes differs between two spellings of one function:
    Triton's ``exp`` keeps denormals and its ``exp2`` flushes them (``ex2.approx.ftz.f32``; seen on an H200).
    bf16 has fp32's exponents and is computed in fp32. fp16 denormals are always kept.
    """
    return float(torch.finfo(torch.float32).smallest_normal) if dtype in (torch.float32, torch.bfloat16) else 0.0


def _quantile_ratio(error: torch.Tensor, own: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype) -> float | None:
    """The worst RMS(error) / (RMS(own) + eps·RMS(truth)/16) inside magnitude quantiles of at least 1024 elements; 16
    eps for 32-bit and wider types.

    The second term keeps the ratio finite where the user's own kernel is exact; a ratio of 2 is then the rule's
    limit, 2·native + eps·RMS(truth)/8, or 32 eps·RMS(truth). Flushed denormals count as right. None where there
    are too few elements for two quantiles.
    """
    epsilon = torch.finfo(dtype).eps
    share = _OWN_PRECISION_QUANTILE_SHARE if epsilon < _OWN_PRECISION_EPS else _QUANTILE_SHARE
    groups = min(MAX_QUANTILES, truth.numel() // QUANTILE_ELEMENTS)
    if groups < 2:
        return None
    order = torch.argsort(truth.abs())
    worst = 0.0
    for part in torch.tensor_split(order, groups):
        floor = _rms(own[part]) + epsilon * share * _rms(truth[part]) + _flushed(dtype)
        spread = _rms(error[part])
        worst = max(worst, spread / floor if floor > 0 else (math.inf if spread > 0 else 0.0))
    return worst


def _misrounded(values: torch.Tensor, rounded: torch.Tensor, dtype: torch.dtype) -> float | None:
    """The share of ``values`` that are not the truth rounded to ``dtype``; None for 32-bit and wider types.

    What is computed in fp32 and rounded once is nearly always the truth rounded, whatever the order of its sums.
    Flushed denormals count as right.
    """
    if torch.finfo(dtype).eps < _OWN_PRECISION_EPS:
        return None
    return float(((values - rounded).abs() > _flushed(dtype)).double().mean())


def _cancelled(out: torch.Tensor, truth: torch.Tensor, top: float) -> torch.Tensor:
    """Where the truth is exactly zero, and ``out`` is a value that fp64 would have lost beside ``top``.

    x (1 + erf(x)) is exactly zero in fp64 below -8, and a kernel that has x erfc(-x) instead is more right than the
    truth. Elsewhere small values must be as right as large ones.
    """
    return (truth == 0.0) & (out.abs() <= _TRUTH_EPS * top)


def same_bits(a: Sequence[Named], b: Sequence[Named]) -> bool:
    """Whether two lists of named values hold the same bits (NaN payloads included), shapes and dtypes."""
    return len(a) == len(b) and all(x[0] == y[0] and _same(x[1], y[1]) for x, y in zip(a, b, strict=True))


def _same(a: Any, b: Any) -> bool:
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return type(a) is type(b) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(torch.equal(_bytes(a), _bytes(b)))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor.reshape(-1)
