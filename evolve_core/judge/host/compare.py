"""Outputs beside what is expected of them: one row of the protocol for each, with statistics and no verdict.

The rule that judges the rows is elsewhere; how their numbers come about is in ``deviations.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from .deviations import NUMBERS, Deviation, Expected, deviations

_INTEGER_BITS = 64
"""Python's integers have no limit; torch.as_tensor takes those that fit 64 bits with their sign."""
_MISSING = object()
"""Where there is no such output. None is one."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Named = tuple[str, Any]
Outputs = Sequence[Named]


class Expectation:
    """What is expected of the outputs on one set of inputs; what is the same for every candidate is computed once.

    ``native``, the outputs of the user's own kernel, is also the contract for dtype, shape and strides. Works on any
    device; all tensors of one output are on the same one. ``free`` of each output as in deviations.Expected.
    """

    def __init__(self, truth: Outputs, native: Outputs, free: Sequence[torch.Tensor | None] | None = None) -> None:
        self._native = list(native)
        triples = zip(truth[: len(native)], native, free or [None] * len(native), strict=True)
        self._expected = [
            Expected(_tensor(right), _tensor(own), anywhere) if is_numeric(own) else None
            for (_, right), (_, own), anywhere in triples
        ]

    def compare(self, candidate: Outputs, quantiles: bool) -> list[dict[str, Any]]:
        """One ``OutputCheck`` per expected output (protocol).

        None, a string or a dtype among the outputs must be the same on both sides; ``exact`` then, and no numbers. A
        missing output, or one too many, is an entry whose ``type_ok`` is False, so that nothing is compared by
        position alone. ``quantiles``: with the figure for magnitude quantiles, which takes a sort.
        """
        rows: list[dict[str, Any]] = []
        comparable: list[tuple[dict[str, Any], torch.Tensor, Expected]] = []
        for index, ((name, own), expected) in enumerate(zip(self._native, self._expected, strict=True)):
            out = candidate[index][1] if index < len(candidate) and candidate[index][0] == name else _MISSING
            rows.append(_contract(name, out, own, expected))
            if expected and rows[-1]["type_ok"] and rows[-1]["dtype_ok"] and rows[-1]["shape_ok"]:
                comparable.append((rows[-1], _tensor(out), expected))
        found = deviations([(out, expected) for _, out, expected in comparable], quantiles)
        for (row, out, _), deviation in zip(comparable, found, strict=True):
            row.update(_compared(out, deviation))
        # One entry stands for all that is too much: a candidate may return a million numbers.
        rows.extend(_incomparable(name) for name, _ in candidate[len(rows) : len(rows) + 1])
        return rows


def compare_outputs(candidate: Outputs, truth: Outputs, native: Outputs, quantiles: bool) -> list[dict[str, Any]]:
    """``candidate`` beside what ``Expectation(truth, native)`` expects, where that is asked once."""
    return Expectation(truth, native).compare(candidate, quantiles)


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


def is_numeric(value: Any) -> bool:
    """Whether errors can be computed of it: a tensor or a number. None, strings and dtypes are equal or not."""
    return isinstance(value, (torch.Tensor, bool, int, float))


def is_too_long(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() >= _INTEGER_BITS


def _contract(name: str, value: Any, own: Any, expected: Expected | None) -> dict[str, Any]:
    """The row as far as it can be told without looking at a tensor's values."""
    if expected is None:
        return _same_object(name) if type(value) is type(own) and value == own else _incomparable(name)
    if not is_numeric(value) or isinstance(value, torch.Tensor) != isinstance(own, torch.Tensor):
        return _incomparable(name)
    if is_too_long(value):
        return _incomparable(name, type_ok=True, dtype_ok=False)
    out, native = _tensor(value), expected.native
    dtype_ok, shape_ok = out.dtype == native.dtype, out.shape == native.shape
    stride_ok = not (dtype_ok and shape_ok) or observable_strides(out) == observable_strides(native)
    return _incomparable(name, type_ok=True, dtype_ok=dtype_ok, shape_ok=shape_ok, stride_ok=stride_ok)


def _same_object(name: str) -> dict[str, Any]:
    """Equal, and nothing to compute of it."""
    return {**_incomparable(name, type_ok=True), "nonfinite_ok": True, "exact": True}


def _incomparable(name: str, **flags: bool) -> dict[str, Any]:
    """The flags say why, the numbers are absent."""
    numbers = dict.fromkeys(NUMBERS)
    state = {"type_ok": False, "dtype_ok": True, "shape_ok": True, "stride_ok": True, **flags}
    return {"name": name, **state, "aliases_input": False, "nonfinite_ok": False, "exact": False, "n": 0, **numbers}


def _compared(out: torch.Tensor, deviation: Deviation) -> dict[str, Any]:
    return {
        "n": out.numel(),
        "exact": deviation.exact,
        "nonfinite_ok": deviation.nonfinite_ok,
        **deviation.numbers,
    }


def observable_strides(tensor: torch.Tensor) -> list[int]:
    """Those of dimensions with more than one element."""
    return (
        [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
        if tensor.numel()
        else []
    )


def same_bits(a: Outputs, b: Outputs) -> bool:
    """Whether two lists of named values hold the same bits (NaN payloads included), shapes and dtypes."""
    return len(a) == len(b) and all(x[0] == y[0] and _same(x[1], y[1]) for x, y in zip(a, b, strict=True))


def _same(a: Any, b: Any) -> bool:
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return type(a) is type(b) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(torch.equal(bits(a), bits(b)))


def does_nothing(idle: Outputs, outputs: Outputs, inputs: Iterable[Any]) -> bool | None:
    """Whether the outputs are the same bits where launches do nothing.

    None where that says nothing, because a fill or a copy makes such outputs before the kernels have had their turn.
    """
    if not same_bits(idle, outputs):
        return False
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    return True if any(_is_telling(value, tensors) for _, value in outputs) else None


def _is_telling(value: Any, inputs: list[torch.Tensor]) -> bool:
    if not isinstance(value, torch.Tensor) or value.numel() < 2 or bool((value == value.reshape(-1)[0]).all()):
        return False
    return not any(_same(value, given) for given in inputs)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Its values as integers of the same width, in one dimension: equal where the bits are."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(_INTEGERS.get(flat.element_size(), torch.uint8)) if flat.numel() else flat
