"""The values that a task never drew: what they are, on whom they are tried, and what a candidate may do with them."""

from __future__ import annotations

import math

import pytest
import torch

from evolve_core.judge.correctness import Accepted, Rejected, Unproven, judge_checks
from evolve_core.judge.host.conditioning import moved_inputs, tame_inputs
from evolve_core.judge.host.distributions import (
    EVERYWHERE,
    OTHERWISE,
    VARIED,
    distributions_on,
    expected_on,
    is_sound,
    measure_on,
    vary,
)
from evolve_core.judge.host.variations import CANCELLING, EQUAL, SPECIAL, ZEROS_AND_ONES
from evolve_core.judge.observation import Check, Outcome, OutputCheck

Tensor = torch.Tensor
Verdict = Accepted | Rejected | Unproven


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def varied(x: Tensor, distribution: str) -> Tensor:
    changed = vary({"x": x}, distribution)["x"]
    assert isinstance(changed, Tensor)
    return changed


def judged(function, native, reference, x: Tensor, distribution: str) -> Verdict | None:
    """The verdict on ``function`` where ``native`` is the user's own kernel; None where the values judge nobody."""
    own, truth = [("out", native(x))], [("out", reference(x.double()))]
    otherwise = [("out", reference(OTHERWISE[distribution]({"x": x})["x"].double()))]
    if not is_sound(own, truth, distribution, otherwise):
        return None
    expected = expected_on(distribution, measure_on(distribution, own, truth, otherwise), truth, otherwise)
    (row,) = expected.compare([("out", function(x))], quantiles=True)
    return judge_checks([Check("w0", 7, "nan", Outcome.COMPARED, "", (), (OutputCheck(**row),), ())])


def test_one_workload_of_middling_size_gets_them_all() -> None:
    assert [distributions_on(number, 3) == VARIED for number in range(3)] == [False, True, False]
    assert distributions_on(0, 1) == VARIED
    assert set(EVERYWHERE) < set(VARIED)


# -- what they are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("length", [16, 1000, 1024, 15838])
def test_sums_of_cancelling_signs_are_small_beside_their_terms(dtype: torch.dtype, length: int) -> None:
    x = varied(drawn(64, length, dtype=dtype), CANCELLING).double()
    assert x.abs().max() < 10
    for axis in range(2):
        assert (x.sum(axis).abs() < 0.06 * x.abs().sum(axis)).all() and (x.sum(axis) != 0).any()


@pytest.mark.parametrize("length", [1, 2, 3, 7919])
def test_signs_cancel_in_rows_of_any_length(length: int) -> None:
    x = varied(drawn(64, length), CANCELLING)
    assert x.isfinite().all() and x.abs().max() < 10


def test_terms_that_cancel_are_neither_neighbours_nor_halves_nor_mirrored() -> None:
    (x,) = varied(drawn(1, 1024), CANCELLING)
    for other in (x.roll(1), x.roll(-1), x.roll(512), x.flip(0), *(x.roll(1 << bit) for bit in range(10))):
        assert ((x + other).abs() < 0.1).double().mean() < 0.15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_of_equal_values_are_exact_in_any_order(dtype: torch.dtype) -> None:
    x = varied(drawn(64, 1023, dtype=dtype), EQUAL)
    assert (x == x[:, :1]).all() and x[:, 0].unique().numel() > 8
    running = x.float().cumsum(-1)[:, -1]
    assert torch.equal(running, x.float().flip(-1).sum(-1))
    assert torch.equal(running.double(), x.double().sum(-1))


def test_zeros_and_ones_are_both_there() -> None:
    for x in (drawn(64, 33), torch.rand(64, 33), drawn(64, 33, dtype=torch.float16)):
        assert set(varied(x, ZEROS_AND_ONES).unique().tolist()) == {0.0, 1.0}
    assert set(varied(torch.ones(8), ZEROS_AND_ONES).tolist()) == {1.0}


