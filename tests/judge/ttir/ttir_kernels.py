"""Kernels whose control flow, rearrangements and atomics the interpreter must get right; and their launches."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _one_map_after_another(a, b, c, d):
    """x → a·x + b, then x → c·x + d."""
    return a * c, b * c + d


@triton.jit(noinline=True)
def _apart(x, n):
    if n > 3:
        return x * 2
    return x + 1


@triton.jit
def _ways_kernel(x_ptr, out_ptr, n):
    program = tl.program_id(0)
    if program >= n:
        return
    x = tl.load(x_ptr + program)
    turns = 0
    while turns < program and x < 40.0:
        x = x * 1.5 + 1
        turns += 1
    if x > 10:
        y = x - turns
    else:
        y = x + program * 2
    for i in range(program % 5, program, 2):
        if i % 3 == 0:
            y += tl.load(x_ptr + i)
        else:
            y -= 0.5
    tl.store(out_ptr + program, _apart(y, program))


def programs_that_go_different_ways(x):
    out = torch.zeros(x.numel())
    _ways_kernel[(x.numel() + 7,)](x, out, x.numel())
    return out


@triton.jit
def _returns_kernel(x_ptr, out_ptr, n):
    program = tl.program_id(0)
    x = tl.load(x_ptr + program)
    if x > 1.0:
        tl.store(out_ptr + program, 1)
        return
    if program % 2 == 0:
        x += 1
    else:
        if x < -1.0:
            tl.store(out_ptr + program, 2)
            return
        x -= 1
    tl.store(out_ptr + program, (x * 100).to(tl.int32))


def returns_in_branches(x):
    out = torch.zeros(x.numel(), dtype=torch.int32)
    _returns_kernel[(x.numel(),)](x, out, x.numel())
    return out


@triton.jit
def _rearrange_kernel(x_ptr, out_ptr, N: tl.constexpr):
    program = tl.program_id(0)
    offsets = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    x = tl.load(x_ptr + program * N * N + offsets)
    left, right = tl.split(tl.reshape(tl.trans(x), [N, N // 2, 2]))
    joined = tl.reshape(tl.join(right, left), [N, N])
    flipped = tl.permute(tl.reshape(joined, [2, N // 2, N]), [1, 0, 2])
    index = (offsets * 7 + 3) % N
    gathered = tl.gather(tl.reshape(flipped, [N, N]), index, axis=1)
    tl.store(out_ptr + program * N * N + offsets, gathered + tl.sort(x, dim=1))


def rearranged(x):
    out = torch.empty_like(x)
    _rearrange_kernel[(x.shape[0],)](x, out, N=x.shape[1])
    return out


@triton.jit
def _reduce_kernel(x_ptr, value_ptr, index_ptr, scan_ptr, N: tl.constexpr, M: tl.constexpr):
    program = tl.program_id(0)
    offsets = tl.arange(0, N)[:, None] * M + tl.arange(0, M)[None, :]
    x = tl.load(x_ptr + program * N * M + offsets)
    best, place = tl.max(x, axis=1, return_indices=True, return_indices_tie_break_left=True)
    tl.store(value_ptr + program * N + tl.arange(0, N), best)
    tl.store(index_ptr + program * N + tl.arange(0, N), place)
    factors, terms = tl.associative_scan((x, x + 1), 1, _one_map_after_another, reverse=True)
    scanned = factors + terms + tl.cumsum(x, 0) + tl.cumprod(x, 1)
    tl.store(scan_ptr + program * N * M + offsets, scanned + tl.xor_sum(x, axis=0)[None, :])


def reductions_and_scans(x):
    programs, n, m = x.shape
    value, index, scan = x.new_empty(programs, n), torch.empty(programs, n, dtype=torch.int32), torch.empty_like(x)
    _reduce_kernel[(programs,)](x, value, index, scan, N=n, M=m)
    return value, index, scan


@triton.jit
def _atomic_kernel(x_ptr, sum_ptr, bins_ptr, largest_ptr, ticket_ptr, N: tl.constexpr):
    program = tl.program_id(0)
    x = tl.load(x_ptr + program * N + tl.arange(0, N))
    tl.atomic_add(sum_ptr + tl.arange(0, N) % 8, x)
    tl.atomic_add(bins_ptr + tl.arange(0, 16), tl.histogram(x % 16, 16))
    tl.atomic_max(largest_ptr, tl.max(x, axis=0))
    tl.store(ticket_ptr + program, tl.atomic_add(largest_ptr + 1, 1) * 0 + 1)


def atomics(x):
    sums, bins = torch.zeros(8, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    largest, tickets = torch.zeros(2, dtype=torch.int32), torch.zeros(x.shape[0], dtype=torch.int32)
    _atomic_kernel[(x.shape[0],)](x, sums, bins, largest, tickets, N=x.shape[1])
    return sums, bins, largest, tickets


@triton.jit
def _lock_kernel(lock_ptr, total_ptr, x_ptr):
    program = tl.program_id(0)
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    tl.store(total_ptr, tl.load(total_ptr) + tl.load(x_ptr + program))
    tl.atomic_xchg(lock_ptr, 0)


def locked_sum(x):
    lock, total = torch.zeros(1, dtype=torch.int32), torch.zeros(1)
    _lock_kernel[(x.numel(),)](lock, total, x)
    return total


@triton.jit
def _last_adds_up_kernel(x_ptr, parts_ptr, count_ptr, total_ptr, PROGRAMS: tl.constexpr, N: tl.constexpr):
    program = tl.program_id(0)
    part = tl.sum(tl.load(x_ptr + program * N + tl.arange(0, N)), axis=0)
    tl.store(parts_ptr + program, part)
    if tl.atomic_add(count_ptr, 1) == PROGRAMS - 1:
        tl.store(total_ptr, tl.sum(tl.load(parts_ptr + tl.arange(0, PROGRAMS)), axis=0))


def last_program_adds_up(x):
    programs, n = x.shape
    total, count = torch.zeros(1), torch.zeros(1, dtype=torch.int32)
    _last_adds_up_kernel[(programs,)](x, torch.zeros(programs), count, total, PROGRAMS=programs, N=n)
    return total


@triton.jit
def _narrow_kernel(x_ptr, half_ptr, brain_ptr, eight_ptr, N: tl.constexpr):
    offsets = tl.program_id(0) * N + tl.arange(0, N)
    x = tl.load(x_ptr + offsets)
    tl.store(half_ptr + offsets, x.to(tl.float16) * x.to(tl.float16) + 1)
    tl.store(brain_ptr + offsets, x.to(tl.bfloat16) * x.to(tl.bfloat16) - 1)
    tl.store(eight_ptr + offsets, x.to(tl.float8e5).to(tl.float32) + x.to(tl.float8e4nv).to(tl.float32))


def narrow_floats(x):
    half, brain, eight = torch.empty_like(x).half(), torch.empty_like(x).bfloat16(), torch.empty_like(x)
    _narrow_kernel[(x.numel() // 64,)](x, half, brain, eight, N=64)
    return half, brain, eight


@triton.jit
def _random_kernel(out_ptr, seed, N: tl.constexpr):
    offsets = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out_ptr + offsets, tl.rand(seed, offsets) + tl.randint(seed, offsets).to(tl.float32))


def random_numbers(seed):
    out = torch.empty(256)
    _random_kernel[(4,)](out, seed, N=64)
    return out


@triton.jit
def _integer_dot_kernel(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    offsets = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out_ptr + offsets, tl.dot(tl.load(a_ptr + offsets), tl.load(b_ptr + offsets)))


def integer_product(a, b):
    out = torch.empty(a.shape, dtype=torch.int32)
    _integer_dot_kernel[(1,)](a, b, out, N=a.shape[0])
    return out


@triton.jit
def _descriptor_kernel(x_ptr, out_ptr, rows, columns, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x_ptr, [rows, columns], [columns, 1], [N, N])
    target = tl.make_tensor_descriptor(out_ptr, [rows, columns], [columns, 1], [N, N])
    row, column = tl.program_id(0) * N, tl.program_id(1) * N
    block = source.load([row, column])
    target.store([row, column], block * 2)
    target.atomic_add([row, column], block)


def through_descriptors(x):
    out = torch.zeros_like(x)
    rows, columns = x.shape
    _descriptor_kernel[(triton.cdiv(rows, 16), triton.cdiv(columns, 16))](x, out, rows, columns, N=16)
    return out


@triton.jit
def _integers_kernel(a_ptr, b_ptr, out_ptr, wide_ptr, n, N: tl.constexpr):
    offsets = tl.program_id(0) * N + tl.arange(0, N)
    a = tl.load(a_ptr + offsets, mask=offsets < n, other=1)
    b = tl.load(b_ptr + offsets, mask=offsets < n, other=1)
    unsigned = (a.to(tl.uint32) // b.to(tl.uint32)) + (a.to(tl.uint32) >> 3) + (a.to(tl.uint32) % 7)
    mixed = a // b + a % b + (a << 2) + (a >> 1) + (a ^ b) + (a & b) + (a | b) + tl.umulhi(a, b)
    tl.store(out_ptr + offsets, mixed + unsigned.to(tl.int32), mask=offsets < n)
    tl.store(
        wide_ptr + offsets,
        a.to(tl.int64) * b.to(tl.int64) + (a < b) - (a.to(tl.uint32) < b.to(tl.uint32)),
        mask=offsets < n,
    )


def integers(a, b):
    out, wide = torch.empty_like(a), torch.empty(a.numel(), dtype=torch.int64)
    _integers_kernel[(triton.cdiv(a.numel(), 64),)](a, b, out, wide, a.numel(), N=64)
    return out, wide
