"""Who wrote and who read each element of a launch: finds what depends on the order of the programs.

A race is reported where two programs touch one element, at least one writes a *different* value, not both atomically,
and nothing orders them. Ordered are they where the first released after its access (an atomic operation that is not
``relaxed`` or ``acquire``) and the second acquired later (one that is not ``relaxed`` or ``release``): the pattern of
semaphores and of "the last program adds up". Which address they met at is not asked, so an order may be seen where
there is none, but never a race where there is an order by two such operations, as long as the first program releases
only once or is over.
"""

from __future__ import annotations

import numpy as np

from .errors import Unsupported
from .formats import Array

NOBODY = -1
_SEVERAL = -2
_ATOMIC = 1 << 30
"""Added to the number of a program that wrote atomically."""
_MOST_PROGRAMS = 1 << 26
"""With atomic operations: three times of 8 bytes are kept for each."""


class Order:
    """Events of all programs in one count: when each last released, first released, and last acquired."""

    def __init__(self, programs: int) -> None:
        self.now = 0
        self._programs = programs
        self._times: tuple[Array, Array, Array] | None = None

    def atomic(self, programs: Array, semantics: str) -> None:
        """``programs`` did an atomic operation after each other, in this order. Raises Unsupported beyond 2^26."""
        if self._times is None:
            if self._programs > _MOST_PROGRAMS:
                raise Unsupported("a grid", f"of {self._programs} programs with atomic operations is not interpreted")
            never: Array = np.full(self._programs, -1, np.int64)
            self._times = never.copy(), never.copy(), never
        first, last, acquired = self._times
        times: Array = self.now + 1 + np.arange(len(programs))
        self.now += len(programs) + 1
        if semantics in ("acq_rel", "release"):
            unset = first[programs] < 0
            first[programs[unset]] = times[unset]
            last[programs] = times
        if semantics in ("acq_rel", "acquire"):
            acquired[programs] = times

    def has_acquired(self, programs: Array) -> Array:
        """Whether each ever acquired."""
        if self._times is None:
            return np.zeros(programs.shape, np.bool_)
        return self._times[2][programs] >= 0

    def ordered(self, first: Array, since: Array | int, second: Array) -> Array:
        """Whether ``first`` released after ``since`` and before ``second`` last acquired."""
        if self._times is None:
            return np.zeros(first.shape, np.bool_)
        early, late, until = self._times[0][first], self._times[1][first], self._times[2][second]
        return ((early > since) & (early < until)) | ((late > since) & (late < until))


class Shadow:
    """Beside one buffer, for one launch: the last writer and the readers of every unit.

    All methods take units and programs as equally long vectors, and return the positions of racing accesses.
    """

    def __init__(self, units: int, order: Order) -> None:
        self._writer: Array = np.full(units, NOBODY, np.int32)
        self._reader: Array = np.full(units, NOBODY, np.int32)
        self._written_at: Array = np.zeros(units, np.int32)
        self._order = order
        self._any_reader = False

    def split(self, factor: int) -> None:
        """Units become ``factor`` times smaller: somebody reads or writes a part of one."""
        self._writer, self._reader, self._written_at = (
            np.repeat(old, factor) for old in (self._writer, self._reader, self._written_at)
        )

    def read(self, units: Array, programs: Array) -> Array:
        """Plain reads: they race with what another program wrote."""
        writers = self._writer[units]
        racing = self._unordered_writes(units, programs, writers) if (writers != NOBODY).any() else _NONE
        self._any_reader = True
        known = self._reader[units]
        self._reader[units] = np.where((known == NOBODY) | (known == programs), programs, _SEVERAL)
        lost = (self._reader[units] != programs) & (self._reader[units] != _SEVERAL)
        self._reader[units[lost]] = _SEVERAL
        return racing

    def write(self, units: Array, programs: Array, changed: Array, *, atomic: bool) -> Array:
        """Writes; ``changed``: whether each gives the unit another value than it had. Unchanged ones never race."""
        writers = self._writer[units]
        racing = _NONE
        if (writers != NOBODY).any():
            racing = self._unordered_writes(units, programs, writers, atomic=atomic)
            racing = racing[changed[racing]]
        if self._any_reader and not atomic:
            readers = self._reader[units]
            others = (readers != NOBODY) & (readers != programs) & changed
            positions = np.flatnonzero(others)
            single = readers[positions] >= 0
            ordered: Array = np.zeros(len(positions), np.bool_)
            ordered[single] = self._order.ordered(readers[positions[single]], -1, programs[positions[single]])
            racing = np.union1d(racing, positions[~ordered & single])
            racing = np.union1d(racing, positions[~single & ~self._order.has_acquired(programs[positions])])
        self._writer[units[changed]] = programs[changed] + (_ATOMIC if atomic else 0)
        self._written_at[units[changed]] = self._order.now
        return racing

    def _unordered_writes(self, units: Array, programs: Array, writers: Array, *, atomic: bool = False) -> Array:
        by_atomic = writers >= _ATOMIC
        who = np.where(by_atomic, writers - _ATOMIC, writers)
        foreign = (writers != NOBODY) & (who != programs)
        if atomic:
            foreign &= ~by_atomic
        positions = np.flatnonzero(foreign)
        if not positions.size:
            return _NONE
        since = self._written_at[units[positions]]
        return positions[~self._order.ordered(who[positions], since, programs[positions])]


_NONE: Array = np.zeros(0, np.int64)
