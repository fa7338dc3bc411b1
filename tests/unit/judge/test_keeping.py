"""What a compiled kernel can keep from one call to the next, read out of its binary. With the real compilers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evolve_core.judge.host.analysing import plans_of, unrenewable
from evolve_core.judge.host.binaries import BinaryStore
from evolve_core.judge.host.errors import StepError
from evolve_core.judge.host.gpu.cuda_compiler import compile_cubin
from evolve_core.judge.host.keeping import UNREADABLE, device_calls, keeps_memory
from evolve_core.judge.host.tier import Plans

KEEPS = {
    "a variable": "__device__ int x; __global__ void k(float* o) { o[0] = x++; }",
    "one with a value": "__device__ int x = 3; __global__ void k(float* o) { o[0] = x++; }",
    "a hidden one": "namespace { __device__ int x; } __global__ void k(float* o) { o[0] = x++; }",
    "a static one": "__global__ void k(float* o) { static int x; o[0] = x++; }",
    "a constant one": "__constant__ float t[2] = {1, 2}; __global__ void k(float* o, int i) { o[0] = t[i]; }",
    "a table of the library": "__global__ void k(double* o) { o[0] = sin(o[0]); }",
    "one of PTX": """__global__ void k(unsigned* o) {
        asm volatile("{.global .u32 hidden; .reg .u64 t; mov.u64 t, hidden; atom.global.add.u32 %0, [t], 1;}"
                     : "=r"(o[0]));
    }""",
}
KEEPS_NOTHING = {
    "shared": """__global__ void k(float* o) {
        __shared__ float s[64]; s[threadIdx.x] = o[threadIdx.x]; __syncthreads(); o[threadIdx.x] = s[63 - threadIdx.x];
    }""",
    "dynamic shared": """extern __shared__ float s[]; __global__ void k(float* o) {
        s[threadIdx.x] = o[threadIdx.x]; __syncthreads(); o[threadIdx.x] = s[63 - threadIdx.x];
    }""",
    "local": """__global__ void k(float* o, int n) {
        float a[64]; for (int i = 0; i < n; i++) a[i] = o[i] * i; o[0] = a[n / 2];
    }""",
    "a jump table": """__global__ void k(int* o, int i) { switch (i) {
        case 0: o[0] = 5; break; case 1: o[1] = i; break; case 2: o[2] = 7; break; case 3: o[3] = o[4]; break;
        case 4: o[9] = 1; break; case 5: o[7] = o[i]; break; case 6: o[1] = o[0]; break; } }""",
    "functions of the library": "__global__ void k(double* o) { o[0] = exp(o[0]) + sqrt(o[1]); }",
}
CALLS = {
    "malloc": "__global__ void k(int** o) { o[threadIdx.x] = (int*)malloc(64); }",
    "new": "__global__ void k(float* o) { float* p = new float[8]; p[0] = 1; o[0] = p[threadIdx.x]; delete[] p; }",
    "printf": 'extern "C" int printf(const char*, ...); __global__ void k(float* o) { printf("%f", o[0]); }',
}


def cubin(source: str, target: str = "sm_90") -> bytes:
    return compile_cubin(source, "k.cu", target).cubin


@pytest.mark.parametrize("what", KEEPS)
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_memory_of_a_module_is_seen(what: str, target: str) -> None:
    assert keeps_memory(cubin(KEEPS[what], target))


@pytest.mark.parametrize("what", KEEPS_NOTHING)
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_an_ordinary_kernel_keeps_nothing(what: str, target: str) -> None:
    assert not keeps_memory(cubin(KEEPS_NOTHING[what], target))
    assert not device_calls(cubin(KEEPS_NOTHING[what], target))


@pytest.mark.parametrize(("what", "named"), [("malloc", {"malloc"}), ("new", {"malloc"}), ("printf", set())])
def test_what_the_devices_heap_is_asked_for_is_named(what: str, named: set[str]) -> None:
    assert device_calls(cubin(CALLS[what])) == named


@pytest.mark.parametrize(
    "spoiled", [lambda binary: b"", lambda binary: binary[: len(binary) // 2]], ids=["empty", "cut"]
)
def test_a_file_that_cannot_be_read_may_keep_anything(spoiled: Callable[[bytes], bytes]) -> None:
    broken = spoiled(cubin(KEEPS_NOTHING["shared"]))
    assert keeps_memory(broken) and device_calls(broken) == {UNREADABLE}


def test_inline_assembly_of_triton_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where nobody says.
    names: dict[str, object] = {}
    file = tmp_path / "kernels.py"
    file.write_text(TRITON)
    exec(compile(TRITON, str(file), "exec"), names)
    for name, keeps in (("counting", True), ("plain", False)):
        asked = triton.compiler.ASTSource(names[name], {"x_ptr": "*fp32"}, {})
        assert keeps_memory(bytes(triton.compile(asked, target=GPUTarget("cuda", 90, 32)).asm["cubin"])) is keeps


TRITON = """
import triton
import triton.language as tl


