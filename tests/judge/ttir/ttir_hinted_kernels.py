"""Kernels that tell the compiler something about their values: true, harmless, or false."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _rows_kernel(x_ptr, out_ptr, n, pitch, N: tl.constexpr, DIVISOR: tl.constexpr, ALIKE: tl.constexpr):
    row = tl.multiple_of(tl.program_id(0) * pitch, DIVISOR)
    offsets = row + tl.arange(0, N)
    mask = tl.max_constancy(tl.arange(0, N) < n, ALIKE)
    x = tl.load(x_ptr + offsets, mask=mask)  # HERE: rows
    tl.store(out_ptr + offsets, x, mask=mask)


def rows(count, n, pitch, divisor=8, alike=4):
    x = 1 + torch.rand(count * pitch + 128)
    out = torch.zeros_like(x)
    _rows_kernel[(count,)](x, out, n, pitch, N=128, DIVISOR=divisor, ALIKE=alike)
    return out


@triton.jit
def _address_kernel(x_ptr, out_ptr, N: tl.constexpr):
    offsets = tl.arange(0, N)
    x = tl.load(tl.multiple_of(x_ptr + offsets, 16))  # HERE: address
    tl.store(out_ptr + offsets, x)


def late_address(start):
    x = torch.randn(start + 64)[start:]
    out = torch.zeros(64)
    _address_kernel[(1,)](x, out, N=64)
    return out


@triton.jit
def _every_fourth_kernel(x_ptr, out_ptr, N: tl.constexpr):
    offsets = tl.arange(0, N)
    x = tl.load(x_ptr + tl.max_contiguous(offsets * 4, 4))  # HERE: run
    tl.store(out_ptr + offsets, x)


def every_fourth():
    out = torch.zeros(128)
    _every_fourth_kernel[(1,)](torch.arange(512).float(), out, N=128)
    return out


def every_fourth_as_it_is_made():
    return torch.cat([torch.arange(4 * at, 4 * at + 4).float() for at in range(0, 128, 4)])


@triton.jit(do_not_specialize=["hop"])
def _hop_kernel(x_ptr, out_ptr, hop, M: tl.constexpr, N: tl.constexpr):
    rows = tl.multiple_of(tl.arange(0, M) * hop, 4)
    cols = tl.arange(0, N)
    x = tl.load(x_ptr + rows[:, None] + cols[None, :])  # HERE: hop
    tl.store(out_ptr + tl.arange(0, M)[:, None] * N + cols[None, :], x)


def hops(hop):
    out = torch.zeros(16, 32)
    _hop_kernel[(1,)](torch.randn(16 * max(hop, 1) + 32), out, hop, M=16, N=32)
    return out


@triton.jit
def _largest_kernel(x_ptr, y_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr):
    rows, cols = tl.arange(0, M), tl.arange(0, N)
    _, at = tl.max(tl.load(x_ptr + rows[:, None] * N + cols[None, :]), axis=1, return_indices=True)
    at = tl.multiple_of(at, 16)
    y = tl.load(y_ptr + at[:, None] + cols[None, :])  # HERE: index
    tl.store(out_ptr + rows[:, None] * N + cols[None, :], y)


def after_the_largest(at):
    x, out = torch.zeros(16, 64), torch.zeros(16, 64)
    x[:, at] = 1.0
    _largest_kernel[(1,)](x, torch.randn(128), out, M=16, N=64)
    return out


@triton.jit
def _wrapped_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    rows = (tl.program_id(0) * N + tl.arange(0, N)) % n
    rows = tl.max_contiguous(tl.multiple_of(rows, N), N)
    places = rows[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out_ptr + places, tl.load(x_ptr + places))


def tile_that_wraps_around(rows):
    x = torch.randn(rows, 16)
    out = torch.zeros_like(x)
    _wrapped_kernel[(triton.cdiv(rows, 16),)](x, out, rows, N=16)
    return out


@triton.jit
def _clamped_kernel(x_ptr, out_ptr, n, pitch, M: tl.constexpr, N: tl.constexpr):
    rows = tl.minimum(tl.program_id(0) * M + tl.arange(0, M), n - 1)
    rows = tl.max_contiguous(tl.multiple_of(rows, M), M)
    cols = tl.arange(0, N)
    x = tl.load(x_ptr + rows[:, None] * pitch + cols[None, :])
    tl.store(out_ptr + rows[:, None] * pitch + cols[None, :], x)


def tile_that_is_clamped(rows):
    x = torch.randn(rows, 32)
    out = torch.zeros_like(x)
    _clamped_kernel[(triton.cdiv(rows, 16),)](x, out, rows, 32, M=16, N=32)
    return out


@triton.jit
def _padded_kernel(a_ptr, b_ptr, c_ptr, m, n, lda, ldb, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    rows, cols, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    some_rows = tl.max_contiguous(tl.multiple_of(rows % m, M), M)
    some_cols = tl.max_contiguous(tl.multiple_of(cols % n, N), N)
    a = tl.load(a_ptr + some_rows[:, None] * lda + inner[None, :])
    b = tl.load(b_ptr + inner[:, None] * ldb + some_cols[None, :])  # HERE: wrapped columns
    mask = (rows[:, None] < m) & (cols[None, :] < n)
    tl.store(c_ptr + rows[:, None] * n + cols[None, :], tl.dot(a, b), mask=mask)


def product_of_padded_matrices(m, n, pitch):
    """As Triton's tutorial on products does it: what wraps around is never stored."""
    a, b = torch.randn(m, 32).half(), torch.randn(32, pitch).half()[:, :n]
    c = torch.zeros(m, n)
    _padded_kernel[(1,)](a, b, c, m, n, a.stride(0), b.stride(0), M=64, N=64, K=32)
    return c - (a.float() @ b.float())


