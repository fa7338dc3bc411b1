"""A launch plan: what an entry does to the device on inputs of given shapes, as data that trusted code can carry out.

It is made where a candidate's host code runs on tensors without contents (tracing.py) and carried out where none of
it runs (gpu/planned.py). The process that made it ran foreign code, so a plan is read with ``plan_from`` and believed
no further than that: the outputs of every call that it makes are checked like any other's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

ALIGNMENT = 16
"""Bytes. Triton specialises on it, and CUDA's vector types need no more."""
MAX_STEPS = 256
MAX_BUFFERS = 1024
MAX_ARGUMENTS = 512
MAX_GRID = (2**31 - 1, 65535, 65535)
"""CUDA C++ programming guide, table "Technical Specifications per Compute Capability"."""
MAX_THREADS = 1024
"""Of a block; from the same table."""
SCALARS = ("i1", "i8", "i16", "i32", "i64", "u1", "u8", "u16", "u32", "u64", "fp16", "bf16", "fp32", "fp64")
"""Triton's names of the types of a kernel's scalar parameters."""


class BadPlan(ValueError):
    """It is no plan; only a broken or hostile process sends one."""


@dataclass(frozen=True, slots=True)
class Given:
    """An input that the plan was made for. A tensor has dtype, shape and stride; ``value`` is any other input.

    ``shift``: bytes of a tensor's address past a multiple of ``ALIGNMENT``.
    """

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    shift: int = 0
    value: Any = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a buffer comes from: the input of that name, or, where ``given`` is "", ``count`` new elements."""

    given: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class View:
    """A tensor in a buffer. ``offset`` in bytes from the buffer's start; for an input, from the input's first element.

    ``stride`` counts elements of ``dtype``.
    """

    memory: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """A kernel's argument: a pointer ``offset`` bytes into a buffer, or a scalar of one of ``SCALARS``."""

    memory: int | None = None
    offset: int = 0
    scalar: str = ""
    value: float | int = 0


@dataclass(frozen=True, slots=True)
class KernelLaunch:
    """``binary``: SHA-256 of the cubin. ``scratch_bytes``: global scratch of each program, which Triton allocates."""

    binary: str
    function: str
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    arguments: tuple[Argument, ...]
    scratch_bytes: int = 0
    scratch_align: int = 1


@dataclass(frozen=True, slots=True)
class Fill:
    """Every element of ``view`` becomes ``value``."""

    view: View
    value: float | int


@dataclass(frozen=True, slots=True)
class Copy:
    """``target`` becomes ``source``, converted to its type."""

    source: View
    target: View


@dataclass(frozen=True, slots=True)
class Output:
    """What the entry returns, under its name (buffers.flatten_outputs): a tensor, or None."""

    name: str
    view: View | None


Step = KernelLaunch | Fill | Copy


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """``outputs`` is None where the entry returns nothing: then the inputs that it changed are its outputs."""

    givens: tuple[Given, ...]
    memories: tuple[Memory, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...] | None

    @property
    def launches(self) -> int:
        return sum(isinstance(step, KernelLaunch) for step in self.steps)

    @property
    def binaries(self) -> frozenset[str]:
        return frozenset(step.binary for step in self.steps if isinstance(step, KernelLaunch))

    def as_json(self) -> dict[str, Any]:
        """For another process; ``plan_from`` reads it."""
        steps = [{"do": _NAMES[type(step)], **asdict(step)} for step in self.steps]
        plain = asdict(self)
        return {**plain, "steps": steps}


_NAMES = {KernelLaunch: "launch", Fill: "fill", Copy: "copy"}


def plan_from(data: Any) -> LaunchPlan:
    """The plan that ``as_json`` gave. Raises ``BadPlan`` for anything else."""
    try:
        plan = _plan(data)
    except (KeyError, TypeError, ValueError, AttributeError) as broken:
        raise BadPlan(f"no launch plan: {type(broken).__name__}") from None
    _refuse_strays(plan)
    return plan


def _plan(data: dict[str, Any]) -> LaunchPlan:
    outputs = data["outputs"]
    return LaunchPlan(
        givens=tuple(_given(one) for one in _some(data["givens"], MAX_BUFFERS)),
        memories=tuple(_memory(one) for one in _some(data["memories"], MAX_BUFFERS)),
        steps=tuple(_step(one) for one in _some(data["steps"], MAX_STEPS)),
        outputs=None if outputs is None else tuple(_output(one) for one in _some(outputs, MAX_BUFFERS)),
    )


def _output(data: dict[str, Any]) -> Output:
    return Output(str(data["name"]), None if data["view"] is None else _view(data["view"]))


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
    return Memory(str(data["given"]), str(data["dtype"]), _count(data["count"]))


def _view(data: dict[str, Any]) -> View:
    return View(
        _count(data["memory"]),
        int(data["offset"]),
        str(data["dtype"]),
        _counts(data["shape"]),
        _counts(data["stride"]),
    )


def _step(data: dict[str, Any]) -> Step:
    if data["do"] == "fill":
        return Fill(_view(data["view"]), _number(data["value"]))
    if data["do"] == "copy":
        return Copy(_view(data["source"]), _view(data["target"]))
    if data["do"] != "launch":
        raise BadPlan(f"an unknown step {str(data['do'])[:40]!r}")
    x, y, z = (_count(n) for n in data["grid"])
    return KernelLaunch(
        binary=_digest(data["binary"]),
        function=str(data["function"]),
        grid=(x, y, z),
        threads=_count(data["threads"]),
        shared_bytes=_count(data["shared_bytes"]),
        arguments=tuple(_argument(one) for one in _some(data["arguments"], MAX_ARGUMENTS)),
        scratch_bytes=_count(data["scratch_bytes"]),
        scratch_align=_count(data["scratch_align"]),
    )


def _argument(data: dict[str, Any]) -> Argument:
    if data["memory"] is not None:
        return Argument(memory=_count(data["memory"]), offset=int(data["offset"]))
    if data["scalar"] not in SCALARS:
        raise BadPlan("a scalar of an unknown type")
    return Argument(scalar=data["scalar"], value=_number(data["value"]))


def _refuse_strays(plan: LaunchPlan) -> None:
    """What the driver would refuse or do something surprising with."""
    known = len(plan.memories)
    used = [view.memory for view in _views(plan)]
    for step in plan.steps:
        if not isinstance(step, KernelLaunch):
            continue
        used += [one.memory for one in step.arguments if one.memory is not None]
        if any(not 0 < size <= most for size, most in zip(step.grid, MAX_GRID, strict=True)):
            raise BadPlan(f"{step.function} is launched with the grid {step.grid}")
        if not 0 < step.threads <= MAX_THREADS:
            raise BadPlan(f"{step.function} is launched with {step.threads} threads in a block")
    if any(memory >= known for memory in used):
        raise BadPlan("a buffer that the plan does not have")
    names = {given.name for given in plan.givens if given.dtype}
    if any(memory.given and memory.given not in names for memory in plan.memories):
        raise BadPlan("an input that the entry does not have")


def _views(plan: LaunchPlan) -> Iterable[View]:
    for step in plan.steps:
        if isinstance(step, Fill):
            yield step.view
        elif isinstance(step, Copy):
            yield step.source
            yield step.target
    yield from (output.view for output in plan.outputs or () if output.view is not None)


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
    return tuple(_count(value) for value in values)


def _number(value: Any) -> float | int:
    if not isinstance(value, (bool, int, float)):
        raise BadPlan("not a number")
    return value


def _digest(value: Any) -> str:
    text = str(value)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise BadPlan("not a digest")
    return text
