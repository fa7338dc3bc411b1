"""Whose work it was: what torch's operators did for a candidate's host code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.host.operators import RecordedOperators
from evolve_core.judge.library import done_by_library, planned_for_library
from evolve_core.judge.observation import Check, Input, Observation, Outcome, Workload
from evolve_core.task.model import Task, TaskKind

X, W = torch.randn(64, 48), torch.randn(48, 32)
INPUTS = X.numel() + W.numel()


def recorded(expression: str) -> dict[str, int]:
    with RecordedOperators() as operators, torch.no_grad():
        eval(expression, {"torch": torch, "x": X, "w": W})
    return operators.elements


def judged(candidate: str, reference: str = "x", own: str = "x") -> str:
    records = {"host_operators": candidate, "native_operators": own, "reference_operators": reference}
    seen = {name: recorded(expression) for name, expression in records.items()}
    return done_by_library([Check("c0", 1, "nan", Outcome.COMPARED, "", (), (), (), input_elements=INPUTS, **seen)])


@pytest.mark.parametrize(
    "expression",
    ["x @ w", "torch.einsum('ij,jk->ik', x, w)", "torch.nn.functional.linear(x, w.t())", "torch.softmax(x, -1)"],
)
def test_the_library_in_place_of_the_kernel(expression: str) -> None:
    assert "has the library do the work" in judged(expression, reference=expression)
    assert not judged(expression, reference=expression, own=expression)


def test_a_convolution_an_attention_and_a_normalisation() -> None:
    assert "convolution" in judged("torch.nn.functional.conv1d(x[None], torch.ones(1, 64, 3))")
    assert "attention" in judged("torch.nn.functional.scaled_dot_product_attention(*[x[None, None]] * 3)")
    assert "normalisation" in judged("torch.nn.functional.layer_norm(x, (48,))")


def test_a_softmax_in_parts() -> None:
    assert "reduction" in judged("x.exp() / x.exp().sum(1, keepdim=True)", reference="torch.softmax(x, -1)")


@pytest.mark.parametrize(
    "expression",
    [
        "x.t().contiguous().to(torch.float16)",
        "torch.cat([x, x]).clone().fill_(1)",
        "torch.zeros_like(x) + x * 2",
        "x[:2].sum(0)",
        "torch.arange(40).cumsum(0)",
    ],
)
def test_what_honest_host_code_does(expression: str) -> None:
    assert not judged(expression, reference="x.sum(0)")


def test_partial_results_of_a_split_product_may_be_summed() -> None:
    assert not judged("torch.stack([x, x, x, x]).sum(0)", reference="x @ w")


SOFTMAX = {"aten::_softmax": 2048}
ALIKE = Workload("w0", "x[64, 32]", 1.0, "listed", "both", (Input("x", "float32", (64, 32)),), {})


def planned(
    candidate: dict[str, dict[str, int]], own: dict[str, dict[str, int]], reference: str = "aten::_softmax"
) -> str:
    check = Check("c0", 1, "nan", Outcome.COMPARED, "", (), (), (), reference_operators={reference: 1})
    plain = Observation(None, (), (), (), (check,), (), (), (), {})
    task = Task(Path("t"), Path("s"), TaskKind.ENTRY, "softmax", (), has_reference=True, has_domain=True)
    opened = OpenedTask("t", task, "", "", "gpu", (ALIKE,), replace(plain, planned_operators=own))
    return planned_for_library(opened, replace(plain, planned_operators=candidate))


def test_a_plan_that_has_the_library_do_the_work() -> None:
    assert "softmax by torch's _softmax" in planned({"w0": SOFTMAX}, {"w0": {}})
    assert "matrix product" in planned({"w0": {"aten::mm": 4096}}, {"w0": {"aten::sum": 4096}})


def test_a_plan_may_use_what_the_users_own_uses() -> None:
    assert not planned({"w0": SOFTMAX}, {"w0": SOFTMAX})


def test_a_plan_may_finish_what_its_kernels_began() -> None:
    assert not planned({"w0": {"aten::sum": 64, "aten::add": 1 << 20, "aten::cat": 1 << 20}}, {"w0": {}})
    assert not planned({"w0": {"aten::sum": 4096}}, {"w0": {}}, reference="aten::mm")
    assert "reduction" in planned({"w0": {"aten::sum": 4096}}, {"w0": {}}, reference="aten::sum")


def test_without_a_plan_of_both_nothing_is_compared() -> None:
    assert not planned({"w0": SOFTMAX}, {})
    assert not planned({}, {"w0": {}})