@triton.jit
def _adding_kernel(out_ptr, start, N: tl.constexpr):
    tl.atomic_add(tl.multiple_of(out_ptr + start + tl.arange(0, N), 16), 1.0)  # HERE: update


def adds_from(start):
    out = torch.zeros(256)
    _adding_kernel[(1,)](out, start, N=128)
    return out


@triton.jit(noinline=True)
def _fill_from(ptr, N: tl.constexpr):
    tl.store(ptr + tl.arange(0, N), 1.0)


@triton.jit
def _calling_kernel(out_ptr, start, N: tl.constexpr):
    _fill_from(out_ptr + tl.multiple_of(start * 3, 16), N)


def fills_through_a_call(start):
    out = torch.zeros(256)
    _calling_kernel[(1,)](out, start, N=128)
    return out


@triton.jit
def _columns_kernel(x_ptr, out_ptr, N: tl.constexpr):
    places = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    along_rows = tl.max_contiguous(tl.multiple_of(x_ptr + places, [16, 16]), [2 * N, N])
    tl.store(out_ptr + places, tl.load(along_rows))


@triton.jit
def _both_axes_kernel(a_ptr, b_ptr, c_ptr, K, lda, ldb, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr):
    rows, cols, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BLOCK)
    a_ptrs = a_ptr + rows[:, None] * lda + inner[None, :]
    b_ptrs = b_ptr + inner[:, None] * ldb + cols[None, :]
    total = tl.zeros((M, N), dtype=tl.float32)
    for _ in range(tl.cdiv(K, BLOCK)):
        tl.multiple_of(a_ptrs, [16, 16])
        tl.multiple_of(b_ptrs, [16, 16])
        total += tl.dot(tl.load(a_ptrs), tl.load(b_ptrs))  # HERE: both axes
        a_ptrs += BLOCK
        b_ptrs += BLOCK * ldb
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], total)


def product_hinted_along_both_axes(lda=64):
    """As Triton's tutorial on grouped products does it: only one axis of each is read in vectors."""
    a, b = torch.randn(32, lda).half()[:, :64], torch.randn(64, 32).half()
    c = torch.zeros(32, 32)
    _both_axes_kernel[(1,)](a, b, c, 64, a.stride(0), b.stride(0), M=32, N=32, BLOCK=32)
    return c


@triton.jit
def _chosen_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    start = n * 2
    if n > 100:
        start = n * 3
    start = tl.multiple_of(start, 16)
    offsets = tl.arange(0, N)
    tl.store(out_ptr + offsets, tl.load(x_ptr + start + offsets))


def hint_on_what_a_branch_gives(n):
    """The compiler takes no notice of it there."""
    out = torch.zeros(64)
    _chosen_kernel[(1,)](torch.randn(1024), out, n, N=64)
    return out
