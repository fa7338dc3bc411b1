"""What one device can do at most: memory traffic, matrix products, an empty kernel, a flush of its L2 cache.

Every probe is timed as a candidate is (clock.py: cold L2, the stream held until everything is queued). The samples are
handed on as they are; what follows from them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .calibration_kernels import empty_kernel
from .clock import Stopwatch

SAMPLES = 15
_WARM_CALLS = 3
_LARGEST_BUFFER_BYTES = 1 << 30
_MEMORY_SHARE = 16
"""One buffer takes at most this part of the device's memory; a probe uses three."""
_LARGE, _SMALL = 8192, 4096
_MATMUL_MEMORY_BYTES = 8 << 30
"""Three fp32 matrices of the larger size are 0.8 GB: a device with less memory than this gets the smaller one."""


@dataclass(frozen=True)
class Probe:
    """``work`` is what one call moves (bytes) or computes (floating-point operations)."""

    name: str
    work: int
    call: Callable[[], Any]


def measured(probe: Probe, watch: Stopwatch) -> dict[str, Any]:
    """``{name, work, ns}``: device times of ``SAMPLES`` calls after a few to warm up."""
    for _ in range(_WARM_CALLS):
        watch.sample(probe.call)
    return {
        "name": probe.name,
        "work": probe.work,
        "ns": [watch.sample(probe.call)[0].device_ns for _ in range(SAMPLES)],
    }


def probes(memory_bytes: int, l2_bytes: int, device: str = "cuda") -> Iterator[Probe]:
    """All of them in turn: a group's buffers live until the next group is under way."""
    yield from _traffic(min(_LARGEST_BUFFER_BYTES, memory_bytes // _MEMORY_SHARE), device)
    yield from _products(_LARGE if memory_bytes >= _MATMUL_MEMORY_BYTES else _SMALL, device)
    yield from _launches(l2_bytes, device)


def _traffic(buffer_bytes: int, device: str) -> Iterator[Probe]:
    """STREAM's copy and triad (McCalpin 1995), and reading and writing alone: a device may be faster at one of them."""
    count = buffer_bytes // 4
    a, b, c = (torch.ones(count, dtype=torch.float32, device=device) for _ in range(3))
    moved = count * 4
    yield Probe("read", moved, lambda: torch.sum(a))
    yield Probe("write", moved, lambda: a.fill_(1.0))
    yield Probe("copy", 2 * moved, lambda: a.copy_(b))
    yield Probe("triad", 3 * moved, lambda: torch.add(b, c, alpha=3.0, out=a))


def _products(size: int, device: str) -> Iterator[Probe]:
    """Square matrix products by torch's library: fp32 on the vector units, the others on the tensor cores."""
    operations = 2 * size**3
    kinds = (("fp32", torch.float32), ("tf32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16))
    for name, dtype in kinds:
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
        a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
        out = torch.empty_like(a)
        yield Probe(name, operations, partial(torch.mm, a, b, out=out))


def _launches(l2_bytes: int, device: str) -> Iterator[Probe]:
    x = torch.zeros(1, device=device)
    flushed = torch.empty(2 * l2_bytes, dtype=torch.uint8, device=device)
    yield Probe("empty kernel", 0, lambda: empty_kernel[(1,)](x))
    yield Probe("flush", 2 * l2_bytes, flushed.zero_)
