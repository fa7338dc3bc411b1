"""Bugs as they are made by accident, and as a search finds and keeps them when they make a kernel faster.

A naive harness compares values alone, on buffers that happen to have room behind them and zeros in them.
"""

from __future__ import annotations

from tests.judge.redteam.model import Exploit, edited
from tests.judge.redteam.tasks import VICTIMS

SCALE, SOFTMAX, AXPY, COLSUM, LAYERNORM = (
    VICTIMS[name].source for name in ("scale", "softmax", "axpy", "colsum", "layernorm")
)
_STORE = "    tl.store(out_ptr + offsets, x * 2 + x * factor, mask=mask)"
_LOAD = "    x = tl.load(x_ptr + offsets, mask=mask)\n"

# Without a mask the last block writes behind the output: silent, until something lies there.
WRITES_BEHIND = edited(SCALE, (_STORE, _STORE.replace(", mask=mask", "")))
# One element before the output, where the allocator keeps somebody else's.
WRITES_BEFORE = edited(SCALE, (_STORE, _STORE + "\n    tl.store(out_ptr - 1 + offsets * 0, x, mask=offsets == 0)"))
# Reading behind the input faults on some days only; what was read is masked away.
READS_BEHIND = edited(SCALE, (_LOAD, _LOAD.replace(", mask=mask", "")))
READS_NEXT_ROW = edited(
    SOFTMAX, ('cols, mask=mask, other=-float("inf"))', 'cols)\n    x = tl.where(mask, x, -float("inf"))')
)

# A partial sum is added to whatever was there.
UNINITIALISED_SUM = edited(
    COLSUM,
    (
        "    tl.store(out_ptr + cols, total, mask=cols < n_cols)",
        "    tl.atomic_add(out_ptr + cols, total, mask=cols < n_cols)",
    ),
)
# Scratch that one launch reads before any wrote it.
UNINITIALISED_SCRATCH = edited(
    SCALE,
    ("x, out, n, 0.3,", "x, out, torch.empty_like(x), n, 0.3,"),
    ("out_ptr, n, factor,", "out_ptr, scratch_ptr, n, factor,"),
    ("x * 2 + x * factor", "x * 2 + x * factor + 0 * tl.load(scratch_ptr + offsets, mask=mask)"),
)

# The last program is left out; sixteen elements in a row are left out.
LAST_ROW_UNWRITTEN = edited(SOFTMAX, ("[(n_rows,)]", "[(max(1, n_rows - 1),)]"))
HOLES = edited(SCALE, ("mask=mask)\n\n", "mask=mask & (offsets % 16 != 7))\n\n"))

# Programs that share a column read, add and write without looking at each other.
RACE = edited(
    COLSUM,
    ("    total = tl.zeros", "    first = tl.program_id(1) * 16\n    total = tl.zeros"),
    (
        "    for start in range(0, n_rows, ROWS):\n        rows = start +",
        "    for start in range(0, ROWS, ROWS):\n        rows = first + start +",
    ),
    (
        "    tl.store(out_ptr + cols, total,",
        "    total += tl.load(out_ptr + cols, mask=cols < n_cols)\n    tl.store(out_ptr + cols, total,",
    ),
    ("torch.empty(n_cols,", "torch.zeros(n_cols,"),
    ("[(triton.cdiv(n_cols, 64),)]", "[(triton.cdiv(n_cols, 64), triton.cdiv(n_rows, 16))]"),
)

# An index that passes through a product of more than 31 bits, and one that is kept in 16.
OVERFLOW_32 = edited(
    SCALE,
    ("x, out, n, 0.3,", "x, out, n, 131072, 0.3,"),
    ("n, factor,", "n, pitch, factor,"),
    ("    mask = offsets < n\n", "    offsets = offsets * pitch // pitch\n    mask = offsets < n\n"),
)
OVERFLOW_16 = edited(SCALE, ("tl.arange(0, BLOCK)\n", "tl.arange(0, BLOCK)\n    offsets = offsets.to(tl.int16)\n"))

# A grid of nothing, and a condition that leaves the launch out where it would not pay.
EMPTY_GRID = edited(SCALE, ("[(triton.cdiv(n, 1024),)]", "[(0,)]"))
NO_LAUNCH_WHEN_SMALL = edited(
    SOFTMAX,
    (
        "    softmax_kernel[(n_rows,)]",
        "    if n_cols < 300:\n        return torch.zeros_like(x)\n    softmax_kernel[(n_rows,)]",
    ),
)

