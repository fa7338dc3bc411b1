"""Rows scaled into place over chunks, with pointers that advance: what rules must read carefully."""

import torch
import triton
import triton.language as tl


@triton.jit
def affine_rows_kernel(x_ptr, out_ptr, stride, n_cols, BLOCK: tl.constexpr):
    x_ptr += tl.program_id(0) * stride
    out_ptr += tl.program_id(0) * stride
    low = tl.full((BLOCK,), 3.0e38, dtype=tl.float32)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        low = tl.minimum(low, tl.load(x_ptr + cols, mask=cols < n_cols, other=3.0e38))
    least = tl.min(low, axis=0)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + cols, mask=cols < n_cols)
        tl.store(out_ptr + cols, x - least, mask=cols < n_cols)


def affine_rows(x):
    out = torch.empty_like(x)
    affine_rows_kernel[(x.shape[0],)](x, out, x.stride(0), x.shape[1], BLOCK=128)
    return out
