"""A matrix product over a two-dimensional grid, with literal tiles that the grid repeats."""

import torch
import triton
import triton.language as tl


@triton.jit
def tiled_kernel(a_ptr, b_ptr, c_ptr, M, N, K, sa, sb, sc, TM: tl.constexpr, TN: tl.constexpr, TK: tl.constexpr = 32):
    i = tl.program_id(0)
    j = tl.program_id(1)
    rm = i * TM + tl.arange(0, TM)
    rn = j * TN + tl.arange(0, TN)
    acc = tl.zeros((TM, TN), dtype=tl.float32)
    for k in range(0, K, TK):
        rk = k + tl.arange(0, TK)
        a = tl.load(a_ptr + rm[:, None] * sa + rk[None, :], mask=(rm[:, None] < M) & (rk[None, :] < K), other=0.0)
        b = tl.load(b_ptr + rk[:, None] * sb + rn[None, :], mask=(rk[:, None] < K) & (rn[None, :] < N), other=0.0)
        acc += tl.dot(a, b)
    tl.store(
        c_ptr + rm[:, None] * sc + rn[None, :],
        acc.to(c_ptr.dtype.element_ty),
        mask=(rm[:, None] < M) & (rn[None, :] < N),
    )


def product(a, b):
    M, K = a.shape
    _, N = b.shape
    c = torch.empty((M, N), device=a.device, dtype=a.dtype)
    tiled_kernel[(triton.cdiv(M, 32), triton.cdiv(N, 32))](
        a, b, c, M, N, K, a.stride(0), b.stride(0), c.stride(0), TM=32, TN=32, TK=32
    )
    return c
