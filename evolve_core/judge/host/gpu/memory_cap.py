"""How much of the device's memory torch may take in the bench, so that a candidate that takes all hurts itself alone.

Without a bound it is the conductor, or whoever else uses the device, that finds no memory left. What torch's allocator
is asked for beyond it raises torch's OutOfMemoryError, which is the candidate's failure ``out-of-memory``. This is no
confinement: host code that asks the driver itself, or undoes the bound, is not held by it.
"""

from __future__ import annotations

import torch

RESERVE_BYTES = 1 << 30
"""For contexts that come up later, of pairs that stand by (rounds.py) and of other programs."""
SHARE = 0.8
"""Of what is free beyond that; the rest is the conductor's, which holds inputs and truth, and no candidate's copies."""
_LEAST_SHARE = 0.5
"""Of what is free, where hardly more than the reserve is."""


def most_bytes(free_bytes: int) -> int:
    """What torch may take of a device on which so much is free before the bench takes any."""
    return max(int(SHARE * (free_bytes - RESERVE_BYTES)), int(_LEAST_SHARE * free_bytes))


def cap_memory() -> None:
    """For this process, and before anything is allocated in it: what is free then is what the bound is made of."""
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(most_bytes(free) / total)
