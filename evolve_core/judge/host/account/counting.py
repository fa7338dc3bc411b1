"""Counts what sampled programs do while the interpreter of TTIR runs them: the trusted half of an account of work."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..ttir.formats import Array, is_float
from ..ttir.ir import Literal, Operation, element_of, shape_of, size_of
from ..ttir.memory import Buffer
from ..ttir.watching import EndOfProgram
from . import sample
from .records import WAVE_PROGRAMS, Counts, SampledLaunch, SampledProgram
from .sectors import Traffic, sectors_of
from .weights import Weight, product_kind, weight_of

# Effort is bounded by what was done, not by the clock, so that an account is the same on a busy machine. An operation
# costs as much as its elements and this many more (measured on one core of an idle 2-core x86-64 server: 15 µs and
# 2 ns an element).
_OPERATION_EFFORT = 7_500
_PROGRAM_EFFORT = 500_000_000
_LAUNCH_EFFORT = 1_500_000_000
_WAVE_EFFORT = 1_000_000_000
# A program in the wave without a loop ends at the latest after so many accesses.
_WAVE_ACCESSES = 64


@dataclass
class _Loop:
    """``steps``: None for one of unknown length."""

    steps: int | None
    before: dict[str, float] = field(default_factory=dict)
    entered: bool = False


class CountedLaunch:
    """The watcher of one launch (ttir/watching.py). ``seed``: which programs are drawn.

    ``programs`` are to be run in this order: those of the sample, then a wave of consecutive ones, of which each ends
    with its first loop step.
    """

    def __init__(self, kernel: str, grid: sample.Program, extents: dict[str, float], wanted: int, seed: int) -> None:
        self.record = SampledLaunch(kernel, extents, grid)
        chosen = sample.drawn(grid, wanted, seed)
        self._weights = [(sample.linear(grid, one.program), one.weight) for one in chosen]
        known = {program for program, _ in self._weights}
        middle = sorted(known)[len(known) // 2]
        if middle + 1 < sample.total(grid) and middle + 1 not in known:
            # Only for what it shares with the one before it; it stands for no other program.
            self._weights.append((middle + 1, 0.0))
        wave = range(min(WAVE_PROGRAMS, sample.total(grid)))
        self.programs = [*(program for program, _ in self._weights), *wave]
        self._begun = 0
        self._program: SampledProgram | None = None
        self._wave: Traffic | None = None
        self._waited = True
        self._accesses = 0
        self._effort = self._launch_effort = self._wave_effort = 0
        self._costs: dict[int, tuple[int, Weight | None]] = {}
        self._constants: dict[str, int] = {}

    # -- programs

    def begin_program(self, number: int) -> bool:
        index, self._begun = self._begun, self._begun + 1
        self._effort, self._accesses, self._waited = 0, 0, True
        if index < len(self._weights):
            if self.record.programs and self._launch_effort > _LAUNCH_EFFORT:
                return False
            self._program = SampledProgram(number, self._weights[index][1])
            return True
        if self._wave_effort > _WAVE_EFFORT or not self.record.wave_tells_more():
            return False
        self._wave = Traffic()
        return True

    def end_program(self) -> None:
        if self._program is not None:
            self.record.programs.append(self._program)
            self._launch_effort += self._effort
        if self._wave is not None:
            self.record.wave.append(self._wave)
            self._wave_effort += self._effort
        self._program = self._wave = None

    # -- arithmetic

    def operation(self, operation: Operation) -> None:
        known = self._costs.get(id(operation))
        if known is None:
            known = self._costs[id(operation)] = self._cost(operation)
        effort, weight = known
        self._effort += effort
        if self._program is None or weight is None:
            return
        counts = self._program.counts
        if operation.name == "tt.dot":
            _add_product(counts, operation)
        elif operation.name in ("tt.reduce", "tt.scan"):
            counts.add("reductions", 1.0)
            self._waited = True  # values of all warps came together; no load is moved up across that
        counts.add("fp_ops", weight.float_operations)
        counts.add("special_ops", weight.special_operations)
        counts.add("int_ops", weight.integer_operations)

    def _cost(self, operation: Operation) -> tuple[int, Weight | None]:
        """Effort and weight; None for what costs a GPU nothing."""
        if operation.name == "arith.constant":
            self._note_constant(operation)
            return 0, None
        largest = max(map(size_of, (*operation.result_types, *operation.operand_types)), default=1)
        effort = _OPERATION_EFFORT + largest
        if operation.name in ("tt.reduce", "tt.scan"):
            return effort, _combining(operation)
        if operation.name == "tt.dot":
            steps = shape_of(operation.operand_types[0])[-1]
            return effort + size_of(operation.result_types[0]) * steps // 16, Weight()
        weight = weight_of(operation, self._divisor(operation))
        return effort, None if weight == Weight() else weight

    def _note_constant(self, operation: Operation) -> None:
        literal = operation.attributes.get("value")
        if not isinstance(literal, Literal) or len(literal.texts) != 1:
            return
        text = literal.texts[0]
        if text.lstrip("-").isdecimal():
            self._constants[operation.results[0]] = int(text)

    def _divisor(self, operation: Operation) -> int | None:
        return self._constants.get(operation.operands[1]) if len(operation.operands) == 2 else None

    # -- loops

    def enter_loop(self, steps: int | None) -> _Loop:
        return _Loop(steps)

    def next_step(self, loop: object, index: int) -> bool:
        if not isinstance(loop, _Loop):
            raise TypeError(loop)
        if self._program is None:
            if index:
                raise EndOfProgram
            return True
        counts = self._program.counts
        if not loop.entered:
            counts.add("loops", 1.0)
            loop.entered = True
            loop.before = dict(counts.numbers)
        elif loop.steps is not None and self._effort > _PROGRAM_EFFORT:
            return False
        counts.add("loop_steps", 1.0)
        self._waited = True
        return True

    def leave_loop(self, loop: object, executed: int) -> None:
        """A loop that was cut short stands for all of its steps."""
        if self._program is not None and isinstance(loop, _Loop) and loop.steps and 0 < executed < loop.steps:
            self._program.counts.scale_since(loop.before, loop.steps / executed)

    # -- memory

    def access(self, verb: str, buffer: Buffer, indices: Array, on: Array | None, width: int) -> None:
        addresses = _addresses(buffer, indices, on, width)
        sectors, size = sectors_of(addresses, width)
        origin = frozenset((str(buffer.number),))
        side = "store" if verb == "writes" else "load"
        if self._wave is not None:
            self._accesses += 1
            if self._accesses > _WAVE_ACCESSES:
                raise EndOfProgram
            if sectors.size:
                self._wave.add(side == "store", origin, sectors)
        if self._program is None:
            return
        counts = self._program.counts
        if side == "load" and self._waited:
            counts.add("memory_trips", 1.0)
            self._waited = verb == "updates"
        if verb == "updates":
            counts.add("atomic_ops", addresses.size)
        else:
            self._program.plain_access(side, sectors, size, buffer.base)
        if sectors.size:
            self._program.traffic.add(side == "store", origin, sectors)


def _addresses(buffer: Buffer, indices: Array, on: Array | None, width: int) -> Array:
    """Of the elements that are on, in the order of the tensor."""
    if on is None:
        chosen = indices.ravel()
    else:
        shape = np.broadcast_shapes(indices.shape, on.shape)
        chosen = np.broadcast_to(indices, shape)[np.broadcast_to(on, shape)]
    return (chosen * width + buffer.base).astype(np.uint64)


def _combining(operation: Operation) -> Weight:
    """One operation an element of each operand."""
    kinds = operation.operand_types
    floats = sum(size_of(kind) for kind in kinds if is_float(kind))
    return Weight(float_operations=floats, integer_operations=sum(map(size_of, kinds)) - floats)


def _add_product(counts: Counts, operation: Operation) -> None:
    left, right = operation.operand_types[:2]
    *batch, m, k = shape_of(left)
    kind, passes = product_kind(str(element_of(left)), str(operation.attributes.get("inputPrecision", "ieee")))
    counts.add_dot(kind, passes, m, shape_of(right)[-1], k, math.prod(batch))
