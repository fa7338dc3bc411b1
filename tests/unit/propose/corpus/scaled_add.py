"""Elementwise with a rounded-up division, a module constant beside it, and a scalar argument."""

import torch
import triton
from triton import language as tl

BLOCK = 128


@triton.jit
def scaled_add_kernel(x_ptr, y_ptr, out_ptr, n, alpha, SIZE: tl.constexpr):
    start = tl.program_id(axis=0) * SIZE
    idx = start + tl.arange(0, SIZE)
    live = idx < n
    x = tl.load(x_ptr + idx, mask=live, other=0.0)
    y = tl.load(y_ptr + idx, mask=live, other=0.0)
    tl.store(out_ptr + idx, tl.exp(x * alpha) + y, mask=live)


def scaled_add(x, y):
    out = torch.empty_like(x)
    n = x.numel()
    scaled_add_kernel[((n + BLOCK - 1) // BLOCK,)](x, y, out, n, 0.5, SIZE=BLOCK)
    return out
