"""The bench's share of a device's memory: the arithmetic. What torch makes of it is in tests/gpu."""

from __future__ import annotations

import pytest

from evolve_core.judge.host.gpu.memory_cap import RESERVE_BYTES, SHARE, most_bytes

GIB = 1 << 30


@pytest.mark.parametrize("free_gib", [0.25, 1.0, 2.0, 8.0, 24.0, 139.0])
def test_there_is_always_something_left_for_others_and_something_to_work_with(free_gib: float) -> None:
    free = int(free_gib * GIB)
    assert free / 2 - 1 <= most_bytes(free) < free
    if free > 4 * RESERVE_BYTES:
        assert free - most_bytes(free) >= RESERVE_BYTES + (1 - SHARE) * (free - RESERVE_BYTES) - 1


def test_more_free_memory_is_more_to_take() -> None:
    shares = [most_bytes(gib * GIB) for gib in range(200)]
    assert shares == sorted(set(shares))
    assert most_bytes(0) == 0
    assert most_bytes(81 * GIB) == 64 * GIB
