"""The figures of a comparison are what their definitions say, and come to the host together."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evolve_core.judge.host.compare import Expectation, compare_outputs, does_nothing
from evolve_core.judge.host.deviations import NUMBERS
from evolve_core.judge.host.quantiles import MAX_QUANTILES, QUANTILE_ELEMENTS

RELATIVE = 1e-9
FLUSHED = {torch.float32: 2.0**-126, torch.bfloat16: 2.0**-126}


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero"):
            self.seen.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def row(out: torch.Tensor, truth: torch.Tensor, native: torch.Tensor) -> dict[str, Any]:
    (found,) = compare_outputs([("out", out)], [("out", truth)], [("out", native)], quantiles=True)
    return found


def rms(values: list[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


def by_definition(out: torch.Tensor, truth: torch.Tensor, native: torch.Tensor) -> dict[str, float | None]:
    """One element after the other, in Python's floats."""
    rounded = truth.to(native.dtype)
    flat = [one.double().reshape(-1).tolist() for one in (out, truth, native, rounded)]
    rows = [part for part in zip(*flat, strict=True) if all(map(math.isfinite, part[:3]))]
    o, t, n, r = (list(part) for part in zip(*rows, strict=True))
    top = max(map(abs, t))
    seen = [0.0 if true == 0.0 and abs(got) <= 2.0**-52 * top else got for got, true in zip(o, t, strict=True)]
    error = [a - b for a, b in zip(o, t, strict=True)]
    own = [a - b for a, b in zip(n, t, strict=True)]
    sign = [(a > 0) - (a < 0) for a in t]
    flushed, eps = FLUSHED.get(out.dtype, 0.0), torch.finfo(out.dtype).eps

    def missed(values: list[float]) -> float | None:
        if eps < 2.0**-12:
            return None
        return sum(abs(a - b) > flushed for a, b in zip(values, r, strict=True)) / len(r)

    return {
        "max_abs_truth": top,
        "rms_truth": rms(t),
        "max_error": max(map(abs, error)),
        "rms_error": rms(error),
        "mean_error": math.fsum(error) / len(t),
        "signed_error": math.fsum(a * b for a, b in zip(error, sign, strict=True)) / len(t),
        "native_max": max(map(abs, own)),
        "native_rms": rms(own),
        "native_mean": math.fsum(own) / len(t),
        "native_signed": math.fsum(a * b for a, b in zip(own, sign, strict=True)) / len(t),
        "quantile_ratio": worst_ratio([a - b for a, b in zip(seen, t, strict=True)], own, t, eps, flushed),
        "row_ratio": None,
        "misrounded": missed(seen),
        "native_misrounded": missed(n),
        "ulp": eps * 2.0 ** math.floor(math.log2(top)),
    }


def worst_ratio(error: list[float], own: list[float], truth: list[float], eps: float, flushed: float) -> float | None:
    groups = min(MAX_QUANTILES, len(truth) // QUANTILE_ELEMENTS)
    if groups < 2:
        return None
    order = sorted(range(len(truth)), key=lambda at: abs(truth[at]))
    share = 16.0 if eps < 2.0**-12 else 1 / 16
    worst = 0.0
    for part in torch.tensor_split(torch.tensor(order), groups):
        mine, base, size = (rms([values[at] for at in part.tolist()]) for values in (error, own, truth))
        worst = max(worst, mine / (base + eps * share * size + flushed))
    return worst


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [3, 2048, 10_001])
@pytest.mark.parametrize("odd", [None, "truth", "out"])
def test_figures_are_what_their_definitions_say(dtype: torch.dtype, count: int, odd: str | None) -> None:
    """Not every group has as many elements, and some elements are finite on one side alone."""
    torch.manual_seed(count)
    truth = torch.randn(count, dtype=torch.float64)
    native = (truth * (1 + 1e-3 * torch.randn(count))).to(dtype)
    out = (truth * (1 + 2e-3 * torch.randn(count))).to(dtype)
    if odd:
        {"truth": truth, "out": out}[odd][1] = math.inf
    wanted = by_definition(out, truth, native)
    found = {name: value for name, value in row(out, truth, native).items() if name in NUMBERS}
    # Means are sums of both signs: they are as exact as the terms are large.
    slack = RELATIVE * float(wanted["rms_error"] or 0.0)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=RELATIVE, abs=slack * 1e-3)), name


def test_where_there_is_no_room_for_an_error_any_is_infinitely_worse() -> None:
    truth = torch.zeros(4096, dtype=torch.float64)
    truth[2048:] = 1.0
    native, out = truth.half(), truth.half()
    assert row(out, truth, native)["quantile_ratio"] == 0.0
    out[5] = 1.0
    assert row(out, truth, native)["quantile_ratio"] == 1e308


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32])
def test_one_transfer_brings_every_figure_of_every_output(dtype: torch.dtype) -> None:
    truth = torch.arange(2048).to(torch.float64)
    native = [("a", truth.to(dtype)), ("b", truth.flip(0).to(dtype))]
    expectation = Expectation([("a", truth), ("b", truth.flip(0))], native)
    expectation.compare(native, quantiles=True)
    with Waits() as waits:
        rows = expectation.compare([(name, value + 1) for name, value in native], quantiles=True)
    assert waits.seen == []
    assert [found["max_error"] for found in rows] == [1.0, 1.0]


def test_a_nan_of_the_candidates_own_is_seen_and_the_rest_is_still_measured() -> None:
    truth = torch.randn(4096, dtype=torch.float64)
    out = truth.float() + 0.5
    out[7] = math.nan
    found = row(out, truth, truth.float())
    assert not found["nonfinite_ok"] and not found["exact"]
    assert found["max_error"] == pytest.approx(0.5, rel=1e-6)


def test_nothing_is_no_deviation() -> None:
    for dtype in (torch.float32, torch.int64):
        nothing = torch.empty(0, dtype=dtype)
        found = row(nothing, nothing.double(), nothing)
        assert found["exact"] and found["nonfinite_ok"] and found["n"] == 0
    assert found["max_error"] is None


def test_outputs_without_launches_tell_nothing_where_a_fill_or_a_copy_makes_them() -> None:
    made, given = torch.randn(8), torch.randn(8)
    assert does_nothing([("out", made)], [("out", made.clone())], [given]) is True
    assert does_nothing([("out", made + 1)], [("out", made)], [given]) is False
    assert does_nothing([("out", given)], [("out", given)], [given]) is None
    zeros = torch.zeros(8)
    assert does_nothing([("out", zeros)], [("out", zeros)], [given]) is None
