"""The script that shows a rejection draws the inputs that the judge had drawn."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve_core.judge.host.distributions import AS_DRAWN, VARIED, vary
from evolve_core.judge.host.gpu.arguments import as_ctypes
from evolve_core.judge.host.gpu.cuda_launch import CudaFile
from evolve_core.judge.host.gpu.signature import argument, parameter_types
from evolve_core.judge.host.keeping import device_calls
from evolve_core.judge.host.plan import Argument
from evolve_core.judge.reproduce import VARIED as SCRIPTED
from evolve_core.judge.reproduce_cuda import LAUNCHED

CUDA = """
#include "beside.h"
// __global__ void row_dot(double wrong);
__global__ void __launch_bounds__(128, 2) row_dot(const float* __restrict__ a, /* out, */ float out[], int rows,
    const unsigned int cols, std::int64_t stride, float scale, double wide, bool flag, char letter) {
    out[0] = a[0] * TWO;
}
namespace inner { __global__ void other(int) {} }
extern "C" __global__ void none(void) {}
"""
VALUES = (None, None, -3, 4_000_000_000, -(1 << 40), 0.1, 0.1, True, 65)


@pytest.mark.parametrize("distribution", [AS_DRAWN, *VARIED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32])
def test_the_script_varies_values_as_the_judge_does(distribution: str, dtype: torch.dtype) -> None:
    names: dict[str, Any] = {"torch": torch, "DISTRIBUTION": "" if distribution == AS_DRAWN else distribution}
    exec(SCRIPTED, names)
    for drawn in (torch.randn(7, 301), torch.randn(5, 2000).t(), torch.randn(40)[1:], torch.ones(1)):
        value = drawn.to(dtype)
        expected = vary({"x": value}, distribution)["x"].clone()
        assert torch.equal(names["varied"](value), expected)


def test_the_script_compiles_and_finds_a_kernel_as_the_judge_does(tmp_path: Path) -> None:
    names: dict[str, Any] = {"torch": torch, "os": os, "sys": sys, "FOLDER": str(tmp_path)}
    names["SOURCE"] = str(tmp_path / "kernels.cu")
    (tmp_path / "beside.h").write_text("#define TWO 2.0f\n")
    exec(LAUNCHED, names)
    source = CUDA.replace("std::int64_t", "long long")
    cubin = names["compiled"](source, "sm_90a")
    file = CudaFile.of(source, cubin)
    for kernel in ("row_dot", "none", "inner::other"):
        assert names["symbol_of"](cubin, kernel) == file.symbol(kernel)
    assert device_calls(cubin) == set()
    with pytest.raises(SystemExit, match=r"identifier .itn. is undefined"):
        names["compiled"]("__global__ void k(itn x) {}", "sm_90a")


def test_the_script_hands_a_kernel_the_bytes_that_the_judge_hands_it() -> None:
    names: dict[str, Any] = {"torch": torch, "os": os, "sys": sys}
    exec(LAUNCHED, names)
    texts, types = names["parameters"](CUDA, "row_dot"), parameter_types(CUDA, "row_dot")
    assert len(texts) == len(types) == len(VALUES) and names["parameters"](CUDA, "none") == []
    given = zip(
        [*texts, "half h", "__nv_bfloat16 b"], [*types, "half", "nv_bfloat16"], [*VALUES, 1.5, -0.1], strict=True
    )
    for text, type_, value in given:
        ours = bytes(as_ctypes(argument(value, type_, "it", nowhere), {}))
        assert names["packed"](value, text, len(ours)) == ours, text


def nowhere(tensor: torch.Tensor) -> Argument:
    raise AssertionError
