"""Causal attention, forward, without the score matrix in memory: one program per block of queries of one head."""

import torch
import triton
import triton.language as tl


@triton.jit
def flash_attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr,
    stride_head, stride_row,
    n_rows, scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, HEAD_DIM: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    head = tl.program_id(1)
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    dims = tl.arange(0, HEAD_DIM)
    base = head * stride_head
    q_offsets = base + rows[:, None] * stride_row + dims[None, :]
    q = tl.load(q_ptr + q_offsets, mask=rows[:, None] < n_rows, other=0.0)

    largest = tl.full([BLOCK_M], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_M], dtype=tl.float32)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], dtype=tl.float32)
    end = tl.minimum((block + 1) * BLOCK_M, n_rows)
    for start in range(0, end, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        kv_offsets = base + cols[:, None] * stride_row + dims[None, :]
        k = tl.load(k_ptr + kv_offsets, mask=cols[:, None] < n_rows, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        visible = (rows[:, None] >= cols[None, :]) & (cols[None, :] < n_rows)
        scores = tl.where(visible, scores, -float("inf"))

        new_largest = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp(scores - new_largest[:, None])
        shrink = tl.exp(largest - new_largest)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + kv_offsets, mask=cols[:, None] < n_rows, other=0.0)
        acc = acc * shrink[:, None] + tl.dot(weights.to(v.dtype), v)
        largest = new_largest

    out = acc / total[:, None]
    tl.store(out_ptr + q_offsets, out.to(out_ptr.dtype.element_ty), mask=rows[:, None] < n_rows)


def flash_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    batch, heads, n_rows, head_dim = q.shape
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = torch.empty_like(q)
    BLOCK_M, BLOCK_N = 64, 32
    grid = (triton.cdiv(n_rows, BLOCK_M), batch * heads)
    flash_attention_kernel[grid](
        q, k, v, out,
        q.stride(1), q.stride(2),
        n_rows, head_dim**-0.5,
        BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, HEAD_DIM=head_dim, num_warps=4,
    )  # fmt: skip
    return out
