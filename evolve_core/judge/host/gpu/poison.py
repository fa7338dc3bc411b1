"""Memory that nobody wrote must not look like a result: fresh allocations are filled with a value that shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

POISONS = ("nan", "zero")

# The allocators that promise nothing about what is in the memory.
_ALLOCATORS: tuple[tuple[Any, str], ...] = (
    (torch, "empty"),
    (torch, "empty_like"),
    (torch, "empty_strided"),
    (torch.Tensor, "new_empty"),
    (torch.Tensor, "new_empty_strided"),
)


def fill(tensor: torch.Tensor, poison: str) -> torch.Tensor:
    """Fill ``tensor`` in place: NaN (or a conspicuous integer) for "nan", zero for "zero"."""
    if poison == "zero":
        # By a kernel, like the other poison: after a memset, programs might begin in another order.
        return tensor.fill_(0)
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return tensor.fill_(float("nan"))
    if tensor.dtype is torch.bool:
        return tensor.fill_(True)
    return tensor.fill_(0x5A)


@contextmanager
def poisoned(poison: str | None) -> Iterator[None]:
    """While open, every uninitialised allocation through torch holds ``poison``; None changes nothing."""
    if poison is None:
        yield
        return
    originals = [(owner, name, getattr(owner, name)) for owner, name in _ALLOCATORS]
    for owner, name, original in originals:
        setattr(owner, name, _filling(original, poison))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def overwrite_free_memory(sizes_bytes: list[int], device: str) -> None:
    """Overwrite the device memory that the next allocations of these sizes will be given: an earlier result left
    there is gone.

    All bits set is NaN in every floating-point type. The allocator usually, not always, hands out the same blocks
    again."""
    blocks = [torch.empty(size, dtype=torch.uint8, device=device).fill_(0xFF) for size in sizes_bytes]
    del blocks


def _filling(original: Callable[..., torch.Tensor], poison: str) -> Callable[..., torch.Tensor]:
    def allocate(*arguments: Any, **options: Any) -> torch.Tensor:
        return fill(original(*arguments, **options), poison)

    return allocate
