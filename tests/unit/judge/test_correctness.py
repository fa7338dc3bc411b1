"""The acceptance rule on real numbers: honest variants pass, mutants fail, small outputs are not rejected by luck."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from evolve_core.judge.correctness import (
    Accepted,
    Rejected,
    Unproven,
    epsilon,
    exact_outputs,
    judge_check,
    judge_checks,
    run_to_run,
)
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.observation import Check, Outcome, OutputCheck, Repeats


def check(*outputs: OutputCheck, **changes: Any) -> Check:
    plain = Check("w0", 7, "nan", Outcome.COMPARED, "", (), tuple(outputs), ())
    return replace(plain, **changes)


def compared(candidate: torch.Tensor, truth: torch.Tensor, native: torch.Tensor) -> OutputCheck:
    """The statistics as the host computes them."""
    (row,) = compare_outputs([("out", candidate)], [("out", truth)], [("out", native)], True)
    return OutputCheck(**row)


def softmax(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Row softmax computed in ``dtype``, step by step."""
    x = x.to(dtype)
    numerator = torch.exp(x - x.amax(-1, keepdim=True))
    return (numerator / numerator.sum(-1, keepdim=True)).to(torch.float32)


def softmax_exp2(x: torch.Tensor) -> torch.Tensor:
    numerator = torch.exp2((x - x.amax(-1, keepdim=True)) * 1.4426950408889634)
    return numerator * (1 / numerator.sum(-1, keepdim=True))


def layernorm(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    wide = x.float()
    centred = wide - wide.mean(-1, keepdim=True)
    return (centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)).half()


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


SHAPES = [(1, 7), (7, 1), (7, 1723), (33, 259), (1024, 256)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(5))
def test_an_honest_variant_is_accepted(shape: tuple[int, int], seed: int) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    truth = torch.softmax(x.double(), -1)
    native = softmax(x, torch.float32)
    for candidate in (native, softmax_exp2(x), torch.softmax(x, -1), softmax(x.flip(-1), torch.float32).flip(-1)):
        assert judge_checks([check(compared(candidate, truth, native))]) == Accepted()


