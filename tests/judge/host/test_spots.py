"""Which programs of a plan's launches run for the values of a few elements, and what comes out."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from evolve_core.judge.host.covered import Coverage
from evolve_core.judge.host.plan import (
    Argument,
    Copy,
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
from evolve_core.judge.host.spots import SpotRun
from evolve_core.judge.host.ttir.parser import parse

PLUS_ONE = """\
tt.func public @plus_one(%x: !tt.ptr<f32>, %y: !tt.ptr<f32>) {
  %p = tt.get_program_id x : i32
  %one = arith.constant 1.0 : f32
  %from = tt.addptr %x, %p : !tt.ptr<f32>, i32
  %v = tt.load %from : !tt.ptr<f32>
  %w = arith.addf %v, %one : f32
  %to = tt.addptr %y, %p : !tt.ptr<f32>, i32
  tt.store %to, %w : !tt.ptr<f32>
  tt.return
}
"""
COUNT = 6
X, T, Y, Z = range(4)


def view(memory: int) -> View:
    return View(memory, 0, "float32", (COUNT,), (1,))


def plus_one(source: int, target: int) -> KernelLaunch:
    return KernelLaunch(
        "b", "plus_one", (COUNT, 1, 1), (32, 1, 1), 0, (Argument(memory=source), Argument(memory=target))
    )


FLIPPED = Operation(
    "aten::flip.default",
    (Operand("self", OperandKind.TENSOR, (view(T),)), Operand("dims", OperandKind.PLAIN, value=(0,))),
    (view(Z),),
)
EACH, NONE = [2, 4], []


@pytest.mark.parametrize(
    ("steps", "output", "programs", "more"),
    [
        ((plus_one(X, Y),), Y, [EACH], 1),
        ((plus_one(X, T), plus_one(T, Y)), Y, [EACH, EACH], 2),
        ((plus_one(X, T), plus_one(X, Y)), Y, [NONE, EACH], 1),
        ((plus_one(X, T), Copy(view(T), view(Y))), Y, [EACH], 1),
        ((plus_one(X, T), Copy(view(T), view(Z)), plus_one(Z, Y)), Y, [EACH, EACH], 2),
        ((plus_one(X, T), plus_one(T, T), plus_one(T, Y)), Y, [None, EACH, EACH], 3),
        ((plus_one(X, X), plus_one(X, Y)), Y, [None, EACH], 2),
    ],
    ids=["one", "two", "another's", "a copy", "through a copy", "in place", "an input"],
)
def test_only_programs_that_matter_run(
    steps: tuple[Step, ...], output: int, programs: list[list[int] | None], more: float
) -> None:
    run, inputs = made(steps, output)
    ((name, values),) = run.values(dict(inputs))
    assert name == "out"
    assert values.tolist() == [2 + more, 4 + more]
    found = run._programs({"x": torch.arange(COUNT, dtype=torch.float32)})
    assert [None if one is None else one.tolist() for one in found] == programs


def test_what_torch_reads_is_there_whole() -> None:
    run, inputs = made((plus_one(X, T), FLIPPED), Z)
    ((_, values),) = run.values(inputs)
    assert values.tolist() == [COUNT - 1 - place + 1 for place in EACH]


def made(steps: tuple[Step, ...], output: int) -> tuple[SpotRun, dict[str, torch.Tensor]]:
    memories = (Memory("x", "float32", 0), *(Memory("", "float32", COUNT) for _ in (T, Y, Z)))
    plan = LaunchPlan((Given("x", "float32", (COUNT,), (1,)),), memories, steps, (Output("out", view(output)),))
    modules, until = {"b": parse(PLUS_ONE)}, time.process_time() + 60
    coverage = Coverage(plan, modules, {"x": torch.empty(COUNT)}, set(), until)
    (covered,) = coverage.followed()
    spots = np.array(EACH)
    run = SpotRun(plan, modules, {"out": spots}, {"out": covered.owners.numpy()[spots]}, coverage, until)
    return run, {"x": torch.arange(COUNT, dtype=torch.float32)}