def test_special_values_lie_in_a_few_rows_of_the_largest_tensor() -> None:
    inputs = {"scale": drawn(300), "x": drawn(40, 300), "y": drawn(40, 300, seed=2)}
    changed = vary(inputs, SPECIAL)
    x = changed["x"]
    assert [int(found.sum()) for found in (x.isnan(), x.isposinf(), x.isneginf())] == [1, 1, 1]
    assert ((x == 0) & x.signbit()).sum() == 1
    assert ((x != 0) & (x.abs() < torch.finfo(x.dtype).smallest_normal)).sum() == 1
    assert (x.isfinite().all(-1)).sum() == 37
    assert changed["scale"] is inputs["scale"] and changed["y"] is inputs["y"]
    assert torch.equal(varied(drawn(8, 4), SPECIAL), drawn(8, 4))


@pytest.mark.parametrize("distribution", VARIED)
def test_narrow_types_are_varied_too(distribution: str) -> None:
    x = drawn(16, 64).to(torch.float8_e5m2)
    assert varied(x, distribution).dtype == x.dtype


# -- cancelling signs --------------------------------------------------------------------------------------------------


def total(x: Tensor) -> Tensor:
    return x.sum(-1)


def running(x: Tensor) -> Tensor:
    return x.float().cumsum(-1)[..., -1].to(x.dtype).contiguous()