@pytest.mark.parametrize("seed", range(5))
def test_a_sum_in_another_order_is_accepted(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(96, 700, generator=generator).half(), torch.randn(700, 64, generator=generator).half()
    truth = a.double() @ b.double()
    native = (a.float() @ b.float()).half()
    order = torch.randperm(700, generator=generator)
    pieces = sum(a[:, part].float() @ b[part].float() for part in order.split(100))
    assert isinstance(pieces, torch.Tensor)
    assert judge_checks([check(compared(pieces.half(), truth, native))]) == Accepted()


def mutants(x: torch.Tensor, native: torch.Tensor) -> dict[str, torch.Tensor]:
    swapped = native.clone()
    swapped[[0, 1]] = native[[1, 0]]
    unwritten = native.clone()
    unwritten[-1] = 0
    short = x[:, : int(x.shape[1] * 0.99)]
    numerator = torch.exp(x - x.amax(-1, keepdim=True))
    truncated = numerator / torch.exp(short - x.amax(-1, keepdim=True)).sum(-1, keepdim=True)
    return {
        "zeros": torch.zeros_like(native),
        "mean": torch.full_like(native, float(native.mean())),
        "scaled by 1.005": native * 1.005,
        "scaled by 1 + 1e-5": native * 1.00001,
        "last 1 % of the sum dropped": truncated,
        "half precision": softmax(x, torch.float16),
        "brain float": softmax(x, torch.bfloat16),
        "input passed through": x,
        "two rows swapped": swapped,
        "last row unwritten": unwritten,
        "one element off": native.clone().index_put_((torch.tensor(5), torch.tensor(5)), torch.tensor(0.5)),
        "small values flushed": torch.where(native < native.median() / 4, 0.0, native),
    }


@pytest.mark.parametrize("name", list(mutants(torch.randn(8, 200), torch.randn(8, 200))))
def test_a_mutant_is_rejected(name: str) -> None:
    x = torch.randn(64, 512, generator=torch.Generator().manual_seed(3))
    native = softmax(x, torch.float32)
    found = judge_checks([check(compared(mutants(x, native)[name], torch.softmax(x.double(), -1), native))])
    assert isinstance(found, Rejected)
    assert "where your kernel has" in found.reason or "times your kernel's" in found.reason


def running_sum(x: torch.Tensor) -> torch.Tensor:
    """The last axis added one element after another."""
    total = torch.zeros(x.shape[:-1])
    for column in x.unbind(-1):
        total = total + column
    return total


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to the ten stored bits of mantissa that tensor cores read of an fp32."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


POORER = {"tf32": tf32, "fp16": lambda x: x.half().float(), "bf16": lambda x: x.bfloat16().float()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length", [40, 300, 1500])
def test_an_fp32_sum_may_be_added_one_by_one_but_not_in_a_poorer_type(length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(200, length, generator=generator), torch.randn(200, length, generator=generator)
    truth, native = (a.double() * b.double()).sum(-1), (a * b).sum(-1)
    assert judge_checks([check(compared(running_sum(a * b), truth, native))]) == Accepted()
    for name, poorer in POORER.items():
        for candidate in ((poorer(a) * poorer(b)).sum(-1), poorer(a * b).sum(-1), poorer(native)):
            assert isinstance(judge_checks([check(compared(candidate, truth, native))]), Rejected), name


@pytest.mark.parametrize("name", POORER)
def test_a_poorer_type_for_a_tenth_of_an_fp32_result_is_rejected(name: str) -> None:
    x = torch.randn(128, 512, generator=torch.Generator().manual_seed(2))
    truth, native = torch.softmax(x.double(), -1), softmax(x, torch.float32)
    for chosen in (native < native.quantile(0.1), native > native.quantile(0.9), torch.arange(128)[:, None] % 10 == 0):
        candidate = torch.where(chosen, POORER[name](native), native)
        assert isinstance(judge_checks([check(compared(candidate, truth, native))]), Rejected)


def test_exp_by_exp2_is_accepted_down_to_where_fp32_underflows() -> None:
    x = -torch.rand(64, 512, generator=torch.Generator().manual_seed(4)) * 87
    candidate = torch.exp2(x * 1.4426950408889634)
    assert judge_checks([check(compared(candidate, torch.exp(x.double()), torch.exp(x)))]) == Accepted()
    for poorer in POORER.values():
        tail = torch.where(x < -60, poorer(candidate), candidate)
        assert isinstance(judge_checks([check(compared(tail, torch.exp(x.double()), torch.exp(x)))]), Rejected)


def test_a_dropped_epsilon_shows_on_nearly_constant_rows() -> None:
    x = (torch.randn(64, 512, generator=torch.Generator().manual_seed(3)) * 1e-2 + 1).half()
    wide = x.double()
    centred = wide - wide.mean(-1, keepdim=True)
    truth = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    native = layernorm(x)
    assert judge_checks([check(compared(native, truth, native))]) == Accepted()
    assert isinstance(judge_checks([check(compared(layernorm(x, 0.0), truth, native))]), Rejected)


def test_one_element_in_thousands_left_out_of_a_reduction_shows() -> None:
    x = (torch.randn(512, 4096, generator=torch.Generator().manual_seed(5))).half()
    truth = torch.nn.functional.layer_norm(x.double(), (4096,))
    wide = x.float()
    mean = wide.mean(-1, keepdim=True)
    variance = (wide - mean)[:, :-1].square().sum(-1, keepdim=True) / 4096
    short = ((wide - mean) * torch.rsqrt(variance + 1e-5)).half()
    found = judge_checks([check(compared(short, truth, layernorm(x)))])
    assert isinstance(found, Rejected)
    assert "scale" in found.reason


def test_what_the_users_kernel_does_exactly_must_stay_exact() -> None:
    x = torch.randn(64, 64)
    truth, native = torch.relu(x).double(), torch.relu(x)
    assert judge_checks([check(compared(torch.relu(x), truth, native))]) == Accepted()
    nearly = native * (1 + 2**-23)
    found = judge_checks([check(compared(nearly, truth, native))])
    assert isinstance(found, Rejected)
    assert "your kernel is exact" in found.reason


def test_a_handful_of_exact_elements_is_luck() -> None:
    few = compared(torch.tensor([1.0 + 2**-23]), torch.tensor([1.0], dtype=torch.float64), torch.tensor([1.0]))
    assert exact_outputs([check(few)]) == frozenset()
    assert judge_checks([check(few)]) == Accepted()


def test_integers_are_exact() -> None:
    truth = torch.arange(10)
    assert judge_checks([check(compared(truth.clone(), truth, truth))]) == Accepted()
    off = truth.clone()
    off[3] += 1
    assert isinstance(judge_checks([check(compared(off, truth, truth))]), Rejected)
    # Where the user's own kernel disagrees with the reference nothing can be said about a candidate.
    assert isinstance(judge_checks([check(compared(off + 1, truth, off))]), Unproven)


def test_nan_and_infinity_belong_where_the_truth_has_them() -> None:
    truth = torch.tensor([1.0, float("nan"), float("inf"), -float("inf")] * 100, dtype=torch.float64)
    native = truth.float()
    assert judge_checks([check(compared(native.clone(), truth, native))]) == Accepted()
    for position in range(4):
        broken = native.clone()
        broken[position] = -float("inf") if position == 2 else 5.0 if position else float("nan")
        if position == 3:
            broken[position] = float("inf")
        found = judge_checks([check(compared(broken, truth, native))])
        assert isinstance(found, Rejected), position
        assert "NaN or infinity" in found.reason


@pytest.mark.parametrize(
    ("change", "words", "cheating"),
    [
        ({"type_ok": False}, "plain tensor", True),
        ({"dtype_ok": False}, "another dtype", False),
        ({"shape_ok": False}, "another shape", False),
        ({"stride_ok": False}, "other strides", False),
        ({"aliases_input": True}, "shares memory", False),
    ],
)
def test_an_output_that_breaks_the_contract_is_rejected_whatever_its_values(
    change: dict[str, bool], words: str, cheating: bool
) -> None:
    good = compared(torch.ones(300), torch.ones(300, dtype=torch.float64), torch.ones(300))
    found = judge_check(check(replace(good, **change)))
    assert isinstance(found, Rejected)
    assert words in found.reason
    assert found.cheating is cheating
    assert found.check is not None


def test_changed_inputs_and_unwritten_memory_are_rejected() -> None:
    good = compared(torch.ones(300), torch.ones(300, dtype=torch.float64), torch.ones(300))
    changed = judge_checks([check(good, inputs_changed=("x",))])
    assert isinstance(changed, Rejected)
    assert "changes its input x" in changed.reason
    unwritten = judge_checks([check(good), check(good, poison="zero", poison_equal=False)])
    assert isinstance(unwritten, Rejected)
    assert "nothing wrote" in unwritten.reason
    assert judge_checks([check(good, poison_equal=True)]) == Accepted()
    assert judge_checks([check(good, poison_equal=None)]) == Accepted()


def test_what_a_source_gives_again_is_told() -> None:
    good = compared(torch.ones(300), torch.ones(300, dtype=torch.float64), torch.ones(300))
    once, same, other = (check(good, repeated=said) for said in (None, True, False))
    assert run_to_run([once, once]) == ""
    assert run_to_run([once, same, same]) == "deterministic: the same bits in each of 2 repeated calls"
    assert run_to_run([once, same, other, same]).startswith("bounded: other bits, within the tolerance, in 1 of 3 ")


def test_a_series_of_calls_counts_once_and_beside_the_users_own_kernel() -> None:
    good = compared(torch.ones(300), torch.ones(300, dtype=torch.float64), torch.ones(300))
    steady, noisy = Repeats(1000, 0, 0.0), Repeats(1000, 37, 2.0**-20)
    assert run_to_run([check(good, repeats=steady)]) == "deterministic: the same bits in each of 1000 repeated calls"
    twice = [check(good, repeats=noisy, native_repeats=own) for own in (steady, steady)]
    assert run_to_run([check(good, repeated=True), *twice]) == (
        "bounded: other bits, within the tolerance, in 37 of 1001 repeated calls, by up to 9.5e-07; "
        "your own kernel gives the same bits in each of 1000"
    )
    assert run_to_run([check(good, repeats=noisy, native_repeats=noisy)]).endswith("in 37 of 1000, too")


def test_a_call_that_goes_wrong_among_others_is_rejected_as_such() -> None:
    wrong = compared(torch.full((300,), 1.5), torch.ones(300, dtype=torch.float64), torch.full((300,), 1.0001))
    once = Repeats(1000, 1, 0.5)
    judged = judge_checks([check(wrong, repeats=once, native_repeats=Repeats(1000, 0, 0.0))])
    assert isinstance(judged, Rejected)
    assert judged.reason.startswith("max error of out 0.5 where")
    assert judged.reason.endswith("in a call that was repeated: 1 of 1000 on the same inputs gave other bits")


def test_nothing_compared_proves_nothing() -> None:
    assert isinstance(judge_checks([]), Unproven)
    empty = compared(torch.ones(0), torch.ones(0, dtype=torch.float64), torch.ones(0))
    assert isinstance(judge_checks([check(empty)]), Unproven)


def test_a_statistic_that_is_missing_or_nan_never_passes() -> None:
    x = torch.randn(40, 40)
    good = compared(torch.exp(x) * 1.0001, torch.exp(x.double()), torch.exp(x))
    for broken in (replace(good, max_error=float("nan")), replace(good, max_error=None)):
        assert isinstance(judge_check(check(broken)), Rejected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_epsilon_is_read_off_the_distance_of_neighbours(dtype: torch.dtype) -> None:
    random_ = random.Random(1)
    for _ in range(20):
        value = torch.tensor([random_.uniform(1e-3, 1e3)], dtype=dtype)
        assert epsilon(compared(value, value.double(), value)) == torch.finfo(dtype).eps
