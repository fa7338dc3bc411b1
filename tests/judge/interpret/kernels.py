"""Kernels with one known property each. A comment ``HERE: name`` marks the line that a test expects to be named."""

import torch
import triton
import triton.language as tl

BLOCK = 64


@triton.jit
def copy_without_mask(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)  # HERE: load past the end
    tl.store(out_ptr + offsets, x, mask=offsets < n)


def load_past_the_end(x):
    out = torch.empty_like(x)
    copy_without_mask[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, out, x.numel(), BLOCK=BLOCK)
    return out


def load_past_the_end_swallowed(x):
    try:
        return load_past_the_end(x)
    except BaseException:  # noqa: BLE001 - what a candidate that hides its faults would write
        return x.clone()


@triton.jit
def store_shifted(x_ptr, out_ptr, shift, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)
    tl.store(
        out_ptr + offsets + shift,  # several lines: the statement's first one counts
        x,
    )


def store_before_the_start(x):
    out = torch.empty_like(x)
    store_shifted[(1,)](x, out, -3, BLOCK=BLOCK)
    return out


def store_far_away(x):
    out = torch.empty_like(x)
    store_shifted[(1,)](x, out, 1 << 40, BLOCK=BLOCK)
    return out


@triton.jit
def histogram(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.atomic_add(out_ptr + x, 1)  # HERE: atomic


def atomics(x, bins):
    out = torch.zeros(bins, dtype=torch.int32)
    histogram[(1,)](x, out, BLOCK=BLOCK)
    return out


@triton.jit
def read_second(a_ptr, b_ptr, out_ptr, step, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(a_ptr + step + offsets) + tl.load(b_ptr + offsets))


def neighbour(step):
    """``a`` and ``b`` lie back to back in memory, each with a storage of its own."""
    memory = bytearray(2 * BLOCK * 4)
    a = torch.frombuffer(memory, dtype=torch.float32, count=BLOCK)
    b = torch.frombuffer(memory, dtype=torch.float32, count=BLOCK, offset=BLOCK * 4)
    out = torch.empty(BLOCK)
    read_second[(1,)](a, b, out, step, BLOCK=BLOCK)
    return out


def packed(qk):
    """A kernel that is given the first half of a packed tensor, and steps to the second."""
    first = qk[:BLOCK]
    out = torch.empty(BLOCK)
    read_second[(1,)](first, first, out, BLOCK, BLOCK=BLOCK)
    return out


@triton.jit
def follow_pointers(table_ptr, out_ptr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    source = tl.load(table_ptr + row).to(tl.pointer_type(tl.float32))
    offsets = tl.arange(0, BLOCK)
    tl.store(out_ptr + row * BLOCK + offsets, tl.load(source + offsets))


def grouped(lengths):
    tensors = [torch.full((length,), float(index)) for index, length in enumerate(lengths)]
    table = torch.tensor([tensor.data_ptr() for tensor in tensors])
    out = torch.empty(len(lengths), BLOCK)
    follow_pointers[(len(lengths),)](table, out, BLOCK=BLOCK)
    return out


@triton.jit
def tile_by_descriptor(x_ptr, out_ptr, rows, cols, R: tl.constexpr, C: tl.constexpr):
    tiles = tl.make_tensor_descriptor(x_ptr, shape=[rows, cols], strides=[cols, 1], block_shape=[R, C])
    tile = tiles.load([tl.program_id(0) * R, 0])
    offsets = tl.arange(0, R)[:, None] * C + tl.arange(0, C)[None, :]
    tl.store(out_ptr + tl.program_id(0) * R * C + offsets, tile)


def descriptor(x, claimed_rows):
    tiles = triton.cdiv(claimed_rows, 8)
    out = torch.empty(tiles * 8, 16)
    tile_by_descriptor[(tiles,)](x, out, claimed_rows, x.shape[1], R=8, C=16)
    return out


@triton.jit
def masked_off(x_ptr, out_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK) + 1000000
    nothing = tl.load(x_ptr + offsets, mask=offsets < 0, other=7.0)
    tl.store(out_ptr + tl.arange(0, BLOCK), nothing)


def all_lanes_off(x):
    out = torch.empty(BLOCK)
    masked_off[(1,)](x, out, BLOCK=BLOCK)
    return out


@triton.jit
def asserts(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.device_assert(x > 0, "x must be positive")  # HERE: assert
    tl.store(out_ptr + tl.arange(0, BLOCK), x)


def asserted(x):
    out = torch.empty_like(x)
    asserts[(1,)](x, out, BLOCK=BLOCK)
    return out


@triton.jit
def hashed(out_ptr, BLOCK: tl.constexpr):
    value = tl.arange(0, BLOCK)
    value = value * 1103515245 + 12345  # overflows 32 bits, on purpose
    tl.store(out_ptr + tl.arange(0, BLOCK), value)


def overflowing():
    out = torch.empty(BLOCK, dtype=torch.int32)
    hashed[(1,)](out, BLOCK=BLOCK)
    return out


@triton.jit
def read_helper(pointer, offsets):
    return tl.load(pointer + offsets)  # HERE: helper


@triton.jit
def uses_helper(x_ptr, out_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, read_helper(x_ptr, offsets))


def through_helper(x):
    out = torch.empty(BLOCK)
    uses_helper[(1,)](x, out, BLOCK=BLOCK)
    return out


@triton.autotune(configs=[triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 64})], key=["n"])
@triton.jit
def tuned_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n) * 2 + 0 * BLOCK, mask=offsets < n)


