"""The kernels that a calibration launches. In a file of their own: Triton reads a kernel's source from its file."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def empty_kernel(x_ptr):  # type: ignore[no-untyped-def]
    pass


@triton.jit
def double_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 2, mask=mask)
