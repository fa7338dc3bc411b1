"""A candidate that builds an extension with torch.utils.cpp_extension, behind the sandbox of every other candidate."""

from __future__ import annotations

import shutil

import pytest
from host_bench import DOUBLE, Bench

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.verdict import Correctness, Stage

BUILT = (
    DOUBLE
    + r'''

from torch.utils.cpp_extension import load_inline

_SOURCE = """
torch::Tensor scaled(torch::Tensor x) {
    auto out = torch::empty_like(x);
    const float* from = x.data_ptr<float>();
    float* to = out.data_ptr<float>();
    for (int64_t i = 0; i < x.numel(); ++i) to[i] = from[i] * 2.0f + from[i] * 0.3f;
    return out;
}
"""
_built = load_inline("scaled_extension", cpp_sources=_SOURCE, functions=["scaled"])


def double(x):
    return _built.scaled(x)
'''
)


@pytest.mark.skipif(not (shutil.which("c++") and shutil.which("ninja")), reason="needs a C++ compiler and ninja")
def test_an_extension_is_built_and_waits_for_a_gpu(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, BUILT, deadline_s=300.0)
    assert observed.failure is None
    assert not observed.checks
    verdict = compose(doubling, observed, target="sm_90", stage=Stage.SCREENING)
    assert verdict.correctness is Correctness.UNVERIFIED
    line = BUILT.count("\n", 0, BUILT.index("return _built")) + 1
    assert f"line {line}: an extension uses the device or a tensor's memory here" in verdict.reason
