"""Control flow, rearrangement, reductions and atomics of real kernels, beside Triton's own interpreter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

# entry: (inputs, largest relative difference).
ENTRIES = {
    "programs_that_go_different_ways": ('{"x": torch.randn(37)}', 0),
    "returns_in_branches": ('{"x": torch.randn(61)}', 0),
    "rearranged": ('{"x": torch.randn(5, 16, 16)}', 0),
    "reductions_and_scans": ('{"x": torch.randint(-9, 9, (3, 8, 16), dtype=torch.int32)}', 0),
    "atomics": ('{"x": torch.randint(0, 1000, (11, 64), dtype=torch.int32)}', 0),
    "locked_sum": ('{"x": torch.randn(19)}', 0),
    "last_program_adds_up": ('{"x": torch.randn(16, 32)}', 1e-6),
    "random_numbers": ('{"seed": 1234567}', 0),
    "integer_product": ('{name: torch.randint(-128, 128, (32, 32), dtype=torch.int8) for name in "ab"}', 0),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_kernel_gives_what_tritons_interpreter_gives(as_ttir: Callable, in_triton: Callable, entry: str) -> None:
    inputs, tolerance = ENTRIES[entry]
    ours, theirs = as_ttir(entry, inputs), in_triton(entry, inputs)
    assert (ours.error, theirs.error, ours.findings) == (None, None, [])
    assert len(ours.outputs) == len(theirs.outputs) > 0
    for left, right in zip(ours.outputs, theirs.outputs, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=0)


def test_narrow_floats_are_torchs(as_ttir: Callable) -> None:
    """Triton's interpreter multiplies bfloat16 as integers."""
    ran = as_ttir("narrow_floats", '{"x": torch.randn(512)}')
    torch.manual_seed(0)
    x = torch.randn(512)
    half, brain = x.half(), x.bfloat16()
    eight = x.to(torch.float8_e5m2).float() + x.to(torch.float8_e4m3fn).float()
    for ours, theirs in zip(ran.outputs, (half * half + 1, brain * brain - 1, eight), strict=True):
        np.testing.assert_array_equal(ours.astype(np.float32), theirs.float().numpy())


def test_descriptors_load_store_and_add_inside_their_edges(as_ttir: Callable) -> None:
    """Triton's interpreter has no atomic addition to a descriptor."""
    ran = as_ttir("through_descriptors", '{"x": torch.randn(37, 52)}')
    torch.manual_seed(0)
    x = torch.randn(37, 52)
    assert (ran.error, ran.findings) == (None, [])
    np.testing.assert_array_equal(ran.outputs[0], (x * 2 + x).numpy())
    assert ran.work[0]["bytes_loaded"] == 37 * 52 * 4


def test_integer_arithmetic_is_the_compilers(as_ttir: Callable) -> None:
    """Triton's interpreter divides like Python in places, so the truth here is C's arithmetic in 64 bits."""
    inputs = '{name: torch.randint(-(2**31), 2**31, (1000,), dtype=torch.int32) | 1 for name in "ab"}'
    ran = as_ttir("integers", inputs)
    assert (ran.error, ran.findings) == (None, [])
    torch.manual_seed(0)
    a, b = (torch.randint(-(2**31), 2**31, (1000,), dtype=torch.int32).numpy() | 1 for _ in "ab")
    wide_a, wide_b = a.astype(np.int64), b.astype(np.int64)
    quotient = np.sign(wide_a) * np.sign(wide_b) * (np.abs(wide_a) // np.abs(wide_b))
    remainder = wide_a - quotient * wide_b
    ua, ub = a.view(np.uint32).astype(np.uint64), b.view(np.uint32).astype(np.uint64)
    high = ((ua * ub) >> np.uint64(32)).astype(np.int64)
    mixed = quotient + remainder + (wide_a << 2) + (wide_a >> 1) + (a ^ b) + (a & b) + (a | b) + high
    unsigned = (ua // ub + (ua >> np.uint64(3)) + ua % np.uint64(7)).astype(np.int64)
    np.testing.assert_array_equal(ran.outputs[0], (mixed + unsigned).astype(np.int32))
    np.testing.assert_array_equal(ran.outputs[1], wide_a * wide_b + (a < b) - (ua < ub).astype(np.int64))
