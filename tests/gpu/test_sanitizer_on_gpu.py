"""compute-sanitizer over plans on a real GPU: what guarded memory cannot see, what is honest, and how long it takes."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.judge.host.gpu.cuda_compiler import compile_cubin
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.host.gpu.sanitized import write_job
from evolve_core.judge.host.gpu.sanitizer import find_sanitizer, watch
from evolve_core.judge.host.gpu.sanitizer_log import Tool, Watched
from evolve_core.judge.host.plan import Argument, Given, KernelLaunch, LaunchPlan, Memory, Output, View
from evolve_core.judge.verdict import Correctness, Stage, Trust, Verdict
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example, variants

SANITIZER = find_sanitizer()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]
with_sanitizer = pytest.mark.skipif(SANITIZER is None, reason="needs compute-sanitizer")

COUNT, BLOCK = 1000, 256
KERNEL = """
extern "C" __global__ void doubled(const float* x, float* out, int n) {
    __shared__ float turned[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    turned[threadIdx.x] = i < n ? x[i] : 0.0f;
    BARRIER
    float other = turned[blockDim.x - 1 - threadIdx.x];
    if (i < n) out[i] = other == 12345.678f ? 0.0f : 2.0f * x[i];
    EXTRA
}
"""
BARRIER = "__syncthreads();"
EXTRAS = {
    "a read far away that makes no difference": "if (i < n && x[i + (1 << 24)] == 12345.678f) out[i] = 0.0f;",
    "a read just past the end": "if (i == n - 1 && x[i + 1] == 12345.678f) out[i] = 0.0f;",
    "a write just past the end": "if (i == n - 1) out[i + 1] = 0.0f;",
    "a read before the start": "if (i == 0 && x[i - 1] == 12345.678f) out[i] = 0.0f;",
}


def watched(folder: Path, barrier: str, extra: str = "") -> dict[Tool, Watched]:
    """One call of the kernel under both tools, in processes of their own."""
    source = KERNEL.replace("BARRIER", barrier).replace("EXTRA", extra)
    binary = compile_cubin(source, "doubled.cu", list_devices()[0]["capability"]).cubin
    name = hashlib.sha256(binary).hexdigest()
    (folder / f"{name}.cubin").write_bytes(binary)
    arguments = (Argument(memory=0), Argument(memory=1), Argument(scalar="i32", value=COUNT))
    launch = KernelLaunch(name, "doubled", (-(-COUNT // BLOCK), 1, 1), (BLOCK, 1, 1), 0, arguments)
    given, out = Given("x", "float32", (COUNT,), (1,)), View(1, 0, "float32", (COUNT,), (1,))
    memories = (Memory("x", "float32", 0), Memory("", "float32", COUNT))
    plan = LaunchPlan((given,), memories, (launch,), (Output("out", out),))
    write_job(folder, plan.as_json(), str(folder), [("x", struct.pack(f"{COUNT}f", *range(COUNT)))])
    assert SANITIZER is not None
    began = time.monotonic()
    seen = watch(SANITIZER, list(Tool), folder, 60.0)
    print(f"{time.monotonic() - began:.1f} s: {seen}")
    return seen


@with_sanitizer
def test_an_honest_kernel_is_clean(tmp_path: Path) -> None:
    for tool, seen in watched(tmp_path, BARRIER).items():
        assert not seen.why_not and not seen.findings, (tool, seen)


@with_sanitizer
@pytest.mark.parametrize("name", EXTRAS)
def test_accesses_outside_of_a_tensor_are_found(tmp_path: Path, name: str) -> None:
    found = watched(tmp_path, BARRIER, EXTRAS[name])[Tool.MEMCHECK].findings
    assert found
    assert (found[0].kernel, found[0].access) == ("doubled", "write" if "write" in name else "read")
    assert found[0].line == KERNEL[: KERNEL.index("EXTRA")].count("\n") + 1
    assert found[0].address is not None


@with_sanitizer
def test_a_race_in_shared_memory_is_found(tmp_path: Path) -> None:
    seen = watched(tmp_path, "")
    assert not seen[Tool.MEMCHECK].findings
    assert [one.kernel for one in seen[Tool.RACECHECK].findings] == ["doubled"]


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(
        tmp_path_factory.mktemp("judges"),
        lambda name: Texts(SUMMED, SUMMED_TASK) if name == "summed" else Texts(*example(name)),
    )
    yield found
    found.close()


def confirmed(judges: Judges, name: str, source: str) -> Verdict:
    judges.judge(name, source, Stage.SCREENING)  # What opens the task is not part of the time.
    began = time.monotonic()
    verdict = judges.judge(name, source, Stage.CONFIRMATION)
    print(f"{name}: {time.monotonic() - began:.1f} s, {verdict.reason}, {dict(verdict.environment)}")
    return verdict


HONEST = [
    ("softmax", "warps8"),
    ("layernorm", "single-warps8"),
    ("swiglu", "block1024-warps4"),
    ("matmul", "tile128x128x64-warps8-stages3"),
]


@with_sanitizer
@pytest.mark.parametrize(("name", "variant"), HONEST)
def test_honest_finalists_are_clean_behind_the_benchs_confinement(judges: Judges, name: str, variant: str) -> None:
    verdict = confirmed(judges, name, variants(name)[variant])
    environment = dict(verdict.environment)
    assert verdict.correctness is Correctness.CORRECT
    assert environment["sanitizer"].count("found nothing on ") == len(Tool), environment["sanitizer"]


FAR = """    far = tl.load(x_ptr + (1 << 28) + cols, mask=mask, other=0.0)
    x = tl.load(x_ptr + row * x_row_stride + cols, mask=mask, other=-float("inf"))
    x = tl.where(far == 12345.678, x * 2, x)
"""


@with_sanitizer
def test_a_finalist_that_reads_far_away_is_no_winner(judges: Judges) -> None:
    """Whether guarded memory or the sanitizer sees it is a matter of what happens to be mapped there."""
    source, _ = example("softmax")
    line = next(line for line in source.splitlines(keepends=True) if "x = tl.load(" in line)
    verdict = confirmed(judges, "softmax", source.replace(line, FAR))
    assert verdict.correctness is not Correctness.CORRECT
    assert not verdict.is_winner


SUMMED = """import torch
import triton
import triton.language as tl


@triton.jit
def summed_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr, tl.sum(tl.load(x_ptr + offsets, mask=offsets < n, other=0.0)))


def summed(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(1, device=x.device)
    summed_kernel[(triton.cdiv(x.numel(), 256),)](x, out, x.numel(), BLOCK=256)
    return out
"""
SUMMED_TASK = """import torch

entry = "summed"


def workloads():
    for n in [1 << 20, (1 << 21) + 3]:
        yield lambda gen, device, n=n: {"x": torch.randn(n, generator=gen, device=device)}


def reference(x):
    return x.sum().reshape(1)
"""


def test_sums_by_atomics_are_bounded_like_the_users_own(judges: Judges) -> None:
    verdict = confirmed(judges, "summed", SUMMED.replace("256", "512"))
    assert (verdict.correctness, verdict.trust) == (Correctness.CORRECT, Trust.KERNEL_ONLY), verdict.reason
    said = dict(verdict.environment)["run to run"]
    assert said.startswith("bounded: ") and "your own kernel gives other bits in" in said


def test_a_kernel_without_atomics_is_deterministic(judges: Judges) -> None:
    verdict = confirmed(judges, "softmax", variants("softmax")["warps8"])
    said = dict(verdict.environment)["run to run"]
    assert said.startswith("deterministic: the same bits in each of ")
    assert int(said.split(" repeated")[0].split()[-1]) > 100
