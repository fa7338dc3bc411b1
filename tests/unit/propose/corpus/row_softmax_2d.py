"""Masked softmax over a batch of matrices: rows on axis 0, the batch on axis 1, a scale that multiplies."""

import torch
import triton
import triton.language as tl


@triton.jit
def scaled_softmax_kernel(out_ptr, x_ptr, scale, n_cols, stride_b, stride_r, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    batch = tl.program_id(1)
    base = batch * stride_b + row * stride_r
    offsets = tl.arange(0, BLOCK)
    inside = offsets < n_cols
    logits = tl.load(x_ptr + base + offsets, inside, -float("inf")).to(tl.float32) * scale
    shifted = logits - tl.max(logits, 0)
    exps = tl.exp(shifted)
    tl.store(out_ptr + base + offsets, exps / tl.sum(exps, 0), inside)


def scaled_softmax(x):
    batches, rows, cols = x.shape
    out = torch.empty_like(x)
    block = triton.next_power_of_2(cols)
    scaled_softmax_kernel[(rows, batches)](out, x, 0.125, cols, x.stride(0), x.stride(1), block)
    return out
