"""A launch plan: what an entry does to the device on inputs of given shapes, as data that trusted code can carry out.

It is made where a candidate's host code runs on tensors without contents (tracing.py) and carried out where none of
it runs (carrying.py). The process that made it ran foreign code, so a plan is read with ``planreading.plan_from`` and
believed no further than that: the outputs of every call that it makes are checked like any other's.

Standard library alone, because plans are read where torch is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ALIGNMENT = 16
"""Bytes. Triton specialises on it, and CUDA's vector types need no more."""
SCALARS = ("i1", "i8", "i16", "i32", "i64", "u1", "u8", "u16", "u32", "u64", "fp16", "bf16", "fp32", "fp64")
"""Triton's names of the types of a kernel's scalar parameters."""
ITEM_BYTES = {
    **dict.fromkeys(("bool", "uint8", "int8"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64"), 8),
}
"""torch's names of the types that a plan's tensors may have. Complex ones are not: a tensor of them may be a conjugate
of what its memory holds, which no view says."""


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
    """Where a buffer comes from: the input of that name, or, where ``given`` is "", ``count`` new elements.

    ``values``: what is in it before the first step, in order; None: anything.
    ``kept``: it stays from one call to the next, as what a module makes while it is imported does.
    """

    given: str
    dtype: str
    count: int
    values: tuple[float | int, ...] | None = None
    kept: bool = False


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

    @property
    def span(self) -> int:
        """Elements from the first to the last, both counted; 0 for a tensor without elements."""
        if not all(self.shape):
            return 0
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))

    @property
    def is_dense(self) -> bool:
        """Whether every element from the first to the last is of the tensor, and once."""
        expected = 1
        for step, size in sorted(zip(self.stride, self.shape, strict=True)):
            if size == 1:
                continue
            if step != expected:
                return False
            expected *= size
        return True

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class Argument:
    """A kernel's argument: a pointer ``offset`` bytes into a buffer, or a scalar of one of ``SCALARS``."""

    memory: int | None = None
    offset: int = 0
    scalar: str = ""
    value: float | int = 0


@dataclass(frozen=True, slots=True)
class KernelLaunch:
    """``binary``: SHA-256 of the cubin. ``block`` counts threads. ``shared_bytes``: a block's dynamic shared memory.
    ``scratch_bytes``: global scratch of each program, which Triton allocates.
    """

    binary: str
    function: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
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


class OperandKind(StrEnum):
    TENSOR = "tensor"
    """One view."""
    TENSORS = "tensors"
    """A list of views, in which None stands for no tensor."""
    PLAIN = "plain"
    """A number, a word, None, or a list of numbers, as it is."""
    DTYPE = "dtype"
    """``value`` is one of ``ITEM_BYTES``."""
    DEVICE = "device"
    """The device that the plan is carried out on, whichever that is."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An argument of an operator, under the name that the operator's schema gives it."""

    name: str
    kind: OperandKind
    views: tuple[View | None, ...] = ()
    value: bool | int | float | str | tuple[bool | int | float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One of torch's operators, by name and overload as operations.ALLOWED lists it.

    ``results`` are what it gives, each in a buffer that is there from this step on; None where it gives nothing in that
    place. An operator that changes its arguments has no results.
    """

    operator: str
    operands: tuple[Operand, ...]
    results: tuple[View | None, ...] = ()

    @property
    def read(self) -> Iterator[View]:
        """The tensors handed to it."""
        return (view for operand in self.operands for view in operand.views if view is not None)

    @property
    def made(self) -> Iterator[View]:
        return (view for view in self.results if view is not None)


@dataclass(frozen=True, slots=True)
class Output:
    """What the entry returns, under its name (buffers.flatten_outputs): a tensor, or None."""

    name: str
    view: View | None


Step = KernelLaunch | Fill | Copy | Operation


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """``outputs`` is None where the entry returns nothing: then the inputs that it changed are its outputs.

    ``prelude`` is what was done to the memory that is kept, before the first call.
    ``untimed`` says of each kernel whose configuration is found by timing which one was taken without.
    """

    givens: tuple[Given, ...]
    memories: tuple[Memory, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...] | None
    prelude: tuple[Step, ...] = ()
    untimed: tuple[str, ...] = ()

    @property
    def launches(self) -> int:
        """Of one call."""
        return sum(isinstance(step, KernelLaunch) for step in self.steps)

    @property
    def binaries(self) -> frozenset[str]:
        return frozenset(step.binary for step in (*self.prelude, *self.steps) if isinstance(step, KernelLaunch))

    @property
    def operators(self) -> dict[str, int]:
        """Of one call: by the operator's name without its overload, the tensor elements handed to it."""
        found: dict[str, int] = {}
        for step in self.steps:
            if isinstance(step, Operation):
                name = step.operator.partition(".")[0]
                found[name] = found.get(name, 0) + sum(view.elements for view in step.read)
        return found

    def as_json(self) -> dict[str, Any]:
        """For another process; ``plan_from`` reads it."""
        return {**asdict(self), "prelude": _said(self.prelude), "steps": _said(self.steps)}


def _said(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [{"do": STEP_NAMES[type(step)], **asdict(step)} for step in steps]


STEP_NAMES: dict[type, str] = {KernelLaunch: "launch", Fill: "fill", Copy: "copy", Operation: "operation"}


def memories_of(step: Step) -> list[int]:
    """The buffers that a step reads or writes, those of its results included."""
    if isinstance(step, KernelLaunch):
        return [one.memory for one in step.arguments if one.memory is not None]
    return [view.memory for view in views_of(step)]


def views_of(step: Step) -> list[View]:
    """The tensors that a step reads or writes, its results included; a launch has pointers instead."""
    if isinstance(step, Fill):
        return [step.view]
    if isinstance(step, Copy):
        return [step.source, step.target]
    return [*step.read, *step.made] if isinstance(step, Operation) else []
