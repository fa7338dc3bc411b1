"""A plan with torch's operators, carried out on tensors of the CPU; launches go to a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from evolve_core.judge.host.carrying import Carrier, OrdinaryRoom
from evolve_core.judge.host.operations import ALLOWED, Effect
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

ROWS, COLUMNS = 6, 4
X = View(0, 0, "float32", (ROWS, COLUMNS), (COLUMNS, 1))
FRESH = View(1, 0, "float32", (ROWS, COLUMNS), (COLUMNS, 1))
INPUT = Given("x", "float32", (ROWS, COLUMNS), (COLUMNS, 1))


def tensor(name: str, *views: View) -> Operand:
    return Operand(name, OperandKind.TENSOR if len(views) == 1 else OperandKind.TENSORS, views)


def plain(name: str, value: Any) -> Operand:
    return Operand(name, OperandKind.PLAIN, value=value)


def plan(memories: list[Memory], steps: list[Any], output: View, **more: Any) -> LaunchPlan:
    made = LaunchPlan((INPUT,), (Memory("x", "float32", 0), *memories), tuple(steps), (Output("out", output),), **more)
    return plan_from(made.as_json())


def out_of(made: LaunchPlan, x: torch.Tensor, launch: Callable[..., None] = lambda *unused: None) -> torch.Tensor:
    ((name, out),) = Carrier(made, "cpu", launch).call({"x": x})
    assert name == "out"
    return out


def x() -> torch.Tensor:
    return torch.arange(float(ROWS * COLUMNS)).reshape(ROWS, COLUMNS)


NEW = Memory("", "float32", ROWS * COLUMNS)
ROW = View(1, 0, "float32", (ROWS,), (1,))
COMPUTED: dict[str, tuple[Operation, Memory, torch.Tensor]] = {
    "element by element": (
        Operation("aten::add.Tensor", (tensor("self", X), tensor("other", X), plain("alpha", 3)), (FRESH,)),
        NEW,
        x() * 4,
    ),
    "a reduction": (
        Operation("aten::sum.dim_IntList", (tensor("self", X), plain("dim", (1,))), (ROW,)),
        Memory("", "float32", ROWS),
        x().sum(1),
    ),
    "of a transposed view": (
        Operation(
            "aten::amax.default",
            (tensor("self", replace(X, shape=(COLUMNS, ROWS), stride=(1, COLUMNS))), plain("dim", (0,))),
            (ROW,),
        ),
        Memory("", "float32", ROWS),
        x().t().amax(0),
    ),
    "a list of tensors": (
        Operation("aten::cat.default", (tensor("tensors", X, X),), (replace(FRESH, shape=(2 * ROWS, COLUMNS)),)),
        Memory("", "float32", 2 * ROWS * COLUMNS),
        torch.cat([x(), x()]),
    ),
    "in another type": (
        Operation(
            "aten::sum.default",
            (tensor("self", X), Operand("dtype", OperandKind.DTYPE, value="float64")),
            (View(1, 0, "float64", (), ()),),
        ),
        Memory("", "float64", 1),
        x().sum(dtype=torch.float64),
    ),
    "out of numbers": (
        Operation(
            "aten::arange.start",
            (plain("start", 2), plain("end", 8), Operand("device", OperandKind.DEVICE)),
            (View(1, 0, "int64", (6,), (1,)),),
        ),
        Memory("", "int64", 6),
        torch.arange(2, 8),
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_an_operator_gives_what_it_gives(name: str) -> None:
    step, memory, expected = COMPUTED[name]
    out = out_of(plan([memory], [step], next(step.made)), x())
    assert torch.equal(out, expected)
    assert out.dtype == expected.dtype


def test_one_of_several_results() -> None:
    largest, where = View(1, 0, "float32", (ROWS,), (1,)), View(2, 0, "int64", (ROWS,), (1,))
    step = Operation("aten::max.dim", (tensor("self", X), plain("dim", 1)), (largest, where))
    made = plan([Memory("", "float32", ROWS), Memory("", "int64", ROWS)], [step], where)
    assert torch.equal(out_of(made, x()), x().max(1).indices)


def test_a_change_in_place_shows_in_every_view_of_the_memory() -> None:
    row = View(1, 4 * COLUMNS, "float32", (COLUMNS,), (1,))
    steps = [Copy(X, FRESH), Operation("aten::mul_.Tensor", (tensor("self", row), plain("other", -1)))]
    expected = x()
    expected[1] *= -1
    assert torch.equal(out_of(plan([NEW], steps, FRESH), x()), expected)


def test_a_change_of_an_input_is_a_change_of_the_input() -> None:
    given = x()
    step = Operation("aten::add.out", (tensor("self", X), tensor("other", X), tensor("out", X)))
    out = out_of(plan([], [step], X), given)
    assert torch.equal(given, x() * 2)
    assert out.data_ptr() == given.data_ptr()


def test_overlapping_memory_is_not_written_to() -> None:
    wide = replace(FRESH, stride=(0, 1))
    step = Operation("aten::add_.Tensor", (tensor("self", wide), plain("other", 1)))
    with pytest.raises(RuntimeError, match="single memory location"):
        out_of(plan([NEW], [Fill(FRESH, 0), step], FRESH), x())


def test_a_result_that_torch_lays_out_otherwise_is_moved_to_where_the_plan_has_it() -> None:
    columns_first = replace(FRESH, stride=(1, ROWS))
    step = Operation("aten::mul.Tensor", (tensor("self", X), plain("other", 2)), (columns_first,))
    again = Operation("aten::neg.default", (tensor("self", columns_first),), (replace(columns_first, memory=2),))
    out = out_of(plan([NEW, NEW], [step, again], replace(columns_first, memory=2)), x())
    assert torch.equal(out, x() * -2)
    assert out.stride() == (1, ROWS)


def test_numbers_of_the_host_code_are_there_anew_in_every_call() -> None:
    scale = View(1, 0, "float32", (COLUMNS,), (1,))
    made = plan(
        [Memory("", "float32", COLUMNS, values=(1, 2, 3, float("inf"))), replace(NEW)],
        [
            Operation("aten::mul.Tensor", (tensor("self", X), tensor("other", scale)), (replace(FRESH, memory=2),)),
            Fill(scale, 0),
        ],
        replace(FRESH, memory=2),
    )
    carrier = Carrier(made, "cpu", lambda *unused: None)
    for _ in range(2):
        ((_, out),) = carrier.call({"x": x() + 1})
        assert torch.equal(out, (x() + 1) * torch.tensor([1, 2, 3, float("inf")]))


@dataclass
class Kernel:
    """Adds one to what it is given first and notes what it saw there, as a kernel with a table or a scratch would."""

    seen: list[float] = field(default_factory=list)

    def __call__(self, step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
        assert scratch is None
        (pointer,) = step.arguments
        assert pointer.memory is not None
        self.seen.append(float(buffers[pointer.memory][0]))
        buffers[pointer.memory] += 1


class Marked:
    """A room whose buffers hold 100, as poisoned memory would."""

    def __init__(self) -> None:
        self.adopted: list[torch.Tensor] = []

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((count,), 100, dtype=dtype)

    def scratch(self, bytes_: int) -> torch.Tensor:
        return self.empty(bytes_, torch.uint8)

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        self.adopted.append(result.clone())
        return self.adopted[-1]


TABLE = View(1, 0, "float32", (3,), (1,))
LAUNCH = KernelLaunch("0" * 64, "kernel", (1, 1, 1), (32, 1, 1), 0, (Argument(memory=1),))
KEEPING = plan([Memory("", "float32", 3, kept=True)], [LAUNCH], TABLE, prelude=(Fill(TABLE, 7), LAUNCH))


def test_a_call_finds_nothing_of_another_in_what_is_kept() -> None:
    kernel = Kernel()
    carrier = Carrier(KEEPING, "cpu", kernel)
    for room in (OrdinaryRoom("cpu"), Marked()):
        carrier.prepared({"x": x()}, room)()
    assert kernel.seen == [7, 8, 7, 8]


def test_what_is_kept_is_there_before_the_call() -> None:
    kernel = Kernel()
    Carrier(KEEPING, "cpu", kernel).prepared({"x": x()}, OrdinaryRoom("cpu"))
    assert kernel.seen == [7]


def test_results_of_operators_are_moved_into_the_room() -> None:
    room = Marked()
    step, memory, expected = COMPUTED["a reduction"]
    ((_, out),) = Carrier(plan([memory], [step], ROW), "cpu", Kernel()).prepared({"x": x()}, room)()
    assert out.data_ptr() == room.adopted[0].data_ptr()
    assert torch.equal(out, expected)


def test_the_list_says_of_every_operator_what_its_schema_says() -> None:
    for name, effect in ALLOWED.items():
        namespace, _, rest = name.partition("::")
        packet, _, overload = rest.partition(".")
        operator = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
        aliased = any(one.alias_info is not None for one in operator._schema.returns)
        said = Effect.CHANGES if operator._schema.is_mutable else Effect.LOOKS if aliased else Effect.MAKES
        # Made for the compiler: their schemas do not mention that the result lies in the argument's memory.
        assert effect is (Effect.LOOKS if "unsafe" in name else said), name
        assert torch.Tag.nondeterministic_seeded not in operator.tags, name
        assert torch.Tag.data_dependent_output not in operator.tags, name


def test_no_operator_of_the_list_draws_or_waits() -> None:
    forbidden = ("rand", "normal_", "bernoulli", "dropout", "multinomial", "item", "_local_scalar", "nonzero", "unique")
    assert [name for name in ALLOWED if any(word in name for word in forbidden)] == []


def test_what_an_operator_was_handed_is_counted_for_the_verdict() -> None:
    step, memory, _ = COMPUTED["a list of tensors"]
    made = plan([memory], [step], next(step.made))
    assert made.operators == {"aten::cat": 2 * ROWS * COLUMNS}


def test_without_its_launches_a_plan_does_the_rest() -> None:
    made = plan([Memory("", "float32", 3)], [Fill(TABLE, 1), LAUNCH], TABLE, prelude=())
    kernel = Kernel()
    ((_, out),) = Carrier(made, "cpu", kernel).prepared({"x": x()}, Marked(), idle=True)()
    assert out.tolist() == [1, 1, 1]
    assert not kernel.seen