def tuned(x):
    out = torch.empty_like(x)
    tuned_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, out, x.numel())
    return out


def host_error(x):
    raise ValueError("the host code is wrong")  # HERE: host


@triton.jit
def broken(x_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    tl.store(x_ptr + tl.arange(0, BLOCK), x + undefined_name)  # noqa: F821  # HERE: broken


def kernel_error(x):
    broken[(1,)](x, BLOCK=BLOCK)


def empty_grid(x):
    out = torch.zeros(BLOCK)
    store_shifted[(0,)](x, out, 0, BLOCK=BLOCK)
    return out


# -- for the profile


@triton.jit
def add_kernel(a_ptr, b_ptr, out_ptr, n, STRIDE: tl.constexpr, BLOCK: tl.constexpr):
    offsets = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)) * STRIDE
    mask = offsets < n * STRIDE
    total = tl.load(a_ptr + offsets, mask=mask) + tl.load(b_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, total, mask=mask)


def add(a, b, n, stride=1, block=256):
    out = torch.empty_like(a)
    add_kernel[(triton.cdiv(n, block),)](a, b, out, n, STRIDE=stride, BLOCK=block)
    return out


@triton.jit
def row_sums_kernel(x_ptr, weight_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, cols, BLOCK):
        total += tl.load(x_ptr + row * cols + start + tl.arange(0, BLOCK))
    weight = tl.load(weight_ptr + tl.arange(0, BLOCK))
    tl.store(out_ptr + row, tl.sum(total * weight, axis=0))


def row_sums(x, weight):
    out = torch.empty(x.shape[0])
    row_sums_kernel[(x.shape[0],)](x, weight, out, x.shape[1], BLOCK=BLOCK)
    return out


@triton.jit
def reload_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    total = tl.sum(tl.load(x_ptr + offsets), axis=0)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets) / total)


def reload(x):
    out = torch.empty_like(x)
    reload_kernel[(1,)](x, out, BLOCK=BLOCK)
    return out


@triton.jit
def loops_kernel(out_ptr, outer, inner):
    count = 0
    for _ in range(outer):
        for j in range(inner):
            count += 1
            if j == 1:
                break
        for _ in tl.static_range(3):
            count += 1
    tl.store(out_ptr, count)


def loops(outer, inner):
    out = torch.empty(1, dtype=torch.int32)
    loops_kernel[(1,)](out, outer, inner)
    return out


@triton.jit
def long_loop_kernel(x_ptr, out_ptr, steps, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for step in range(steps):
        total += tl.load(x_ptr + step * BLOCK + tl.arange(0, BLOCK))
    tl.store(out_ptr + tl.arange(0, BLOCK), total)


def long_loop(x):
    out = torch.empty(BLOCK)
    long_loop_kernel[(1,)](x, out, x.numel() // BLOCK, BLOCK=BLOCK)
    return out


@triton.jit
def dot_kernel(a_ptr, b_ptr, out_ptr, K, PRECISION: tl.constexpr, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):
    rows, columns, depth = tl.arange(0, M), tl.arange(0, N), tl.arange(0, STEP)
    total = tl.zeros((M, N), dtype=tl.float32)
    for start in range(0, K, STEP):
        a = tl.load(a_ptr + rows[:, None] * K + start + depth[None, :])
        b = tl.load(b_ptr + (start + depth)[:, None] * N + columns[None, :])
        total += tl.dot(a, b, input_precision=PRECISION)
    tl.store(out_ptr + rows[:, None] * N + columns[None, :], total)


def dot(a, b, precision="tf32"):
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty(m, n)
    dot_kernel[(1,)](a, b, out, k, PRECISION=precision, M=m, N=n, STEP=16)
    return out


@triton.jit
def rows_32_bit(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = row * cols + tl.arange(0, BLOCK)  # 32-bit: wraps around in the last rows of a large tensor
    tl.store(out_ptr + row, tl.sum(tl.load(x_ptr + offsets).to(tl.int32), axis=0))  # HERE: overflow


def large_rows(x):
    out = torch.empty(x.shape[0], dtype=torch.int32)
    rows_32_bit[(x.shape[0],)](x, out, x.shape[1], BLOCK=BLOCK)
    return out


def two_launches(x):
    return add(row_sums(x, torch.ones(BLOCK)), torch.ones(x.shape[0]), x.shape[0])


@triton.jit
def divisions_kernel(x_ptr, out_ptr, d, BLOCK: tl.constexpr, FIXED: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, BLOCK))
    if FIXED:
        tl.store(out_ptr + tl.arange(0, BLOCK), x // 8)
    else:
        tl.store(out_ptr + tl.arange(0, BLOCK), x // d)


def divisions(x, fixed):
    out = torch.empty_like(x)
    divisions_kernel[(1,)](x, out, 8, BLOCK=BLOCK, FIXED=fixed)
    return out
