"""Who wrote which element, followed through the steps of a plan that are no launches."""

from __future__ import annotations

import time

import pytest
import torch

from evolve_core.judge.host.covered import BY_STEP, FILLED, Coverage
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.plan import (
    Argument,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Operand,
    OperandKind,
    Operation,
    Output,
    Step,
    View,
)
from evolve_core.judge.host.ttir.memory import NOBODY
from evolve_core.judge.host.ttir.parser import parse

STORE = """\
tt.func public @one(%y: !tt.ptr<f32>) {
  %p = tt.get_program_id x : i32
  %v = arith.constant 1.0 : f32
  %q = tt.addptr %y, %p : !tt.ptr<f32>, i32
  tt.store %q, %v : !tt.ptr<f32>
  tt.return
}
"""
X, Y, Z = (View(number, 0, "float32", (4,), (1,)) for number in range(3))
HALF = KernelLaunch("b", "one", (2, 1, 1), (32, 1, 1), 0, (Argument(memory=1),))
"""Program 0 writes the first element of Y, program 1 the second."""


def operation(name: str, *results: View, **operands: View) -> Operation:
    given = tuple(Operand(key, OperandKind.TENSOR, (view,)) for key, view in operands.items())
    return Operation(f"aten::{name}", given, results)


def owners(*steps: Step, output: View = Y, prelude: tuple[Step, ...] = (), kept: bool = False) -> list[int]:
    memories = (
        Memory("x", "float32", 0),
        Memory("", "float32", 4, kept=kept),
        Memory("", "float32", 4),
    )
    plan = LaunchPlan((Given("x", "float32", (4,), (1,)),), memories, steps, (Output("out", output),), prelude)
    coverage = Coverage(plan, {"b": parse(STORE)}, {"x": torch.empty(4)}, set(), time.process_time() + 60)
    (found,) = coverage.followed()
    assert not coverage.seen
    return list(found.owners.tolist())


N, F, S = NOBODY, FILLED, BY_STEP


@pytest.mark.parametrize(
    ("steps", "output", "expected"),
    [
        ((HALF,), Y, [0, 1, N, N]),
        ((HALF, HALF), Y, [2, 3, N, N]),
        ((Fill(Y, 0), HALF), Y, [0, 1, F, F]),
        ((HALF, Fill(Y, 0)), Y, [F] * 4),
        ((HALF, Copy(Y, Z)), Z, [0, 1, N, N]),
        ((Copy(X, Z),), Z, [S] * 4),
        ((HALF, operation("exp.default", Z, self=Y)), Z, [0, 1, N, N]),
        ((HALF, operation("add.Tensor", Z, self=Y, other=X)), Z, [N] * 4),
        ((Fill(Y, 0), HALF, operation("add.Tensor", Z, self=Y, other=X)), Z, [S] * 4),
        ((HALF, operation("add_.Tensor", self=Y, other=X)), Y, [0, 1, N, N]),
        ((Fill(Y, 0), operation("add_.Tensor", self=Y, other=X)), Y, [S] * 4),
        ((HALF, operation("mul.out", self=X, other=X, out=Y)), Y, [S] * 4),
        ((), X, [N] * 4),
    ],
)
def test_who_wrote_what(steps: tuple[Step, ...], output: View, expected: list[int]) -> None:
    assert owners(*steps, output=output) == expected


def test_what_was_written_before_the_call_is_as_good_as_filled() -> None:
    assert owners(prelude=(HALF,), kept=True) == [F, F, N, N]


def test_memory_seen_as_elements_of_two_sizes_is_not_followed() -> None:
    with pytest.raises(StepError, match="two sizes"):
        owners(HALF, output=View(1, 0, "int8", (16,), (1,)))
