"""How precise a task wants it: what a policy lets pass, and what it does not."""

from __future__ import annotations

import pytest
import torch

from evolve_core.judge.correctness import Accepted, judge_check
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.host.precision import (
    POLICIES,
    STRICT,
    allowed,
    cut_to_tf32,
    in_bfloat16,
    in_tf32,
    rounded_inputs,
)
from evolve_core.judge.observation import Check, Outcome, parse_output

A = torch.randn(96, 256, generator=torch.Generator().manual_seed(1))
B = torch.randn(256, 64, generator=torch.Generator().manual_seed(2))
TRUTH = A.double() @ B.double()


def is_accepted(candidate: torch.Tensor, policy: str) -> bool:
    native, truth = [("out", A @ B)], [("out", TRUTH)]
    rounded = rounded_inputs(policy, {"a": A, "b": B})
    native = allowed(native, truth, [[("out", one["a"].double() @ one["b"].double())] for one in rounded])
    (row,) = compare_outputs([("out", candidate)], truth, native, quantiles=True)
    check = Check("w0", 1, "nan", Outcome.COMPARED, "", (), (parse_output(row),), ())
    return isinstance(judge_check(check), Accepted)


def by(rounding: object, *, scale: float = 1.0) -> torch.Tensor:
    a, b = (rounding(one) if callable(rounding) else one for one in (A, B))
    return a @ b * scale


@pytest.mark.parametrize(
    ("policy", "passing", "failing"),
    [
        (STRICT, [by(None)], [by(in_tf32), by(cut_to_tf32), by(in_bfloat16), by(None, scale=1.005)]),
        (
            "tf32",
            [by(None), by(in_tf32), by(cut_to_tf32)],
            [by(in_bfloat16), by(in_tf32, scale=1.005), by(None, scale=1.005)],
        ),
        ("fast", [by(None), by(cut_to_tf32), by(in_bfloat16)], [by(in_bfloat16, scale=1.02), by(None) * 0]),
    ],
)
def test_a_policy_lets_inputs_be_rounded_and_nothing_else(
    policy: str, passing: list[torch.Tensor], failing: list[torch.Tensor]
) -> None:
    assert all(is_accepted(one, policy) for one in passing)
    assert not any(is_accepted(one, policy) for one in failing)


def test_rounding_is_to_nearest_and_leaves_what_is_no_number() -> None:
    value = torch.tensor(
        [1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -(1 + 2.0**-12), 0.0, float("inf"), float("nan")]
    )
    expected = torch.tensor([1 + 2.0**-10, 1.0, 1 + 2.0**-9, -1.0, 0.0, float("inf"), float("nan")])
    assert torch.equal(in_tf32(value).nan_to_num(7.0), expected.nan_to_num(7.0))
    assert cut_to_tf32(value).tolist()[:5] == [1 + 2.0**-10, 1.0, 1 + 2.0**-10, -1.0, 0.0]
    assert in_bfloat16(torch.tensor([1 + 2.0**-7, 1 + 2.0**-9])).tolist() == [1 + 2.0**-7, 1.0]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_not_fp32_is_not_rounded(policy: str) -> None:
    inputs = {"x": torch.ones(3, dtype=torch.float16), "n": 3, "i": torch.ones(3, dtype=torch.int32)}
    assert rounded_inputs(policy, inputs) == []


def test_the_farther_one_is_the_measure_in_the_layout_of_the_users_kernel() -> None:
    truth = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    own = torch.tensor([[1.1, 2.0], [3.0, float("nan")]]).t().contiguous().t()
    coarse = torch.tensor([[1.0, 2.2], [float("inf"), 5.0]], dtype=torch.float64)
    triple = [("out", own), ("count", 3), ("index", torch.tensor([1, 2]))]
    right = [("out", truth), ("count", 3), ("index", torch.tensor([1, 2]))]
    found = dict(allowed(triple, right, [[("out", coarse), ("count", 4), ("index", torch.tensor([9, 9]))]]))
    assert found["out"].stride() == own.stride()
    assert torch.equal(found["out"].nan_to_num(7.0), torch.tensor([[1.1, 2.2], [3.0, 7.0]]))
    assert found["count"] == 3 and found["index"].tolist() == [1, 2]
