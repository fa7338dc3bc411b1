"""Pretended device addresses of tensors that have no memory: one range for each storage.

A tensor on a GPU and its stand-in on the CPU (shapes_only.py) have the same address, because they stand for the same
memory.
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

    def of(self, tensor: torch.Tensor) -> int:
        return self.index(tensor) * _SPACING + tensor.storage_offset() * tensor.element_size()

    def _note(self, storage: Any, number: int) -> None:
        self._storages.append(storage)
        self._index[storage._cdata] = number


def split_address(address: int) -> tuple[int, int]:
    """(number of the storage, bytes from its start) of an address that ``Addresses`` gave."""
    return address // _SPACING, address % _SPACING