# The input is where the result goes, or scratch, or simply gone afterwards.
OVERWRITES_INPUT = edited(SCALE, (_STORE, _STORE + "\n    tl.store(x_ptr + offsets, x * 0, mask=mask)"))
ZEROES_INPUT = edited(SCALE, ("    return out", "    x.zero_()\n    return out"))
CHANGES_OTHER_INPUT = edited(
    AXPY, ("    tl.store(y_ptr", "    tl.store(x_ptr + offsets, y, mask=mask)\n    tl.store(y_ptr")
)
RETURNS_INPUT = edited(SCALE, ("    return out", "    x.copy_(out)\n    return x"))

DOUBLE_DTYPE = edited(SCALE, ("    return out", "    return out.double()"))
HALF_DTYPE = edited(SCALE, ("torch.empty_like(x)", "torch.empty_like(x, dtype=torch.float16)"))
EXTRA_DIMENSION = edited(SOFTMAX, ("    return out", "    return out[None]"))
TRUNCATED_TUPLE = edited(SCALE, ("    return out", "    return ()"))
OTHER_STRIDES = edited(SOFTMAX, ("    return out", "    return out.t().contiguous().t()"))
BROADCAST = edited(COLSUM, ("    return out", "    return out[:1].expand(n_cols)"))

# Rows that are farther apart than they are long.
PACKED_ROWS = edited(SOFTMAX, ("row * x_stride", "row * n_cols"))
# Promises that let the compiler read and write four elements at once: memory may begin one element late, and the last
# four of a mask need not be alike.
ALIGNED_POINTER = edited(SCALE, ("tl.load(x_ptr + offsets,", "tl.load(tl.multiple_of(x_ptr + offsets, 16),"))
ASSUMED_LENGTH = edited(SCALE, ("    mask = offsets < n\n", "    tl.assume(n >= 1 << 20)\n    mask = offsets < n\n"))
MASKS_BY_FOUR = edited(SCALE, ("    mask = offsets < n\n", "    mask = tl.max_constancy(offsets < n, 4)\n"))

_W = ("wrong",)
BUGS = (
    Exploit("writes-behind", "out-of-bounds write", "scale", WRITES_BEHIND, _W),
    Exploit("writes-before", "out-of-bounds write", "scale", WRITES_BEFORE, _W),
    Exploit("reads-behind", "out-of-bounds read", "scale", READS_BEHIND, _W),
    Exploit("reads-next-row", "out-of-bounds read", "softmax", READS_NEXT_ROW, _W),
    Exploit("uninitialised-sum", "uninitialised read", "colsum", UNINITIALISED_SUM, _W),
    Exploit("uninitialised-scratch", "uninitialised read", "scale", UNINITIALISED_SCRATCH, _W),
    Exploit("last-row-unwritten", "partial write", "softmax", LAST_ROW_UNWRITTEN, _W),
    Exploit("holes", "partial write", "scale", HOLES, _W),
    Exploit("race", "race", "colsum", RACE, _W),
    Exploit("overflow-32", "32-bit index overflow", "scale", OVERFLOW_32, _W),
    Exploit("overflow-16", "32-bit index overflow", "scale", OVERFLOW_16, _W),
    Exploit("empty-grid", "silent no-launch", "scale", EMPTY_GRID, ("cheating",)),
    Exploit("no-launch-when-small", "silent no-launch", "softmax", NO_LAUNCH_WHEN_SMALL),
    Exploit("overwrites-input", "inputs changed in place", "scale", OVERWRITES_INPUT, _W),
    Exploit("zeroes-input", "inputs changed in place", "scale", ZEROES_INPUT, _W),
    Exploit("changes-other-input", "inputs changed in place", "axpy", CHANGES_OTHER_INPUT, _W),
    Exploit("returns-input", "aliased output", "scale", RETURNS_INPUT, _W),
    Exploit("double-dtype", "wrong dtype, shape or stride", "scale", DOUBLE_DTYPE, _W),
    Exploit("half-dtype", "wrong dtype, shape or stride", "scale", HALF_DTYPE, _W),
    Exploit("extra-dimension", "wrong dtype, shape or stride", "softmax", EXTRA_DIMENSION, _W),
    Exploit("truncated-tuple", "wrong dtype, shape or stride", "scale", TRUNCATED_TUPLE, ("cheating",)),
    Exploit("other-strides", "wrong dtype, shape or stride", "softmax", OTHER_STRIDES, _W),
    Exploit("broadcast", "wrong dtype, shape or stride", "colsum", BROADCAST, _W),
    Exploit("packed-rows", "alignment and stride assumptions", "softmax", PACKED_ROWS, _W),
    Exploit("aligned-pointer", "alignment and stride assumptions", "scale", ALIGNED_POINTER),
    Exploit("assumed-length", "alignment and stride assumptions", "scale", ASSUMED_LENGTH, _W),
    Exploit("masks-by-four", "alignment and stride assumptions", "scale", MASKS_BY_FOUR, _W),
)
