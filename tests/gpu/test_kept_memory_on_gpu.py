"""Memory that a module has of its own, on a real GPU: what a call leaves there, the next timed call does not find."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.host.gpu.cuda_compiler import compile_cubin
from evolve_core.judge.host.gpu.forking import fork_child
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.host.plan import Argument, Given, KernelLaunch, LaunchPlan, Memory, Output, View

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(200),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]

SOURCE = """
__device__ int from_zero;
static __device__ int from_seven = 7;
__constant__ int table[2] = {3, 4};
extern "C" __global__ void first(const int* x, int* out) { out[0] = from_zero++ + x[0]; out[1] = from_seven++; }
extern "C" __global__ void second(int* out) { out[2] = from_zero; out[3] = from_seven; out[4] = table[out[0] & 1]; }
"""
PATIENCE_S = 150.0


def plan(binary: str) -> LaunchPlan:
    """Two kernels of one file, which share its memory."""
    x, out = Argument(memory=0), Argument(memory=1)
    launches = (
        KernelLaunch(binary, "first", (1, 1, 1), (1, 1, 1), 0, (x, out)),
        KernelLaunch(binary, "second", (1, 1, 1), (1, 1, 1), 0, (out,)),
    )
    memories = (Memory("x", "int32", 0), Memory("", "int32", 5))
    outputs = (Output("out", View(1, 0, "int32", (5,), (1,))),)
    return LaunchPlan((Given("x", "int32", (1,), (1,)),), memories, launches, outputs)


def called(folder: Path, binary: str) -> list[Any]:
    import torch

    from evolve_core.judge.host.gpu.planned import PlannedRunner

    runner = PlannedRunner([plan(binary)], folder)
    inputs = {"x": torch.zeros(1, dtype=torch.int32, device="cuda")}
    found: list[Any] = [runner.keeps_memory(inputs)]
    for anew in (False, False, True, True, False):
        ((_, out),) = runner.prepared(inputs, anew=anew)()
        found.append(out.tolist())
    _, ((_, out),) = runner.guarded(inputs, "nan")
    return [*found, out.tolist()]


def test_a_module_that_is_loaded_anew_is_as_it_was_compiled(tmp_path: Path) -> None:
    cubin = compile_cubin(SOURCE, "kept.cu", list_devices()[0]["capability"]).cubin
    binary = hashlib.sha256(cubin).hexdigest()
    (tmp_path / f"{binary}.cubin").write_bytes(cubin)
    report = tmp_path / "report.json"
    # In a child, because this process must not meet CUDA.
    child = fork_child(lambda: report.write_text(json.dumps(called(tmp_path, binary))) and None, "kept", PATIENCE_S, ())
    assert child.wait(PATIENCE_S) == 0
    fresh, later, much_later = [0, 7, 1, 8, 3], [1, 8, 2, 9, 4], [2, 9, 3, 10, 3]
    assert json.loads(report.read_text()) == [True, fresh, later, fresh, fresh, later, much_later]
