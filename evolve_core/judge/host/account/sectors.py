"""Memory traffic in 32-byte sectors, the unit that L1, L2 and DRAM of every supported GPU exchange."""

from __future__ import annotations

from typing import Any

import numpy as np

SECTOR_BYTES = 32
_SECTORS_IN_LINE_LOG2 = np.uint64(2)


def sectors_of(addresses: Any, item_bytes: int) -> tuple[Any, int]:
    """Distinct sectors that the lanes of one block-wide access touch (uint64, ascending), and how many distinct bytes.

    The block is taken as a whole: the compiler lays threads along the contiguous axis, so lanes that share a sector sit
    in one request wherever the layout allows it at all; what remains counted is what the addresses themselves force.
    """
    if not addresses.size:
        return addresses, 0
    steps = np.diff(addresses.view(np.int64))
    if steps.size and steps.min() < 0:
        addresses = np.unique(addresses)
        distinct = addresses.size
    else:
        distinct = 1 + int(np.count_nonzero(steps))
    sectors = addresses >> np.uint64(5)
    new = np.ones(sectors.shape, dtype=bool)
    np.not_equal(sectors[1:], sectors[:-1], out=new[1:])
    return sectors[new], distinct * item_bytes


def line_count(sectors: Any, storage_start: int) -> int:
    """Distinct 128-byte cache lines behind ascending sectors: what the L1's tags are asked for.

    Lines are counted from the start of the storage: a GPU's allocator aligns that to lines, a CPU's does not.
    """
    if not sectors.size:
        return 0
    lines = (sectors - np.uint64(storage_start // SECTOR_BYTES)) >> _SECTORS_IN_LINE_LOG2
    return 1 + int(np.count_nonzero(lines[1:] != lines[:-1]))


class Traffic:
    """Sectors of one program, by the tensor that they belong to."""

    def __init__(self) -> None:
        self.loads: dict[frozenset[str], list[Any]] = {}
        self.stores: dict[frozenset[str], list[Any]] = {}

    def add(self, is_store: bool, origin: frozenset[str], sectors: Any) -> None:
        side = self.stores if is_store else self.loads
        side.setdefault(origin, []).append(sectors)


def distinct(parts: list[Any]) -> Any:
    """The union of several sector arrays."""
    return np.unique(np.concatenate(parts)) if len(parts) > 1 else parts[0]
