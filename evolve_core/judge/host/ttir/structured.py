"""``scf.if``, ``scf.for`` and ``scf.while`` for all programs of a group, also where they go different ways.

A branch that programs take differently runs once for each side, on its programs alone. A loop goes on with the programs
that are not done yet. Results are put together in the programs' own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .errors import BadIr, Unsupported
from .formats import Array, held_dtype, unsigned
from .ir import Block, Operation
from .state import Frame
from .values import Held, Value, merged, number, taken

if TYPE_CHECKING:
    from .machine import Machine

_MOST_SPINS = 1000
"""Turns of a loop that waits on an atomic operation, before it is taken for one that waits for another program."""
_ATOMICS = frozenset(("tt.atomic_rmw", "tt.atomic_cas", "tt.atomic_load", "tt.atomic_poll"))

Piece = tuple[Array, list[Held]]
"""Positions of programs in their group, and what they computed."""


def if_else(machine: Machine, frame: Frame, operation: Operation, held: list[Held]) -> list[Held]:
    condition = number(held[0]).data
    if condition.all() or not condition.any():
        return _branch(machine, frame, operation, 0 if condition.all() else 1)
    pieces = []
    for place, chosen in ((0, condition), (1, ~condition)):
        index = np.flatnonzero(chosen)
        pieces.append((index, _branch(machine, frame.part(index), operation, place)))
    return together(len(frame.ids), pieces)


def _branch(machine: Machine, frame: Frame, operation: Operation, place: int) -> list[Held]:
    if place >= len(operation.regions):
        return []
    return machine.block_of(operation.regions[place], frame)


def for_loop(machine: Machine, frame: Frame, operation: Operation, held: list[Held]) -> list[Held]:
    first, stop, step = (_counter(operation, one) for one in held[:3])
    if (step <= 0).any():
        raise Unsupported("scf.for", "with a step that is not positive is not interpreted", operation.text_line)
    trips = np.maximum(0, -((first - stop) // step))
    carried = held[3:]
    body = operation.regions[0]
    names = [name for name, _ in body.blocks[0].arguments]
    counter = body.blocks[0].arguments[0][1]
    alive, group = np.arange(len(frame.ids)), frame
    pieces: list[Piece] = []
    watcher, most = frame.launch.watcher, int(trips.max(initial=0))
    loop = None if watcher is None else watcher.enter_loop(most)
    done = 0
    for turn in range(most):
        if watcher is not None and not watcher.next_step(loop, turn):
            break  # what the steps so far gave stands in for the rest
        done = turn + 1
        if trips.size > 1 and (ended := trips[alive] <= turn).any():
            pieces.append((alive[ended], [taken(one, np.flatnonzero(ended)) for one in carried]))
            carried = [taken(one, np.flatnonzero(~ended)) for one in carried]
            alive = alive[~ended]
            group = frame.part(alive)
        index = first + turn * step
        index = index[alive] if index.size > 1 else index
        group.set(names[0], Value(counter, index.astype(held_dtype(counter))))
        for name, one in zip(names[1:], carried, strict=True):
            group.set(name, one)
        carried = machine.block_of(body, group)
    if watcher is not None:
        watcher.leave_loop(loop, done)
    frame.forget(tuple(names))
    return together(len(frame.ids), [*pieces, (alive, carried)])


def while_loop(machine: Machine, frame: Frame, operation: Operation, held: list[Held]) -> list[Held]:
    before, after = operation.regions
    waits = any(inner.name in _ATOMICS for inner in before.blocks[0].operations)
    alive, group, carried = np.arange(len(frame.ids)), frame, held
    pieces: list[Piece] = []
    turns = 0
    watcher = frame.launch.watcher
    loop = None if watcher is None else watcher.enter_loop(None)
    while True:
        turns += 1
        if waits and turns > _MOST_SPINS:
            raise Unsupported(
                "scf.while", "that waits for another program (a lock) is not interpreted", operation.text_line
            )
        hand_in(before.blocks[0], carried, group)
        last = machine.block(before.blocks[0], group)
        if last is None:
            raise BadIr("a loop without its condition", operation.text_line)
        condition = np.broadcast_to(number(group.get(last.operands[0])).data, alive.shape)
        handed = [group.get(name) for name in last.operands[1:]]
        if not condition.all():
            ended, on = np.flatnonzero(~condition), np.flatnonzero(condition)
            pieces.append((alive[ended], [taken(one, ended) for one in handed]))
            if not on.size:
                return together(len(frame.ids), pieces)
            handed = [taken(one, on) for one in handed]
            alive = alive[on]
            group = frame.part(alive)
        if watcher is not None:
            watcher.next_step(loop, turns - 1)
        hand_in(after.blocks[0], handed, group)
        carried = machine.block_of(after, group)


def _counter(operation: Operation, held: Held) -> Array:
    """A bound or a step of a loop in 64 bits."""
    data = number(held).data
    return (unsigned(data) if "unsigned" in operation.words else data).astype(np.int64)


def hand_over(block: Block, names: tuple[str, ...], frame: Frame, operation: Operation) -> None:
    """A branch's operands become the arguments of its target, all at once."""
    held = [frame.get(name) for name in names]
    if [one.type for one in held] != [kind for _, kind in block.arguments]:
        raise BadIr(f"a branch hands over other values than {block.label} takes", operation.text_line)
    hand_in(block, held, frame)


def hand_in(block: Block, held: Sequence[Held], frame: Frame) -> None:
    """The arguments of a block."""
    for (name, _), one in zip(block.arguments, held, strict=True):
        frame.set(name, one)


def together(count: int, pieces: list[Piece]) -> list[Held]:
    """Results of ``count`` programs out of those of groups of them. Raises BadIr where they differ in number."""
    width = len(pieces[0][1])
    if any(len(results) != width for _, results in pieces):
        raise BadIr("a function that returns now this many values and now that many", 0)
    return [merged(count, [(positions, results[place]) for positions, results in pieces]) for place in range(width)]
