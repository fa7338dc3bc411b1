"""Pretended device addresses of tensors that have no memory: one range for each storage.

A tensor on a GPU and its stand-in on the CPU (shapes_only.py) have the same address, because they stand for the same
memory. An input of a call may lie where one of an earlier call lay, as it may on a GPU once that is freed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

_SPACING = 1 << 40
"""Between two storages: no tensor is larger, and every base is as aligned as a real one."""


class Addresses:
    def __init__(self) -> None:
        # Kept alive, because the numbers of dead storages are given to new ones.
        self._storages: list[Any] = []
        self._index: dict[int, int] = {}
        self._count = 0
        self._range: dict[int, int] = {}
        """By storage: the number of the first one that lay there, where that is another."""
        self._shared: set[int] = set()
        """Ranges in which several storages lay."""

    def install(self) -> None:
        """Let such tensors say them in this process: Triton specialises on the alignment, host code may ask for it."""

        def data_ptr(tensor: torch.Tensor) -> int:
            return self.of(tensor)

        FakeTensor.data_ptr = data_ptr

    def index(self, tensor: torch.Tensor) -> int:
        """The number of the tensor's storage, from 1 on in the order of first sight."""
        storage = tensor.untyped_storage()
        found = self._index.get(storage._cdata)
        if found is None:
            self._count += 1
            found = self._count
            self._note(storage, found)
        return found

    def share(self, tensor: torch.Tensor, other: torch.Tensor) -> None:
        """Both stand for the same memory from now on. ``tensor``'s storage has not been seen before."""
        self._note(tensor.untyped_storage(), self.index(other))

    def lay(self, tensor: torch.Tensor, earlier: torch.Tensor) -> None:
        """``tensor``'s storage is another one, at the address that ``earlier``'s had while it was alive."""
        number, before = self.index(tensor), self.index(earlier)
        place = self._range.get(before, before)
        self._range[number] = place
        self._shared.add(place)

    def of(self, tensor: torch.Tensor) -> int:
        number = self.index(tensor)
        return self._range.get(number, number) * _SPACING + tensor.storage_offset() * tensor.element_size()

    def at(self, address: int) -> tuple[int, int] | None:
        """(number of the storage, bytes from its start) of an address that ``of`` gave; None where several lay there:
        it may have been asked of any.
        """
        place, offset = divmod(address, _SPACING)
        return None if place in self._shared else (place, offset)

    def _note(self, storage: Any, number: int) -> None:
        self._storages.append(storage)
        self._index[storage._cdata] = number
