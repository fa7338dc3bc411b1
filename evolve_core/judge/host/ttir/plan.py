"""What is known of a block before it runs: who handles each operation, what it counts for, what is dead after it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import atomics, covering, elementwise, floats, inline, integers, pointers, shaping
from .errors import BadIr, Unsupported
from .formats import is_float, name_of
from .ir import Block, Operation, Region, Scalar, Tensor, Type, size_of
from .typetext import SCALARS

Handler = Callable[..., object]

HANDLERS: dict[str, Handler] = {
    **elementwise.HANDLERS,
    **shaping.HANDLERS,
    **pointers.HANDLERS,
    **atomics.HANDLERS,
    **covering.HANDLERS,
    "tt.elementwise_inline_asm": inline.inline_assembly,
}
_CONTROL = frozenset(
    (
        "arith.constant",
        "scf.for",
        "scf.if",
        "scf.while",
        "scf.yield",
        "scf.condition",
        "cf.br",
        "cf.cond_br",
        "tt.call",
        "tt.return",
        "tt.reduce",
        "tt.scan",
        "tt.reduce.return",
        "tt.scan.return",
    )
)
IGNORED = frozenset(
    (
        "tt.print",
        "ttg.barrier",
        "gpu.barrier",
        "tt.grid_dependency_wait",
        "tt.grid_dependency_launch_dependents",
    )
)
"""What has no effect on values. The elements of a program go in lock step, so a barrier holds already."""


_ON_FLOATS = frozenset(
    (*floats.BINARY, *floats.UNARY, *floats.TERNARY, "arith.cmpf", "tt.clampf", "arith.extf", "arith.truncf",
     "tt.fp_to_fp", "arith.fptosi", "arith.fptoui", "math.isnan", "math.isinf", "math.isfinite")
)  # fmt: skip
_ON_INTEGERS = frozenset(
    (*integers.BINARY, *integers.DIVISIONS, "arith.cmpi", "arith.extsi", "arith.extui", "arith.trunci", "arith.sitofp",
     "arith.uitofp", "arith.index_cast", "arith.index_castui", "math.absi", "math.ctpop", "math.ctlz", "math.cttz",
     "tt.int_to_ptr", "tt.histogram", "arith.addui_extended", "arith.mulsi_extended", "arith.mului_extended")
)  # fmt: skip
_TO_FLOATS = frozenset(("arith.extf", "arith.truncf", "tt.fp_to_fp", "arith.sitofp", "arith.uitofp"))
_TO_INTEGERS = frozenset(
    ("arith.fptosi", "arith.fptoui", "arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast",
     "arith.index_castui", "tt.ptr_to_int", "tt.histogram")
)  # fmt: skip
_FLOATS = frozenset(name for name in SCALARS if is_float(Scalar(name)))
_INTEGERS = SCALARS - _FLOATS


_TAKE_VIEWS = frozenset((*pointers.HANDLERS, *covering.HANDLERS, "scf.for", "scf.if", "scf.while", "tt.call"))


class Cost(enum.Enum):
    """Which account of ``work.Work`` an operation counts for."""

    NONE = enum.auto()
    FLOAT = enum.auto()
    SPECIAL = enum.auto()
    INTEGER = enum.auto()


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. ``size``: elements of its largest operand or result; ``dead``: values that nothing reads after it.

    ``handler``: None for control flow, which the machine does itself.
    ``views``: it takes descriptors and block pointers.
    """

    operation: Operation
    handler: Handler | None
    size: int
    cost: Cost
    dead: tuple[str, ...]
    views: bool


def steps_of(block: Block, kept: frozenset[str] = frozenset()) -> tuple[Step, ...]:
    """``kept``: what other blocks of the region read, which does not die here. Raises Unsupported and BadIr."""
    last_use: dict[str, int] = {}
    defined: set[str] = set()
    for place, operation in enumerate(block.operations):
        defined.update(operation.results)
        for name in (*_reads(operation), *operation.results):
            last_use[name] = place
    dead: list[list[str]] = [[] for _ in block.operations]
    for name, place in last_use.items():
        if name in defined and name not in kept:
            dead[place].append(name)
    made = []
    for place, operation in enumerate(block.operations):
        handler = HANDLERS.get(operation.name)
        if handler is None and operation.name not in _CONTROL and operation.name not in IGNORED:
            raise Unsupported(operation.name, line=operation.text_line)
        _check_elements(operation)
        made.append(
            Step(
                operation,
                handler,
                _size(operation),
                _cost(operation),
                tuple(dead[place]),
                operation.name in _TAKE_VIEWS,
            )
        )
    return tuple(made)


def read_in_several(region: Region) -> frozenset[str]:
    """Values that a block of the region reads and another one defines."""
    if len(region.blocks) == 1:
        return frozenset()
    found: set[str] = set()
    for block in region.blocks:
        reads = {name for operation in block.operations for name in _reads(operation)}
        found |= reads.difference(name for operation in block.operations for name in operation.results)
    return frozenset(found)


def most_alive(region: Region) -> int:
    """Elements of the values that one program holds at once, at most, in a region and those inside it."""
    kept = read_in_several(region)
    across = peak = 0
    for block in region.blocks:
        alive = sum(size_of(kind) for _, kind in block.arguments)
        sizes: dict[str, int] = {}
        for step in steps_of(block, kept):
            operation = step.operation
            sizes |= dict(zip(operation.results, map(size_of, operation.result_types), strict=True))
            alive += sum(size_of(kind) for kind in operation.result_types)
            peak = max(peak, alive + sum(most_alive(inner) for inner in operation.regions))
            alive -= sum(sizes[name] for name in step.dead)
        across += sum(size for name, size in sizes.items() if name in kept)
    return peak + across


def _reads(operation: Operation) -> Iterator[str]:
    """Everything that an operation, or what is inside it, may read."""
    yield from operation.operands
    for successor in operation.successors:
        yield from successor.operands
    for region in operation.regions:
        for inner in operations_of(region):
            yield from inner.operands
            for successor in inner.successors:
                yield from successor.operands


def operations_of(region: Region) -> Iterator[Operation]:
    """All operations inside, however deep."""
    for block in region.blocks:
        for operation in block.operations:
            yield operation
            for inner in operation.regions:
                yield from operations_of(inner)


def _check_elements(operation: Operation) -> None:
    """Arithmetic on floats has floats, on integers integers. Raises BadIr."""
    name = operation.name
    for kinds, on_floats, on_integers in (
        (operation.operand_types, _ON_FLOATS, _ON_INTEGERS),
        (operation.result_types, _TO_FLOATS, _TO_INTEGERS),
    ):
        wanted = _FLOATS if name in on_floats else _INTEGERS if name in on_integers else None
        for kind in kinds:
            if wanted is not None and name_of(kind) not in wanted:
                raise BadIr(f"{name} of {kind}", operation.text_line)


def _size(operation: Operation) -> int:
    kinds: tuple[Type, ...] = (*operation.result_types, *operation.operand_types)
    return max((size_of(kind) for kind in kinds if isinstance(kind, Tensor)), default=1)


def _cost(operation: Operation) -> Cost:
    name = operation.name
    if name in floats.PLAIN or name in ("arith.cmpf", "tt.clampf"):
        return Cost.FLOAT
    if name in floats.UNARY or name in floats.BINARY or name in ("tt.extern_elementwise", "tt.elementwise_inline_asm"):
        return Cost.SPECIAL
    if name in integers.BINARY or name in integers.DIVISIONS or name in ("arith.cmpi", "tt.addptr"):
        return Cost.INTEGER
    return Cost.NONE