@triton.jit
def counting(x_ptr):
    places = x_ptr + tl.arange(0, 32)
    seen = tl.inline_asm_elementwise(
        "{.global .u32 count; .reg .u64 t; .reg .u32 q; mov.u64 t, count; atom.global.add.u32 q, [t], 1;"
        " cvt.rn.f32.u32 $0, q;}",
        "=f,f", [tl.load(places)], dtype=tl.float32, is_pure=False, pack=1,
    )
    tl.store(places, seen)


@triton.jit
def plain(x_ptr):
    places = x_ptr + tl.arange(0, 32)
    tl.store(places, tl.exp(tl.load(places)))
"""


@pytest.fixture
def judge(tmp_path: Path) -> Any:
    return SimpleNamespace(binaries=BinaryStore(tmp_path / "store"))


def stored(judge: Any, folder: Path, source: str) -> str:
    """The name of what ``source`` compiles to, in the store."""
    content = cubin(source)
    name = hashlib.sha256(content).hexdigest()
    (folder / f"{name}.cubin").write_bytes(content)
    assert judge.binaries.take(folder, [name]) == {name}
    return name


def task(own: Plans, *, is_cuda: bool = True) -> Any:
    return SimpleNamespace(plans=own, text=SimpleNamespace(is_cuda=is_cuda), drawn=[], timed=[{"id": "w0"}])


def test_memory_that_cannot_be_made_anew_is_refused_where_the_users_kernel_has_none(judge: Any, tmp_path: Path) -> None:
    plain, keeping = (stored(judge, tmp_path, source) for source in (KEEPS_NOTHING["shared"], KEEPS["a variable"]))
    unplanned = "launches() reads contents"
    refused = unrenewable(judge, task(Plans(why_not=unplanned, binary=plain)), Plans(why_not=unplanned, binary=keeping))
    assert refused is not None and refused["kind"] == "compile-error" and unplanned in refused["message"]
    for own, candidate, is_cuda in (
        (Plans(why_not=unplanned, binary=keeping), Plans(why_not=unplanned, binary=keeping), True),
        (Plans(why_not=unplanned, binary=plain), Plans(why_not=unplanned, binary=plain), True),
        (Plans({}, "", plain), Plans({}, "", keeping), True),
        (Plans(why_not=unplanned), Plans(why_not=unplanned), False),
    ):
        assert unrenewable(judge, task(own, is_cuda=is_cuda), candidate) is None


def test_what_the_devices_heap_gives_is_in_no_plan(judge: Any, tmp_path: Path) -> None:
    name = stored(judge, tmp_path, CALLS["malloc"])
    observation = {"plans": {"w0": {"why_not": "it reads contents"}}, "binary": name, "environment": {"notes": []}}
    found = plans_of(judge, task(Plans()), observation)
    assert found.binary == name and "calls malloc on the device" in found.why_not
    with pytest.raises(StepError, match="no CUDA compiler"):
        plans_of(judge, task(Plans()), {"plans": {}, "binary": "", "environment": {"notes": ["no CUDA compiler"]}})
