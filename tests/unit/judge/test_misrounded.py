"""What a 16-bit result's own rounding hides shows in how many elements are not the truth rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.judge.correctness import Accepted, Rejected, judge_check
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.observation import Check, Outcome, OutputCheck, parse_observation

Tensor = torch.Tensor


def compared(candidate: Tensor, truth: Tensor, native: Tensor) -> OutputCheck:
    (row,) = compare_outputs([("out", candidate)], [("out", truth)], [("out", native)], True)
    return OutputCheck(**row)


def judged(output: OutputCheck) -> object:
    return judge_check(Check("w0", 7, "nan", Outcome.COMPARED, "", (), (output,), ()))


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def off_by(change: float) -> Callable[[Tensor], Tensor]:
    """exp with a relative error of random sign."""
    return lambda x: torch.exp(x) * (1 + change * torch.sign(normal(*x.shape, seed=9)))


def test_the_share_counts_elements_that_are_not_the_truth_rounded() -> None:
    truth = normal(100).double()
    native = truth.half()
    candidate = native.clone()
    candidate[:7] = torch.nextafter(candidate[:7].float() * 1.01, torch.zeros(7)).half()
    row = compared(candidate, truth, native)
    assert (row.misrounded, row.native_misrounded) == (0.07, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_types_have_no_share(dtype: torch.dtype) -> None:
    truth = normal(300).double()
    row = compared(truth.to(dtype) * 1.0000001, truth, truth.to(dtype))
    assert (row.misrounded, row.native_misrounded) == (None, None)


def test_nan_infinity_and_flushed_denormals_are_not_counted() -> None:
    truth = torch.tensor([float("nan"), float("inf"), 1e-39, 1.0], dtype=torch.float64)
    native = truth.bfloat16()
    flushed = torch.where(native.abs() < 1e-38, 0.0, native)
    assert compared(flushed, truth, native).misrounded == 0.0


def test_what_fp64_lost_is_no_error_where_the_truth_is_zero() -> None:
    x = torch.linspace(-30, 30, 4096)
    truth = x.double() * (1 + torch.erf(x.double()))
    native = (x * (1 + torch.erf(x))).bfloat16()
    better = (x * torch.erfc(-x)).bfloat16()
    assert int((truth == 0).sum()) > 1000
    assert judged(compared(better, truth, native)) == Accepted()
    wrong = torch.where(truth == 0, 1e-3, better.float()).bfloat16()
    assert isinstance(judged(compared(wrong, truth, native)), Rejected)


@pytest.mark.parametrize(("change", "accepted"), [(2.0**-22, True), (2.0**-19, True), (1e-4, False), (2.0**-12, False)])
def test_an_exponential_must_be_as_good_as_the_hardware_one(change: float, accepted: bool) -> None:
    """``ex2.approx`` is good to 2⁻²² (PTX ISA)."""
    x = normal(64, 256)
    truth, native = torch.exp(x.double()), torch.exp(x).half()
    row = compared(off_by(change)(x).half(), truth, native)
    assert row.rms_error is not None
    assert row.native_rms is not None
    assert row.rms_error < 2 * row.native_rms  # too little for any other rule
    found = judged(row)
    assert (found == Accepted()) is accepted
    if isinstance(found, Rejected):
        assert "are not the truth rounded" in found.reason


@pytest.mark.parametrize("seed", range(3))
def test_bfloat16_rounded_through_float16_is_rejected(seed: int) -> None:
    x = normal(64, 256, seed=seed)
    found = judged(compared(torch.exp(x).half().bfloat16(), torch.exp(x.double()), torch.exp(x).bfloat16()))
    assert isinstance(found, Rejected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_thousands_of_terms_one_after_another_are_accepted(dtype: torch.dtype) -> None:
    x = normal(512, 4096)
    truth, native = x.double().sum(-1), x.sum(-1).to(dtype)
    running = torch.zeros(512)
    for column in x.T:
        running = running + column
    row = compared(running.to(dtype), truth, native)
    assert row.misrounded is not None
    assert row.misrounded < 0.01
    assert judged(row) == Accepted()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_worse_kernel_of_the_users_never_makes_the_rule_stricter(share: float, native: float, more: float) -> None:
    truth = normal(4096).double()
    row = compared(truth.half(), truth, truth.half())
    row = replace(row, exact=False, misrounded=share, native_misrounded=native, native_max=1e-3)
    worse = replace(row, native_misrounded=native + (1 - native) * more)
    assert judged(row) != Accepted() or judged(worse) == Accepted()


def test_a_share_that_is_missing_never_passes() -> None:
    truth = normal(512).double()
    row = replace(compared(truth.half(), truth, truth.half()), exact=False, misrounded=None)
    assert isinstance(judged(row), Rejected)


def test_few_elements_are_left_to_the_other_rules() -> None:
    x = normal(200)
    truth = torch.exp(x.double())
    assert judged(compared(off_by(1e-4)(x).half(), truth, torch.exp(x).half())) == Accepted()


def test_the_share_comes_through_the_protocol() -> None:
    truth = normal(300).double()
    (row,) = compare_outputs([("out", truth.half())], [("out", truth)], [("out", truth.half())], True)
    check: dict[str, Any] = {
        "workload": "w0", "seed": 1, "poison": "nan", "outcome": "compared", "message": "", "inputs_changed": [],
        "outputs": [row],
    }  # fmt: skip
    empty: dict[str, Any] = dict.fromkeys(("kernels", "launches", "work", "timing"), ())
    observed = parse_observation({**empty, "failure": None, "checks": [check], "environment": {}})
    assert observed.checks[0].outputs == (OutputCheck(**row),)
