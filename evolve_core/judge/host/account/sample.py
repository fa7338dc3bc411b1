"""Which programs of a launch grid stand for all of them, and with what weight."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

Program = tuple[int, int, int]

# A class of edge programs below this share of the grid changes the mean by less than the model can tell apart.
_NEGLIGIBLE_SHARE = 0.01


@dataclass(frozen=True)
class Sample:
    """``weight`` is the number of programs of the grid that this one stands for."""

    program: Program
    weight: float


def at(grid: Program, linear: int) -> Program:
    """The program with that index in the order in which a GPU starts them: x fastest."""
    x, y, _ = grid
    return linear % x, linear // x % y, linear // (x * y)


def linear(grid: Program, program: Program) -> int:
    return program[0] + grid[0] * (program[1] + grid[1] * program[2])


def total(grid: Program) -> int:
    return grid[0] * grid[1] * grid[2]


def choose(grid: Program, count: int) -> list[Sample]:
    """About ``count`` programs of the interior, evenly spread, and one for each kind of edge that matters.

    The last index of an axis is where blocks stick out over the end of the data, so programs there are another class.
    Small grids are taken whole.
    """
    if total(grid) <= count + 1:
        return [Sample(at(grid, index), 1.0) for index in range(total(grid))]
    samples = []
    for edges in itertools.product((False, True), repeat=3):
        sizes = [1 if edge else size - 1 for size, edge in zip(grid, edges, strict=True)]
        # An axis of size one has no interior: its only index is an edge, and stands for the interior too.
        weight = sizes[0] * sizes[1] * sizes[2]
        if weight < _NEGLIGIBLE_SHARE * total(grid):
            continue
        inner: Program = (sizes[0], sizes[1], sizes[2])
        wanted = min(weight, max(1, round(count * weight / total(grid))))
        for index in range(wanted):
            position = at(inner, int((index + 0.5) * weight / wanted))
            program = tuple(size - 1 if edge else p for size, edge, p in zip(grid, edges, position, strict=True))
            samples.append(Sample((program[0], program[1], program[2]), weight / wanted))
    return samples


def neighbour(grid: Program, program: Program) -> Program | None:
    """The program that starts right after this one."""
    index = linear(grid, program) + 1
    return at(grid, index) if index < total(grid) else None
