"""Plans with torch's operators, as a hostile process would write them: each is refused before it is carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from evolve_core.judge.host.carrying import Carrier
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
    View,
)
from evolve_core.judge.host.planreading import plan_from
from evolve_core.judge.host.planrules import BadPlan

X = View(0, 0, "float32", (4, 2), (2, 1))
TWICE = View(1, 0, "float32", (4, 2), (2, 1))
TOTAL = View(2, 0, "float32", (4,), (1,))
TABLE = View(3, 0, "float32", (8,), (1,))


def tensor(name: str, view: View) -> Operand:
    return Operand(name, OperandKind.TENSOR, (view,))


DOUBLED = Operation("aten::mul.Tensor", (tensor("self", X), Operand("other", OperandKind.PLAIN, value=2)), (TWICE,))
SUMMED = Operation(
    "aten::sum.dim_IntList", (tensor("self", TWICE), Operand("dim", OperandKind.PLAIN, value=(1,))), (TOTAL,)
)
COUNTED = Operation(
    "aten::arange.default",
    (
        Operand("end", OperandKind.PLAIN, value=8),
        Operand("dtype", OperandKind.DTYPE, value="float32"),
        Operand("device", OperandKind.DEVICE),
    ),
    (TABLE,),
)
LAUNCH = KernelLaunch("0" * 64, "kernel", (1, 1, 1), (32, 1, 1), 0, (Argument(memory=0, offset=8),))
PLAN = LaunchPlan(
    givens=(Given("x", "float32", (4, 2), (2, 1)),),
    memories=(
        Memory("x", "float32", 0),
        Memory("", "float32", 8),
        Memory("", "float32", 4),
        Memory("", "float32", 8, kept=True),
        Memory("", "int64", 2, values=(0, 1)),
    ),
    prelude=(COUNTED,),
    steps=(LAUNCH, DOUBLED, SUMMED, Copy(X, View(3, 0, "float32", (4, 2), (2, 1)))),
    outputs=(Output("out", TOTAL),),
)


def test_an_honest_one_is_read_and_can_be_carried_out() -> None:
    assert plan_from(PLAN.as_json()) == PLAN
    ((_, out),) = Carrier(PLAN, "cpu", lambda *unused: None).call({"x": torch.ones(4, 2)})
    assert out.tolist() == [4.0] * 4


def with_memory(number: int, **changes: Any) -> dict[str, Any]:
    memories = list(PLAN.memories)
    memories[number] = replace(memories[number], **changes)
    return {"memories": tuple(memories)}


REFUSED: dict[str, dict[str, Any]] = {
    "an operator off the list": {"steps": (replace(DOUBLED, operator="aten::bernoulli.default"),)},
    "an operator of another library": {"steps": (replace(DOUBLED, operator="own::mul.Tensor"),)},
    "no operator": {"steps": (replace(DOUBLED, operator="os.system"),)},
    "an operator that only looks": {"steps": (replace(DOUBLED, operator="aten::as_strided.default"),)},
    "a change with a result": {"steps": (replace(DOUBLED, operator="aten::mul_.Tensor"),)},
    "a computation without a result": {"steps": (replace(DOUBLED, results=()),)},
    "an offset behind the buffer": {"outputs": (Output("out", replace(TWICE, offset=4)),)},
    "an offset before the buffer": {"outputs": (Output("out", replace(TWICE, offset=-4)),)},
    "an offset before an input": {"outputs": (Output("out", replace(X, offset=-4)),)},
    "a view behind an input": {"outputs": (Output("out", replace(X, offset=8)),)},
    "a negative stride": {"outputs": (Output("out", replace(TWICE, stride=(-2, 1))),)},
    "a negative size": {"outputs": (Output("out", replace(TWICE, shape=(-4, 2))),)},
    "a stride that leads outside": {"outputs": (Output("out", replace(TWICE, stride=(3, 1))),)},
    "strides for other sizes": {"outputs": (Output("out", replace(TWICE, stride=(1,))),)},
    "more dimensions than a tensor has": {
        "outputs": (Output("out", replace(TWICE, shape=(1,) * 99, stride=(1,) * 99)),)
    },
    "a wider type than the buffer has room for": {"outputs": (Output("out", replace(TWICE, dtype="float64")),)},
    "a type that may be a conjugate": {"outputs": (Output("out", replace(TWICE, dtype="complex64")),)},
    "a type that is none": {"outputs": (Output("out", replace(TWICE, dtype="Tensor")),)},
    "more memory than there is": with_memory(1, count=1 << 50),
    "sizes whose product passes 64 bits": {"outputs": (Output("out", replace(TWICE, shape=(1 << 60,) * 2)),)},
    "values for another count": with_memory(4, values=(0, 1, 2)),
    "values that are words": with_memory(4, values=("0", "1")),
    "values in an input": with_memory(0, values=(1.0,)),
    "an input of another type": with_memory(0, dtype="float64"),
    "an input that is kept": with_memory(0, kept=True),
    "a result before it is made": {"steps": (SUMMED, DOUBLED)},
    "a fill before it is made": {"steps": (Fill(TWICE, 0), DOUBLED)},
    "a pointer before it is made": {"steps": (replace(LAUNCH, arguments=(Argument(memory=1),)), DOUBLED)},
    "a result that is made twice": {"steps": (DOUBLED, DOUBLED, SUMMED)},
    "a result in an input": {"steps": (replace(DOUBLED, results=(X,)),)},
    "a result in its own argument": {"steps": (replace(DOUBLED, operands=(tensor("self", TWICE),)), SUMMED)},
    "a result inside its buffer": {
        "steps": (DOUBLED, replace(SUMMED, results=(replace(TOTAL, shape=(3,), offset=4),)))
    },
    "a result in written memory": {"steps": (DOUBLED, replace(SUMMED, results=(View(4, 0, "int64", (2,), (1,)),)))},
    "a kept result of a call": {**with_memory(2, kept=True)},
    "a prelude on memory of a call": {"prelude": (COUNTED, Fill(View(4, 0, "int64", (2,), (1,)), 0))},
    "a prelude on an input": {"prelude": (COUNTED, replace(LAUNCH, arguments=(Argument(memory=0),)))},
    "a prelude without the table": {"prelude": (), "steps": (*PLAN.steps, COUNTED)},
    "a pointer outside its buffer": {"steps": (replace(LAUNCH, arguments=(Argument(memory=0, offset=33),)),)},
    "a pointer before its buffer": {"steps": (replace(LAUNCH, arguments=(Argument(memory=0, offset=-8),)),)},
    "a buffer that is not there": {"steps": (replace(DOUBLED, operands=(tensor("self", replace(X, memory=9)),)),)},
    "an operand of two kinds": {
        "steps": (replace(DOUBLED, operands=(Operand("self", OperandKind.PLAIN, (X,), 1),)), SUMMED)
    },
    "an operand that is no tensor": {"steps": (replace(DOUBLED, operands=(Operand("self", OperandKind.TENSOR),)),)},
    "a type that is no type": {
        "steps": (replace(DOUBLED, operands=(tensor("self", X), Operand("dtype", OperandKind.DTYPE, value="x"))),)
    },
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_where_it_is_read(change: dict[str, Any]) -> None:
    with pytest.raises(BadPlan):
        plan_from(replace(PLAN, **change).as_json())


def doubled(**changes: Any) -> tuple[Operation, ...]:
    return (replace(DOUBLED, **changes), SUMMED)


WRONG: dict[str, tuple[Any, ...]] = {
    "another type of result": doubled(results=(replace(TWICE, dtype="int32"),)),
    "another shape of result": doubled(results=(replace(TWICE, shape=(2, 4), stride=(4, 1)),)),
    "another number of results": (DOUBLED, replace(SUMMED, results=(TOTAL, View(5, 0, "float32", (4,), (1,))))),
    "an argument that there is not": doubled(
        operands=(*DOUBLED.operands, Operand("alpha", OperandKind.PLAIN, value=2))
    ),
    "an argument too few": doubled(operands=DOUBLED.operands[:1]),
    "a word for a number": doubled(operands=(DOUBLED.operands[0], Operand("other", OperandKind.PLAIN, value="2"))),
    "a dimension that there is not": (
        DOUBLED,
        replace(SUMMED, operands=(SUMMED.operands[0], Operand("dim", OperandKind.PLAIN, value=(7,)))),
    ),
    "room for more than an argument has": (
        DOUBLED,
        SUMMED,
        Operation(
            "aten::add.out",
            (tensor("self", X), tensor("other", X), tensor("out", replace(TOTAL, shape=(0,), stride=(1,)))),
        ),
    ),
}


UNCALLABLE = (
    "an argument that there is not",
    "an argument too few",
    "a word for a number",
    "a dimension that there is not",
)


@pytest.mark.parametrize("name", WRONG)
def test_what_only_torch_can_tell_is_refused_in_the_call(name: str) -> None:
    """What the plan says of an operator's results is never believed, nor that it can be called like this."""
    plan = replace(PLAN, steps=WRONG[name], memories=(*PLAN.memories, Memory("", "float32", 4)))
    carrier = Carrier(plan_from(plan.as_json()), "cpu", lambda *unused: None)
    refusals = (RuntimeError, TypeError, IndexError) if name in UNCALLABLE else StepError
    with pytest.raises(refusals, match=r"aten::|[Dd]imension"):
        carrier.call({"x": torch.ones(4, 2)})
