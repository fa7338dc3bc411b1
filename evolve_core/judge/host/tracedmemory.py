"""Which buffer of a history a tensor lies in, and where in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from .addresses import Addresses
from .buffers import dtype_name
from .history import History, Untraceable
from .plan import ITEM_BYTES, Argument, Memory, View
from .tracedcalls import contents

_MOST_BYTES = 1 << 40
"""A tensor that nothing is written to is in no plan: what the device would say to it is asked here."""


class TracedMemory:
    """The buffers of one history. While it ``is_pretended``, tensors on the CPU stand for tensors on the device."""

    def __init__(self, addresses: Addresses, history: History) -> None:
        self._addresses = addresses
        self._history = history
        self._of_storage: dict[int, int] = {}
        self._origin: dict[int, int] = {}
        """Of each input's buffer: bytes from its storage's start that offsets count from."""
        self.is_pretended = False

    def add(self, tensor: torch.Tensor, given: str = "") -> int:
        """A buffer for the memory of ``tensor``, the input of that name or new. Raises Untraceable."""
        dtype = dtype_name(tensor.dtype)
        if dtype not in ITEM_BYTES:
            raise Untraceable(f"it uses a tensor of {dtype}")
        item = tensor.element_size()
        bytes_ = tensor.untyped_storage().nbytes()
        if bytes_ > _MOST_BYTES:
            raise Untraceable(f"it makes a tensor of {bytes_ >> 30} GiB, more than any GPU has")
        count = 0 if given else -(-bytes_ // item)
        on_host = tensor.device.type == "cpu" and not self.is_pretended
        number = self._history.add_memory(Memory(given, dtype, count, contents(tensor)), on_host=on_host)
        self._of_storage[self._addresses.index(tensor)] = number
        self._origin[number] = tensor.storage_offset() * item if given else 0
        return number

    def view(self, tensor: Any) -> View:
        """Where a tensor lies. Raises Untraceable where nobody knows."""
        if type(tensor) is torch.Tensor and tensor.device.type == "cpu":
            self._refuse_changed(tensor)
        elif type(tensor) not in (FakeTensor, torch.nn.Parameter):
            raise Untraceable(f"it uses a {type(tensor).__name__} where a tensor is expected")
        if tensor.is_neg() or dtype_name(tensor.dtype) not in ITEM_BYTES:
            raise Untraceable(f"it uses a tensor of {dtype_name(tensor.dtype)}")
        memory, offset = self._place(*self._storage(tensor))
        return View(memory, offset, dtype_name(tensor.dtype), tuple(tensor.shape), tuple(tensor.stride()))

    def view_of_new(self, tensor: torch.Tensor) -> View:
        """The same for one whose memory may be new."""
        if self._addresses.index(tensor) not in self._of_storage:
            self.add(tensor)
        return self.view(tensor)

    def pointer(self, given: torch.Tensor | int) -> Argument:
        """What a kernel is given: a tensor, or an address. Raises Untraceable."""
        place = self._addresses.at(given) if isinstance(given, int) else self._storage(given)
        if place is None:
            raise Untraceable("it hands a kernel the bare address of an input")
        memory, offset = self._place(*place)
        if self._history.is_on_host(memory):
            raise Untraceable("it hands a tensor on the CPU to a kernel")
        return Argument(memory=memory, offset=offset)

    def lose(self, tensor: torch.Tensor, why: str) -> None:
        """From now on nobody knows what is in its memory."""
        with suppress(Untraceable):  # one that can be in no plan anyway
            self._history.lose(self.view_of_new(tensor).memory, why)

    def is_on_device(self, tensor: torch.Tensor) -> bool:
        memory = self._of_storage.get(self._addresses.index(tensor))
        return tensor.device.type != "cpu" or (memory is not None and not self._history.is_on_host(memory))

    def _refuse_changed(self, tensor: torch.Tensor) -> None:
        """One with contents: they are in the plan, if they are what they were when it was first seen."""
        memory = self._of_storage.get(self._addresses.index(tensor))
        if memory is None:
            self.add(tensor)
        elif repr(self._history.values(memory)) != repr(contents(tensor)):
            raise Untraceable("it changes a tensor on the CPU while it is not followed")

    def _storage(self, tensor: torch.Tensor) -> tuple[int, int]:
        return self._addresses.index(tensor), tensor.storage_offset() * tensor.element_size()

    def _place(self, storage: int, offset: int) -> tuple[int, int]:
        memory = self._of_storage.get(storage)
        if memory is None:
            raise Untraceable("it uses a tensor that it was not seen to make")
        return memory, offset - self._origin[memory]
