"""Which addresses a launch may touch, and where a pointer came from.

An access is legal inside the storage of the tensor that its pointer was derived from: not inside the view (kernels
that take one slice of a packed tensor and step to the next are honest), and not inside a neighbour that happens to
lie behind it. Where the origin is lost (a pointer loaded from memory), any live tensor will do.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import compat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORIGIN = "kernel_evolve.origin"

_CARRY_ORIGIN = (
    "create_addptr", "create_splat", "create_unsplat", "create_broadcast", "create_expand_dims", "create_reshape",
    "create_trans", "create_bitcast", "create_int_to_ptr", "create_ptr_to_int", "create_cat", "create_join",
    "create_select",
)  # fmt: skip


@dataclass(frozen=True)
class Allocation:
    """The storage behind one tensor argument: addresses [start, end)."""

    name: str
    start: int
    end: int
    description: str


@dataclass(frozen=True)
class Stray:
    """The first lane of an access that lies outside. ``tensor`` is the one its pointer came from, else the nearest."""

    tensor: str
    message: str


def allocation_of(name: str, tensor: Any) -> Allocation:
    storage = tensor.untyped_storage()
    shape = ", ".join(str(size) for size in tensor.shape)
    description = f"{str(tensor.dtype).removeprefix('torch.')}[{shape}]"
    return Allocation(name, storage.data_ptr(), storage.data_ptr() + storage.nbytes(), description)


def origin_of(handle: Any) -> frozenset[str]:
    """Names of the tensor arguments that a pointer was derived from; empty where that is not known."""
    return getattr(handle, "attr", {}).get(ORIGIN, frozenset())


class MemoryMap:
    """The allocations of one launch."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.allocations = {name: allocation_of(name, tensor) for name, tensor in tensors.items()}
        self._others: list[Allocation] | None = None

    def legal(self, addresses: Any, item_bytes: int, origin: frozenset[str]) -> Any:
        """A boolean per address, or None where all of them are fine (the common case, decided without a temporary)."""
        known = [self.allocations[name] for name in origin if name in self.allocations]
        candidates = known or list(self.allocations.values())
        if not addresses.size:
            return None
        low, high = int(addresses.min()), int(addresses.max()) + item_bytes
        if any(a.start <= low and high <= a.end for a in candidates):
            return None
        inside = _inside(addresses, item_bytes, candidates)
        if not known and not inside.all():
            inside |= _inside(addresses, item_bytes, self._every_live_tensor())
        return None if inside.all() else inside

    def _every_live_tensor(self) -> list[Allocation]:
        if self._others is None:
            self._others = [allocation_of("?", t) for t in gc.get_objects() if type(t) is torch.Tensor and _on_cpu(t)]
        return self._others

    def describe(self, addresses: Any, inside: Any, item_bytes: int, origin: frozenset[str], access: str) -> Stray:
        address = int(addresses[~inside][0])
        known = [self.allocations[name] for name in origin if name in self.allocations]
        candidates = known or list(self.allocations.values())
        if not candidates:
            return Stray("?", f"{access} at {address:#x}, which belongs to no tensor of this launch")
        nearest = min(candidates, key=lambda a: max(a.start - address, address + item_bytes - a.end))
        offset = address - nearest.start
        where = (
            f"{-offset} bytes before its start" if offset < 0 else f"at byte {offset} of {nearest.end - nearest.start}"
        )
        lanes = f"{int((~inside).sum())} of {addresses.size} active lanes"
        return Stray(nearest.name, f"{access} outside {nearest.name} ({nearest.description}): {where}, {lanes}")


def _on_cpu(tensor: Any) -> bool:
    return tensor.device.type == "cpu" and tensor.layout is torch.strided


def _inside(addresses: Any, item_bytes: int, allocations: list[Allocation]) -> Any:
    inside = np.zeros(addresses.shape, dtype=bool)
    for a in allocations:
        if a.end - a.start >= item_bytes:
            inside |= (addresses >= np.uint64(a.start)) & (addresses <= np.uint64(a.end - item_bytes))
    return inside


def _carrying(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        origin: frozenset[str] = frozenset()
        for argument in args:
            if isinstance(argument, compat.TensorHandle) and ORIGIN in argument.attr:
                origin |= argument.attr[ORIGIN]
        if origin and isinstance(result, compat.TensorHandle):
            result.attr[ORIGIN] = origin
        return result

    return call


@contextlib.contextmanager
def origins_carried() -> Iterator[None]:
    """While open, operations on pointers keep the mark that says which tensor argument a pointer came from."""
    wrapped = {name: _carrying(compat.operation(name)) for name in _CARRY_ORIGIN if compat.has_operation(name)}
    classes = compat.block_pointer_classes()
    originals = [cls.materialize_pointers for cls in classes]

    def materialise(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, *args: Any) -> Any:
            pointers, mask = original(handle, *args)
            if ORIGIN in handle.base.attr:
                pointers.attr[ORIGIN] = handle.base.attr[ORIGIN]
            return pointers, mask

        return call

    with compat.replaced_operations(wrapped):
        for cls, original in zip(classes, originals, strict=True):
            cls.materialize_pointers = materialise(original)
        try:
            yield
        finally:
            for cls, original in zip(classes, originals, strict=True):
                cls.materialize_pointers = original
