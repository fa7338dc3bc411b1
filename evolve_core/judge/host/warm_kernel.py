"""The smallest kernel there is: a zygote compiles it once, so that its children need not initialise the compiler."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def warm_kernel(x, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803 - Triton infers the rest
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + offsets, tl.load(x + offsets, mask=offsets < n) + 1, mask=offsets < n)
