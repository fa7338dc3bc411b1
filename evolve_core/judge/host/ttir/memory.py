"""Buffers in an address space of their own."""

from __future__ import annotations

import numpy as np

from .formats import Array
from .ir import Location

_FIRST = 1 << 40
_APART = 1 << 36
"""Bytes between buffers: an index that is wrong by any 32-bit amount of elements stays in no man's land."""
NOBODY = -1
"""Owner of an element that nothing wrote."""


class Buffer:
    """A typed piece of memory at an address of the interpreter's own.

    ``raw``: its bytes, which a launch changes in place. ``unit``: bytes of an element, for indices in messages and for
    telling neighbours apart. ``initialised``: one bool a unit, or None where every element counts as written.
    ``covered_at``: of the latest operation that marked its ``owners``.
    """

    def __init__(self, name: str, raw: Array, unit: int, number: int, base: int, *, initialised: bool) -> None:
        self.name = name
        self.raw = raw
        self.unit = unit
        self.number = number
        self.base = base
        self.initialised: Array | None = None if initialised else np.zeros(raw.size // unit, np.bool_)
        self.covered_at: Location | None = None
        self._views: dict[np.dtype, Array] = {}
        self._owners: Array | None = None

    @property
    def owners(self) -> Array:
        """The latest to write each unit, int32; one more at the end stands for no unit."""
        if self._owners is None:
            self._owners = np.full(self.raw.size // self.unit + 1, NOBODY, np.int32)
        return self._owners

    @property
    def is_owned(self) -> bool:
        """Whether anything was marked."""
        return self._owners is not None

    def elements(self, dtype: np.dtype) -> Array:
        """The bytes as elements of ``dtype``; what is left over at the end belongs to none."""
        if dtype not in self._views:
            whole = self.raw.size // dtype.itemsize * dtype.itemsize
            self._views[dtype] = self.raw[:whole].view(dtype)
        return self._views[dtype]


class Memory:
    """All buffers that a launch, or several after each other, can reach."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.first_owner = 0
        """The number that a launch's first program has among those of all launches."""

    def add(self, name: str, storage: Array, *, initialised: bool = True) -> Buffer:
        """A buffer over ``storage``: one-dimensional, contiguous, writable, of the elements as they lie in memory.

        bf16 comes as uint16, the 8-bit floats and i1 as uint8, pointers as int64. Its address is a multiple of 256, as
        ``cudaMalloc`` gives (CUDA C++ Programming Guide, "Device Memory Accesses"). With ``initialised=False`` a read
        of an element that nothing wrote is a finding.
        """
        if storage.ndim != 1 or not storage.flags.c_contiguous or not storage.flags.writeable:
            raise ValueError(f"the storage of {name} is no writable contiguous vector")
        number = len(self.buffers)
        base = _FIRST + sum((buffer.raw.size // _APART + 2) * _APART for buffer in self.buffers)
        made = Buffer(name, storage.view(np.uint8), storage.itemsize, number, base, initialised=initialised)
        self.buffers.append(made)
        return made

    def around(self, addresses: Array) -> Array:
        """The number of the buffer whose part of the space each address lies in; 0 where it is in none."""
        bases = np.array([buffer.base for buffer in self.buffers], np.int64)
        return np.maximum(np.searchsorted(bases, addresses, side="right") - 1, 0)
