"""Runs the blocks of a function for all programs of a group at once; splits the group where its programs part ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from . import reducing, structured
from .constants import constant
from .errors import BadIr
from .formats import Array, held_dtype, is_float
from .ir import TERMINATORS, Block, Function, Module, Operation, Region, shape_of, size_of
from .plan import IGNORED, Cost, Step, read_in_several, steps_of
from .state import Frame, Launch
from .structured import Piece, hand_over, together
from .values import Held, Value, number
from .wide import as_made, wide_accesses

_MOST_CALLS = 32
"""Depth of calls. Triton refuses recursion, so only hostile text gets there."""


class Machine:
    """One launch. What does not change from group to group is worked out once: ``plan.Step``, constants."""

    def __init__(self, launch: Launch, module: Module) -> None:
        self._launch = launch
        self._module = module
        self._steps: dict[int, tuple[Step, ...]] = {}
        self._constants: dict[int, Value] = {}
        self._wide = wide_accesses(module)
        self._depth = 0
        self._control: dict[str, Callable[..., object]] = {
            "arith.constant": self._constant,
            "scf.for": partial(structured.for_loop, self),
            "scf.if": partial(structured.if_else, self),
            "scf.while": partial(structured.while_loop, self),
            "tt.call": self._call,
            "tt.reduce": self._reduce,
            "tt.scan": self._scan,
        }

    # ── functions ──

    def run(self, function: Function, ids: Array, arguments: Sequence[Held]) -> list[Held]:
        """The results of ``function`` for the programs ``ids``. Raises TtirError."""
        self._depth += 1
        if self._depth > _MOST_CALLS:
            raise BadIr(f"@{function.name} calls itself, or calls nest deeper than {_MOST_CALLS}", 0)
        frame = Frame(self._launch, ids)
        for argument, held in zip(function.arguments, arguments, strict=True):
            frame.set(argument.name, held)
        try:
            pieces = self._blocks(function.body, frame)
        finally:
            self._depth -= 1
        return together(len(ids), pieces)

    def _blocks(self, region: Region, frame: Frame) -> list[Piece]:
        """Follows the branches; a group whose programs branch differently goes on as two."""
        places = {block.label: block for block in region.blocks}
        kept = read_in_several(region)
        waiting: list[tuple[Block, Frame, Array]] = [(region.blocks[0], frame, np.arange(len(frame.ids)))]
        returned: list[Piece] = []
        while waiting:
            block, group, positions = waiting.pop()
            last = self.block(block, group, kept)
            if last is None or last.name not in ("tt.return", "cf.br", "cf.cond_br"):
                raise BadIr("a block of a function that neither returns nor branches", 0)
            if last.name == "tt.return":
                returned.append((positions, [group.get(name) for name in last.operands]))
                continue
            for target, index in self._branches(last, group):
                successor = last.successors[target]
                if successor.label not in places:
                    raise BadIr(f"a branch to {successor.label}, which is no block", last.text_line)
                onward = group if index is None else group.part(index)
                hand_over(places[successor.label], successor.operands, onward, last)
                waiting.append((places[successor.label], onward, positions if index is None else positions[index]))
        return returned

    def _branches(self, last: Operation, frame: Frame) -> list[tuple[int, Array | None]]:
        """Which successor which of the programs take; None for all."""
        if last.name == "cf.br":
            return [(0, None)]
        condition = number(frame.get(last.operands[0])).data
        if condition.all():
            return [(0, None)]
        if not condition.any():
            return [(1, None)]
        return [(1, np.flatnonzero(~condition)), (0, np.flatnonzero(condition))]

    # ── blocks ──

    def block(self, block: Block, frame: Frame, kept: frozenset[str] = frozenset()) -> Operation | None:
        """Runs to the block's end, and gives the operation that ends it; None where it just stops."""
        steps = self._steps.get(id(block))
        if steps is None:
            steps = self._steps[id(block)] = steps_of(block, kept)
        spending, work, programs = self._launch.spending, self._launch.work, len(frame.ids)
        watcher = self._launch.watcher
        spending.spend(programs)
        for step in steps:
            operation = step.operation
            if operation.name in TERMINATORS:
                return operation
            amount = step.size * programs
            spending.spend(amount)
            if step.cost is Cost.FLOAT:
                work.float_operations += amount
            elif step.cost is Cost.INTEGER:
                work.integer_operations += amount
            elif step.cost is Cost.SPECIAL:
                work.special_operations += amount
            if watcher is not None:
                watcher.operation(operation)
            self._step(step, frame)
            frame.forget(step.dead)
        return None

    def _step(self, step: Step, frame: Frame) -> None:
        operation = step.operation
        if operation.name in IGNORED:
            return
        held = [frame.get(name) for name in operation.operands]
        if (wide := self._wide.get(id(operation))) is not None:
            held = as_made(frame, operation, wide, held)
        if not step.views:
            held = [number(one) for one in held]
        if step.handler is not None:
            made = step.handler(frame, operation, held)
        else:
            made = self._control[operation.name](frame, operation, held)
        results = made if isinstance(made, tuple | list) else () if made is None else (made,)
        if len(results) != len(operation.results):
            raise BadIr(f"{operation.name} with {len(operation.results)} results", operation.text_line)
        for name, result in zip(operation.results, results, strict=True):
            _check(operation, result)
            frame.set(name, result)

    def _constant(self, frame: Frame, operation: Operation, held: list[Held]) -> Value:
        key = id(operation)
        if key not in self._constants:
            self._constants[key] = constant(operation)
        return self._constants[key]

    def block_of(self, region: Region, frame: Frame) -> list[Held]:
        """A region of one block: what its end hands on."""
        last = self.block(region.blocks[0], frame)
        return [frame.get(name) for name in last.operands] if last is not None else []

    def _call(self, frame: Frame, operation: Operation, held: list[Held]) -> list[Held]:
        name = operation.words[0] if operation.words else ""
        function = self._module.functions.get(name)
        if function is None:
            raise BadIr(f"a call of @{name}, which is no function", operation.text_line)
        if tuple(one.type for one in function.arguments) != operation.operand_types:
            raise BadIr(f"a call of @{name} with other types than its own", operation.text_line)
        return self.run(function, frame.ids, held)

    # ── reductions ──

    def _reduce(self, frame: Frame, operation: Operation, held: list[Held]) -> tuple[Value, ...]:
        self._count_combining(frame, operation)
        return reducing.reduce(frame, operation, [number(one) for one in held], self._combined)

    def _scan(self, frame: Frame, operation: Operation, held: list[Held]) -> tuple[Value, ...]:
        self._count_combining(frame, operation)
        return reducing.scan(frame, operation, [number(one) for one in held], self._combined)

    def _count_combining(self, frame: Frame, operation: Operation) -> None:
        """One operation of the region an element, as a sequential reduction does."""
        amount = size_of(operation.operand_types[0]) * len(frame.ids)
        inside = max(1, len(operation.regions[0].blocks[0].operations) - 1) if operation.regions else 1
        self._launch.spending.spend(amount * inside)
        if is_float(operation.operand_types[0]):
            self._launch.work.float_operations += amount * inside
        else:
            self._launch.work.integer_operations += amount * inside

    def _combined(self, frame: Frame, region: Region, values: Sequence[Value]) -> tuple[Value, ...]:
        """A region that combines elements, on whole arrays of them at once."""
        inside, block = frame.inner(), region.blocks[0]
        steps = self._steps.get(id(block))
        if steps is None:
            steps = self._steps[id(block)] = steps_of(block)
        for (name, _), value in zip(block.arguments, values, strict=True):
            inside.set(name, value)
        for step in steps[:-1]:
            operation = step.operation
            given = [inside.get(name) for name in operation.operands]
            made = (
                self._constant(frame, operation, given)
                if step.handler is None
                else step.handler(inside, operation, given)
            )
            for name, result in zip(operation.results, made if isinstance(made, tuple) else (made,), strict=True):
                inside.set(name, result)
        return tuple(number(inside.get(name)) for name in steps[-1].operation.operands)


def _check(operation: Operation, held: Held) -> None:
    """The array is what its type says. Text that contradicts itself ends here."""
    if not isinstance(held, Value):
        return
    shape = shape_of(held.type)
    fits = held.data.ndim == 1 + len(shape) and held.data.dtype == held_dtype(held.type)
    if not fits or any(length not in (1, size) for length, size in zip(held.data.shape[1:], shape, strict=True)):
        raise BadIr(f"{operation.name} does not give what its types say", operation.text_line)
