"""Denormals that one spelling of a function keeps and another flushes are no error; anything else among them is."""

from __future__ import annotations

import pytest
import torch

from evolve_core.judge.host.compare import compare_outputs

N = 8192


def ratio(dtype: torch.dtype, magnitude: float, change: float) -> float:
    """The quantile ratio of a candidate that is off by ``change`` times each tiny value; half of the tensor is tiny."""
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    values[: N // 2] *= magnitude
    native = values.to(dtype)
    truth = native.double()
    candidate = native.clone()
    candidate[: N // 2] = (truth[: N // 2] * (1 + change)).to(dtype)
    (check,) = compare_outputs([("out", candidate)], [("out", truth)], [("out", native)], quantiles=True)
    return float(check["quantile_ratio"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_flushed_denormals_are_right(dtype):
    assert ratio(dtype, 1e-39, change=-1.0) <= 2


def test_fp16_denormals_are_not_flushed_by_any_gpu():
    assert ratio(torch.float16, 1e-6, change=-1.0) > 2


def test_small_normal_values_must_still_be_right():
    assert ratio(torch.float32, 1e-33, change=1e-3) > 2
