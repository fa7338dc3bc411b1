"""Cross entropy over long rows: a running maximum and sum in one loop, the gradient in a second one."""

import torch
import triton
import triton.language as tl


@triton.jit
def cross_entropy_kernel(x_ptr, x_stride, target_ptr, loss_ptr, grad_ptr, grad_stride, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    target = tl.load(target_ptr + row)
    m = float("-inf")
    d = 0.0
    for i in range(0, n_cols, BLOCK):
        cols = i + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + cols, mask=cols < n_cols, other=float("-inf")).to(tl.float32)
        block_max = tl.max(x)
        m_new = tl.maximum(m, block_max)
        d = d * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new))
        m = m_new
    chosen = tl.load(x_ptr + row * x_stride + target).to(tl.float32)
    tl.store(loss_ptr + row, m + tl.log(d) - chosen)
    for i in range(0, n_cols, BLOCK):
        cols = i + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + cols, mask=cols < n_cols, other=float("-inf")).to(tl.float32)
        p = tl.exp(x - m) / d
        tl.store(grad_ptr + row * grad_stride + cols, tl.where(cols == target, p - 1.0, p), mask=cols < n_cols)


def cross_entropy(x, target):
    rows, vocab = x.shape
    loss = torch.empty(rows, dtype=torch.float32, device=x.device)
    grad = torch.empty_like(x)
    cross_entropy_kernel[(rows,)](x, x.stride(0), target, loss, grad, grad.stride(0), vocab, BLOCK=64, num_warps=4)
    return loss, grad