def in_tf32(x: Tensor) -> Tensor:
    """A sum that loses bits on the way, in places of eight."""
    pieces = x.float().reshape(len(x), -1, 8).sum(-1)
    return pieces.half().float().sum(-1).to(x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_in_a_poor_type_shows_where_signs_cancel(dtype: torch.dtype) -> None:
    x = varied(drawn(300, 1024, dtype=dtype), CANCELLING)
    assert judged(running, total, total, x, CANCELLING) == Accepted()
    assert isinstance(judged(in_tf32, total, total, x, CANCELLING), Rejected)


def test_who_counts_on_positive_values_meets_negative_ones() -> None:
    x = varied(torch.rand(64, 256, generator=torch.Generator().manual_seed(3)), CANCELLING)
    assert isinstance(judged(torch.clone, torch.relu, torch.relu, x, CANCELLING), Rejected)
    assert judged(torch.relu, torch.relu, torch.relu, x, CANCELLING) == Accepted()


# -- luck --------------------------------------------------------------------------------------------------------------


def centred(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5) + 1


def centred_by_reciprocal(x: Tensor) -> Tensor:
    mean = x.sum(-1, keepdim=True) * (1 / x.shape[-1])
    return (x - mean) * torch.rsqrt(((x - mean) ** 2).sum(-1, keepdim=True) * (1 / x.shape[-1]) + 1e-5) + 1


def test_an_exact_mean_of_equal_values_is_luck_and_judges_nobody() -> None:
    x = varied(drawn(64, 1000), EQUAL)
    assert torch.equal(centred(x), torch.ones_like(x)) and not torch.equal(centred_by_reciprocal(x), centred(x))
    assert judged(centred_by_reciprocal, centred, centred, x, EQUAL) is None


def test_equal_values_judge_what_they_can() -> None:
    def softmax(x: Tensor) -> Tensor:
        return torch.softmax(x, -1)

    x = varied(drawn(64, 1000), EQUAL)
    assert judged(lambda x: softmax(x.flip(-1)), softmax, softmax, x, EQUAL) == Accepted()
    assert isinstance(judged(torch.zeros_like, softmax, softmax, x, EQUAL), Rejected)


def test_zeros_and_ones_judge_only_where_the_users_kernel_is_exact_on_them() -> None:
    x = varied(drawn(64, 1000), ZEROS_AND_ONES)
    assert judged(running, total, total, x, ZEROS_AND_ONES) == Accepted()
    assert isinstance(judged(lambda x: total(x) + (total(x) > 510), total, total, x, ZEROS_AND_ONES), Rejected)
    assert judged(centred_by_reciprocal, centred, centred, x, ZEROS_AND_ONES) is None


def test_the_allowance_is_the_inputs_last_bits_and_no_more() -> None:
    """A copy keeps its own measure; a sum may be as far off as rounding its terms makes it."""
    x = varied(drawn(300, 1024), CANCELLING)
    truth = [("out", x.double())]
    assert measure_on(CANCELLING, [("out", x)], truth, [("out", moved_inputs({"x": x})["x"])])[0][1] is x
    moved = moved_inputs({"x": x, "n": 3, "index": torch.arange(3)})
    assert moved["n"] == 3 and torch.equal(moved["index"], torch.arange(3))
    off = ((moved["x"] - x) / x)[x != 0].abs()
    assert 2.0**-24 < off.max() <= 8.5 * 2.0**-23


# -- special values ----------------------------------------------------------------------------------------------------


def leaky(x: Tensor) -> Tensor:
    return torch.where(x < 0, x * 0.5, x)


@pytest.mark.parametrize("other", [0.0, 1.0, math.inf, -math.inf])
def test_a_lost_nan_is_a_changed_function(other: float) -> None:
    x = varied(drawn(40, 300), SPECIAL)
    lost = judged(lambda x: leaky(x).nan_to_num(other, math.inf, -math.inf), leaky, leaky, x, SPECIAL)
    assert isinstance(lost, Rejected) and "NaN" in lost.reason


def test_an_infinity_that_became_finite_is_none_either() -> None:
    x = varied(drawn(40, 300), SPECIAL)
    assert isinstance(judged(lambda x: leaky(x).clamp(-3e38, 3e38), leaky, leaky, x, SPECIAL), Rejected)
    assert isinstance(judged(lambda x: torch.where(x.isinf(), -x, leaky(x)), leaky, leaky, x, SPECIAL), Rejected)


def test_who_loses_nan_themselves_is_asked_nothing() -> None:
    def fmax(x: Tensor) -> Tensor:
        return torch.fmax(x, torch.zeros(()))

    x = varied(drawn(40, 300), SPECIAL)
    assert judged(torch.relu, fmax, torch.relu, x, SPECIAL) is None


@pytest.mark.parametrize(
    "honest",
    [
        lambda x: leaky(x) + 0.0,  # -0 becomes 0
        lambda x: torch.where(x.abs() < 2.0**-126, 0.0, leaky(x)),  # denormals are flushed
        lambda x: x * (x >= 0) + x * (x < 0) * 0.5,  # infinity times zero
        lambda x: torch.maximum(x, x * 0.5),
    ],
)
def test_honest_ways_with_special_values_pass(honest) -> None:
    x = varied(drawn(40, 300), SPECIAL)
    assert judged(honest, leaky, leaky, x, SPECIAL) == Accepted()


def test_what_is_finite_beside_them_must_be_right_as_ever() -> None:
    def wrong(x: Tensor) -> Tensor:
        return torch.where(x.isfinite().all(), leaky(x), leaky(x) * 1.001)

    x = varied(drawn(40, 300), SPECIAL)
    assert isinstance(judged(wrong, leaky, leaky, x, SPECIAL), Rejected)


def test_what_comes_of_an_infinity_is_a_matter_of_the_way() -> None:
    """A state of zero times infinity is NaN, and where nobody multiplies by zero there is none."""

    def with_state(x: Tensor) -> Tensor:
        return 0.0 * x + leaky(x)

    x = varied(drawn(40, 300), SPECIAL)
    assert with_state(x).isnan().sum() == 3
    assert judged(leaky, with_state, with_state, x, SPECIAL) == Accepted()
    assert isinstance(judged(lambda x: leaky(x).nan_to_num(1.0, 7.0), with_state, with_state, x, SPECIAL), Rejected)


@pytest.mark.parametrize("function", [torch.log, torch.reciprocal, torch.rsqrt, lambda x: 1 / (x * x * x)])
def test_where_a_denormal_or_the_sign_of_zero_decides_nobody_is_judged(function) -> None:
    x = varied(drawn(40, 300).abs(), SPECIAL)
    assert judged(function, function, function, x, SPECIAL) is None


def test_tame_inputs_have_nan_and_nothing_else_that_is_special() -> None:
    given = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1e-40, 3.0])
    tame = tame_inputs({"x": given, "n": 2})["x"]
    assert tame[0].isnan() and tame[1:].tolist() == [1.0, -1.0, 0.0, 0.0, 3.0] and not tame[3].signbit()


def test_integers_made_of_nan_judge_nobody() -> None:
    def signs(x: Tensor) -> Tensor:
        return torch.where(x > 0, 1, 0).to(torch.int32)

    x = varied(drawn(40, 300), SPECIAL)
    assert judged(signs, signs, signs, x, SPECIAL) is None
    assert judged(signs, signs, signs, varied(drawn(40, 300), CANCELLING), CANCELLING) == Accepted()
