"""Which varied values a candidate may be judged on: those that the output's type and the user's kernel stand."""

from __future__ import annotations

import pytest
import torch

from evolve_core.judge.correctness import Accepted, Rejected, judge_checks
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.host.distributions import is_sound, vary
from evolve_core.judge.observation import Check, Outcome, OutputCheck

Tensor = torch.Tensor


def sound(native: Tensor, truth: Tensor) -> bool:
    return is_sound([("out", native)], [("out", truth)])


def judged(candidate: Tensor, truth: Tensor, native: Tensor) -> object:
    (row,) = compare_outputs([("out", candidate)], [("out", truth)], [("out", native)], True)
    check = Check("w0", 7, "nan", Outcome.COMPARED, "", (), (OutputCheck(**row),), ())
    return judge_checks([check])


def large(*shape: int, seed: int) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    changed = vary({"x": x}, "large values")["x"]
    assert isinstance(changed, Tensor)
    return changed


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float16, False), (torch.bfloat16, True), (torch.float32, True)])
def test_a_product_that_overflows_its_type_is_left_out(dtype: torch.dtype, expected: bool) -> None:
    a, b = large(64, 512, seed=1), large(512, 64, seed=2)
    truth = a.double() @ b.double()
    assert sound((a @ b).to(dtype), truth) is expected


def test_next_to_the_largest_value_the_order_of_a_sum_decides() -> None:
    truth = torch.full((512,), 65519.99, dtype=torch.float64)
    native, other = torch.full((512,), 65504.0).half(), torch.full((512,), 65520.0).half()
    assert other.isinf().all()
    assert judged(other, truth, native) != Accepted()
    assert not sound(native, truth)
    assert sound(native / 4, truth / 4)


def test_an_infinity_of_the_truth_itself_must_be_met() -> None:
    truth = torch.log(torch.relu(torch.randn(512, generator=torch.Generator().manual_seed(1))).double())
    assert truth.isneginf().any()
    assert sound(truth.float(), truth)
    assert not sound(torch.where(truth.isinf(), 0.0, truth).float(), truth)


def test_a_softmax_that_subtracts_no_maximum_is_caught_by_large_values() -> None:
    x = large(64, 128, seed=3)
    truth, native = torch.softmax(x.double(), -1), torch.softmax(x, -1)
    assert sound(native, truth)
    numerator = torch.exp(x)
    assert isinstance(judged(numerator / numerator.sum(-1, keepdim=True), truth, native), Rejected)


def test_eight_bits_are_filled_on_purpose() -> None:
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(4)).double()
    truth = x / x.abs().max() * torch.finfo(torch.float8_e4m3fn).max
    assert sound(truth.to(torch.float8_e4m3fn), truth)
