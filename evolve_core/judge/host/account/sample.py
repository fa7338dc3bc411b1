"""Which programs of a launch grid stand for all of them, and with what weight."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random

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
            samples.append(Sample(_placed(grid, edges, position), weight / wanted))
    return samples


def neighbour(grid: Program, program: Program) -> Program | None:
    """The program that starts right after this one."""
    index = linear(grid, program) + 1
    return at(grid, index) if index < total(grid) else None


def drawn(grid: Program, count: int, seed: int) -> list[Sample]:
    """The first program, the last one, and about ``count`` others, drawn so that who does not know ``seed`` cannot know
    them.

    Drawn within strata: kinds of edges as in ``choose``, and equal stretches of each kind. Of two stretches that
    mirror each other, one is drawn at the mirrored place of the other, so that the mean is right where all programs
    are alike and where their work grows evenly along the grid. One seed draws like places of every grid, whatever its
    size: kernels that are compared are looked at in like places. Small grids are taken whole.
    """
    if total(grid) <= count + 3:
        return [Sample(at(grid, index), 1.0) for index in range(total(grid))]
    random = Random(seed)
    places = [random.random() for _ in range(count)]
    first, last = (0, 0, 0), (grid[0] - 1, grid[1] - 1, grid[2] - 1)
    samples = [Sample(first, 1.0), Sample(last, 1.0)]
    for edges in itertools.product((False, True), repeat=3):
        sizes = [1 if edge else size - 1 for size, edge in zip(grid, edges, strict=True)]
        members = sizes[0] * sizes[1] * sizes[2]
        if members < _NEGLIGIBLE_SHARE * total(grid):
            continue
        inner: Program = (sizes[0], sizes[1], sizes[2])
        # The ends of the grid stand for themselves, and are the ends of their kinds.
        start = 1 if _placed(grid, edges, (0, 0, 0)) == first else 0
        end = members - (1 if _placed(grid, edges, at(inner, members - 1)) == last else 0)
        if end <= start:
            continue
        wanted = min(end - start, max(1, round(count * members / total(grid))))
        bounds = [start + index * (end - start) // wanted for index in range(wanted + 1)]
        for index in range(wanted):
            mirrored = index >= (wanted + 1) // 2
            within = 1.0 - places[wanted - 1 - index] if mirrored else places[index]
            if 2 * index + 1 == wanted:
                within = 0.5  # the middle one has no mirror
            size = bounds[index + 1] - bounds[index]
            position = bounds[index] + min(size - 1, int(within * size))
            samples.append(Sample(_placed(grid, edges, at(inner, position)), float(size)))
    return samples


def _placed(grid: Program, edges: tuple[bool, ...], position: Program) -> Program:
    """The program at a ``position`` among those of one kind of edges."""
    x, y, z = (size - 1 if edge else p for size, edge, p in zip(grid, edges, position, strict=True))
    return x, y, z
