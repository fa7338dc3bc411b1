"""Kernels that do something wrong, or only seem to; and their launches."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _copy_kernel(x_ptr, out_ptr, n, N: tl.constexpr, MASKED: tl.constexpr, SHIFT: tl.constexpr):
    offsets = tl.program_id(0) * N + tl.arange(0, N)
    if MASKED:
        x = tl.load(x_ptr + offsets, mask=offsets < n)
        tl.store(out_ptr + offsets + SHIFT, x, mask=offsets < n)  # HERE: shifted store
    else:
        x = tl.load(x_ptr + offsets)  # HERE: load without a mask
        tl.store(out_ptr + offsets, x, mask=offsets < n)


def load_past_the_end(x):
    out = torch.zeros_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 64),)](x, out, x.numel(), N=64, MASKED=False, SHIFT=0)
    return out


def store_before_the_start(x):
    out = torch.zeros_like(x)
    _copy_kernel[(triton.cdiv(x.numel(), 64),)](x, out, x.numel(), N=64, MASKED=True, SHIFT=-3)
    return out


@triton.jit
def _racing_kernel(out_ptr, N: tl.constexpr, STRIDE: tl.constexpr):
    program = tl.program_id(0)
    offsets = tl.arange(0, N)
    tl.store(out_ptr + program * STRIDE + offsets, offsets + program)  # HERE: racing store


def blocks_that_overlap():
    out = torch.zeros(100, dtype=torch.int32)
    _racing_kernel[(4,)](out, N=16, STRIDE=12)
    return out


def blocks_side_by_side():
    out = torch.zeros(100, dtype=torch.int32)
    _racing_kernel[(4,)](out, N=16, STRIDE=16)
    return out


@triton.jit
def _neighbour_kernel(x_ptr, N: tl.constexpr):
    program = tl.program_id(0)
    mine = tl.load(x_ptr + program)
    other = tl.load(x_ptr + (program + 1) % N)
    tl.store(x_ptr + program, mine + other)  # HERE: store that a neighbour read


def neighbours_in_place(x):
    _neighbour_kernel[(x.numel(),)](x, N=x.numel())
    return x


@triton.jit
def _same_flag_kernel(x_ptr, flag_ptr):
    if tl.load(x_ptr + tl.program_id(0)) > 0:
        tl.store(flag_ptr, 1)


def many_set_one_flag(x):
    flag = torch.zeros(1, dtype=torch.int32)
    _same_flag_kernel[(x.numel(),)](x, flag)
    return flag


@triton.jit
def _rounds_kernel(x_ptr, flag_ptr):
    program = tl.program_id(0)
    if program == 0:
        while tl.atomic_add(flag_ptr, 0) == 0:
            pass
    else:
        tl.atomic_xchg(flag_ptr, 1)
    tl.store(x_ptr + program, 1.0)


def waits_for_a_later_program():
    x, flag = torch.zeros(2), torch.zeros(1, dtype=torch.int32)
    _rounds_kernel[(2,)](x, flag)
    return x


@triton.jit
def _divide_kernel(x_ptr, out_ptr, by):
    tl.device_assert(by > 0, "by is positive")
    tl.store(out_ptr, tl.load(x_ptr) // by)  # HERE: division


def divides_by(by):
    x, out = torch.tensor([-7], dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    _divide_kernel[(1,)](x, out, by)
    return out


@triton.jit
def _relaxed_kernel(x_ptr, parts_ptr, count_ptr, total_ptr, PROGRAMS: tl.constexpr, ORDER: tl.constexpr):
    program = tl.program_id(0)
    tl.store(parts_ptr + program, tl.load(x_ptr + program))
    if tl.atomic_add(count_ptr, 1, sem=ORDER) == PROGRAMS - 1:
        parts = tl.load(parts_ptr + tl.arange(0, PROGRAMS))  # HERE: load without an order
        tl.store(total_ptr, tl.sum(parts, axis=0))


def last_program_adds_up_in_order(x, order):
    total, count = torch.zeros(1), torch.zeros(1, dtype=torch.int32)
    _relaxed_kernel[(x.numel(),)](x, torch.zeros(x.numel()), count, total, PROGRAMS=x.numel(), ORDER=order)
    return total


@triton.jit
def _mixed_kernel(x_ptr):
    program = tl.program_id(0)
    if program == 0:
        tl.store(x_ptr, 5)
    else:
        tl.atomic_add(x_ptr, 1, sem="relaxed")  # HERE: atomic beside a plain store


def atomic_beside_a_plain_store():
    x = torch.zeros(1, dtype=torch.int32)
    _mixed_kernel[(3,)](x)
    return x


@triton.jit
def _last_writes_kernel(x_ptr, out_ptr, PROGRAMS: tl.constexpr):
    program = tl.program_id(0)
    first = tl.load(x_ptr)
    tl.store(out_ptr + program, first)
    if program == PROGRAMS - 1:
        tl.store(x_ptr, first + 1)  # HERE: store that all read


def all_read_what_the_last_writes():
    out = torch.zeros(8)
    _last_writes_kernel[(8,)](torch.zeros(1), out, PROGRAMS=8)
    return out


@triton.jit
def _assuming_kernel(out_ptr, n, N: tl.constexpr):
    tl.assume(n >= N)  # HERE: assumption
    offsets = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out_ptr + offsets, offsets, mask=offsets < n)


def assumes_many(n):
    out = torch.zeros(n, dtype=torch.int32)
    _assuming_kernel[(2,)](out, n, N=32)
    return out
