"""The Triton examples, compiled to TTIR and run, beside Triton's own interpreter on the same inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

# name: (inputs, units in the last place of the output's type).
EXAMPLES = {
    "vector_add": ('{"x": torch.randn(1000), "y": torch.randn(1000)}', 0),
    "swiglu": ('{"gate": torch.randn(5, 301).half(), "up": torch.randn(5, 301).half()}', 0),
    "softmax": ('{"x": torch.randn(7, 781)}', 0),
    "layernorm": (
        '{"x": torch.randn(3, 700).half(), "weight": torch.randn(700).half(), "bias": torch.randn(700).half()}',
        0,
    ),
    "cross_entropy": ('{"logits": torch.randn(5, 3000), "labels": torch.randint(0, 3000, (5,))}', 0),
    "matmul": ('{"a": torch.randn(70, 90).half(), "b": torch.randn(90, 33).half()}', 0),
    "flash_attention": ('{name: torch.randn(1, 2, 150, 64).half() for name in "qkv"}', 0),
}


def units_apart(left: np.ndarray, right: np.ndarray) -> int:
    """How many values of the type lie between two results, at most."""
    bits = {2: np.int16, 4: np.int32, 8: np.int64}[left.dtype.itemsize]

    def ordered(values: np.ndarray) -> np.ndarray:
        whole = values.view(bits).astype(np.int64)
        return np.where(whole < 0, np.int64(np.iinfo(bits).min) - whole, whole)

    return int(np.abs(ordered(left) - ordered(right)).max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_tritons_interpreter_gives(as_ttir: Callable, in_triton: Callable, name: str) -> None:
    inputs, units = EXAMPLES[name]
    ours, theirs = as_ttir(name, inputs, name), in_triton(name, inputs, name)
    assert (ours.error, theirs.error, ours.findings) == (None, None, [])
    assert units_apart(ours.outputs[0], theirs.outputs[0]) <= units


def test_the_work_of_a_product_is_what_its_blocks_do(as_ttir: Callable) -> None:
    """70 × 90 by 90 × 33 in blocks of 64 × 64 and steps of 32: two programs of three steps."""
    (work,) = as_ttir("matmul", *EXAMPLES["matmul"][:1], "matmul").work
    assert work["dot_flops"] == 2 * 3 * (2 * 64 * 64 * 32)
    assert work["bytes_loaded"] == 2 * (70 * 90 + 2 * 90 * 33)
    assert work["bytes_stored"] == 2 * 70 * 33


def test_the_work_of_an_addition(as_ttir: Callable) -> None:
    (work,) = as_ttir("vector_add", EXAMPLES["vector_add"][0], "vector_add").work
    assert (work["bytes_loaded"], work["bytes_stored"]) == (2 * 4000, 4000)
    assert work["float_operations"] == 1024
    assert work["special_operations"] == work["atomics"] == work["dot_flops"] == 0
