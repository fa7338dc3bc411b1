"""Read a launch plan out of data from a process that ran foreign code: what is no plan is refused here.

What no plan may do is in planrules.py.

Standard library alone: the host's own process reads plans and has no torch. What only torch can say of an operator
(the types and shapes of its results) is compared where it is carried out (carrying.py).
"""

from __future__ import annotations

from typing import Any

from .operations import ALLOWED, Effect
from .plan import (
    ITEM_BYTES,
    SCALARS,
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
from .planrules import MAX_ARGUMENTS, MAX_BUFFERS, MAX_RANK, MAX_STEPS, MAX_VALUES, BadPlan, PlanRules

_LONGEST = 200
"""Characters of a name or a remark."""


def plan_from(data: Any) -> LaunchPlan:
    """The plan that ``as_json`` gave. Raises ``BadPlan`` for anything else."""
    try:
        plan = _plan(data)
    except BadPlan:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as broken:
        raise BadPlan(f"no launch plan: {type(broken).__name__}") from None
    PlanRules(plan).hold()
    return plan


def _plan(data: dict[str, Any]) -> LaunchPlan:
    outputs = data["outputs"]
    return LaunchPlan(
        givens=tuple(_given(one) for one in _some(data["givens"], MAX_BUFFERS)),
        memories=tuple(_memory(one) for one in _some(data["memories"], MAX_BUFFERS)),
        steps=tuple(_step(one) for one in _some(data["steps"], MAX_STEPS)),
        outputs=None if outputs is None else tuple(_output(one) for one in _some(outputs, MAX_BUFFERS)),
        prelude=tuple(_step(one) for one in _some(data["prelude"], MAX_STEPS)),
        untimed=tuple(_word(one) for one in _some(data["untimed"], MAX_STEPS)),
    )


def _output(data: dict[str, Any]) -> Output:
    return Output(str(data["name"]), _view_or_none(data["view"]))


def _given(data: dict[str, Any]) -> Given:
    return Given(
        name=str(data["name"]),
        dtype=str(data["dtype"]),
        shape=_counts(data["shape"]),
        stride=_counts(data["stride"]),
        shift=_count(data["shift"]),
        value=_frozen(data["value"]),
    )


def _frozen(value: Any) -> Any:
    """Lists as tuples: JSON knows no difference, and neither does the comparison of inputs."""
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _memory(data: dict[str, Any]) -> Memory:
    values = data["values"]
    if not isinstance(data["kept"], bool):
        raise BadPlan("a buffer that is kept or not")
    return Memory(
        str(data["given"]),
        _dtype(data["dtype"]),
        _count(data["count"]),
        None if values is None else tuple(_number(one) for one in _some(values, MAX_VALUES)),
        data["kept"],
    )


def _view(data: dict[str, Any]) -> View:
    shape, stride = _counts(data["shape"]), _counts(data["stride"])
    if len(shape) != len(stride):
        raise BadPlan("a tensor needs a stride for each of its sizes")
    return View(_count(data["memory"]), _count(data["offset"]), _dtype(data["dtype"]), shape, stride)


def _step(data: dict[str, Any]) -> Step:
    if data["do"] == "fill":
        return Fill(_view(data["view"]), _number(data["value"]))
    if data["do"] == "copy":
        return Copy(_view(data["source"]), _view(data["target"]))
    if data["do"] == "operation":
        return _operation(data)
    if data["do"] != "launch":
        raise BadPlan(f"an unknown step {str(data['do'])[:40]!r}")
    return KernelLaunch(
        binary=digest(data["binary"]),
        function=str(data["function"]),
        grid=_three(data["grid"]),
        block=_three(data["block"]),
        shared_bytes=_count(data["shared_bytes"]),
        arguments=tuple(_argument(one) for one in _some(data["arguments"], MAX_ARGUMENTS)),
        scratch_bytes=_count(data["scratch_bytes"]),
        scratch_align=_count(data["scratch_align"]),
    )


def _three(value: Any) -> tuple[int, int, int]:
    x, y, z = _counts(value)
    return x, y, z


def _argument(data: dict[str, Any]) -> Argument:
    if data["memory"] is not None:
        return Argument(memory=_count(data["memory"]), offset=_count(data["offset"]))
    if data["scalar"] not in SCALARS:
        raise BadPlan("a scalar of an unknown type")
    return Argument(scalar=data["scalar"], value=_number(data["value"]))


def _operation(data: dict[str, Any]) -> Operation:
    operator = str(data["operator"])
    effect = ALLOWED.get(operator)
    if effect not in (Effect.MAKES, Effect.CHANGES):
        raise BadPlan(f"the operator {operator[:80]!r}, which no plan may hold")
    results = tuple(_view_or_none(one) for one in _some(data["results"], MAX_ARGUMENTS))
    if (effect is Effect.CHANGES) is any(results):
        raise BadPlan(f"{operator} with {len(results)} results")
    return Operation(operator, tuple(_operand(one) for one in _some(data["operands"], MAX_ARGUMENTS)), results)


def _operand(data: dict[str, Any]) -> Operand:
    kind = OperandKind(data["kind"])
    views = tuple(_view_or_none(one) for one in _some(data["views"], MAX_ARGUMENTS))
    if kind is OperandKind.TENSOR and (len(views) != 1 or views[0] is None):
        raise BadPlan("an operand that is no tensor")
    if views and kind not in (OperandKind.TENSOR, OperandKind.TENSORS):
        raise BadPlan("an operand that is a tensor and something else")
    value = _plain(data["value"])
    if kind is OperandKind.DTYPE:
        value = _dtype(value)
    return Operand(_word(data["name"]), kind, views, value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_number(one) for one in _some(value, MAX_ARGUMENTS))
    if isinstance(value, str):
        return _word(value)
    return None if value is None else _number(value)


def _view_or_none(data: Any) -> View | None:
    return None if data is None else _view(data)


def _some(value: Any, most: int) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > most:
        raise BadPlan(f"not a list of at most {most}")
    return list(value)


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 1 << 62:
        raise BadPlan(f"{number} is no count")
    return number


def _counts(values: Any) -> tuple[int, ...]:
    return tuple(_count(value) for value in _some(values, MAX_RANK))


def _number(value: Any) -> float | int:
    if not isinstance(value, (bool, int, float)):
        raise BadPlan("not a number")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise BadPlan("not a word")
    return value


def _dtype(value: Any) -> str:
    if value not in ITEM_BYTES:
        raise BadPlan(f"tensors of type {str(value)[:40]}, which no plan may hold")
    return str(value)


def digest(value: Any) -> str:
    """A SHA-256 in hexadecimal. Raises ``BadPlan`` for anything else."""
    text = str(value)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise BadPlan("not a digest")
    return text
