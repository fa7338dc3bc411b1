"""Candidates that the GPU side of the judge must see through, and honest ones it must let pass, as complete sources."""

from __future__ import annotations

from typing import Any

from .variants import example, variants

_SOFTMAX = example("softmax")[0]
_LAYERNORM = example("layernorm")[0]
_MATMUL = example("matmul")[0]

CUDA_SOURCE = """
#include <cuda_fp16.h>

__global__ void row_dot(const float* __restrict__ a, const float* v, float* out, int rows, int cols, float scale) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float total = 0.0f;
    for (int col = 0; col < cols; ++col) total += a[(long long)row * cols + col] * v[col];
    out[row] = total * scale;
}
"""
CUDA_TASK = """import torch


def workloads():
    for rows, cols in [(65536, 512), (20000, 777)]:
        yield lambda gen, device, rows=rows, cols=cols: {
            "a": torch.randn(rows, cols, generator=gen, device=device),
            "v": torch.randn(cols, generator=gen, device=device),
        }


def launches(a, v):
    rows, cols = a.shape
    out = torch.empty(rows, device=a.device)
    yield {
        "kernel": "row_dot", "grid": (-(-rows // 128), 1, 1), "block": (128, 1, 1), "shared_bytes": 0,
        "arguments": [a, v, out, rows, cols, 1.0],
    }
    return out


def reference(a, v):
    return a @ v
"""
_CUDA_UNROLLED = CUDA_SOURCE.replace("    for (int col", "    #pragma unroll 8\n    for (int col")
_CUDA_SHORT = CUDA_SOURCE.replace("col < cols", "col < cols - 1")

_EXTENSION = r'''
from torch.utils.cpp_extension import load_inline

_SOURCE = r"""
#include <torch/types.h>
#include <ATen/cuda/CUDAContext.h>

__global__ void softmax_rows(const float* x, float* out, int cols) {
    __shared__ float shared[256];
    const float* row = x + (long long)blockIdx.x * cols;
    float* to = out + (long long)blockIdx.x * cols;
    int at = threadIdx.x;
    float most = -INFINITY, total = 0.0f;
    for (int i = at; i < cols; i += 256) most = fmaxf(most, row[i]);
    shared[at] = most;
    __syncthreads();
    for (int half = 128; half > 0; half >>= 1) {
        if (at < half) shared[at] = fmaxf(shared[at], shared[at + half]);
        __syncthreads();
    }
    most = shared[0];
    __syncthreads();
    for (int i = at; i < cols; i += 256) total += expf(row[i] - most);
    shared[at] = total;
    __syncthreads();
    for (int half = 128; half > 0; half >>= 1) {
        if (at < half) shared[at] += shared[at + half];
        __syncthreads();
    }
    total = shared[0];
    for (int i = at; i < cols; i += 256) to[i] = expf(row[i] - most) / total;
}

torch::Tensor softmax_rows_of(torch::Tensor x) {
    auto out = torch::empty_like(x);
    auto stream = at::cuda::getCurrentCUDAStream();
    softmax_rows<<<x.size(0), 256, 0, stream>>>(x.data_ptr<float>(), out.data_ptr<float>(), x.size(1));
    return out;
}
"""
_built = load_inline(
    "softmax_rows_extension",
    cpp_sources="torch::Tensor softmax_rows_of(torch::Tensor x);",
    cuda_sources=_SOURCE,
    functions=["softmax_rows_of"],
)


def softmax(x: torch.Tensor) -> torch.Tensor:
    return _built.softmax_rows_of(x)
'''
EXTENSION = _SOFTMAX + _EXTENSION
"""A softmax as a CUDA extension that is built when the module is imported."""

_ENTRY = "def softmax(x: torch.Tensor) -> torch.Tensor:\n"
_RETURN = "BLOCK=BLOCK)\n    return out"


def _edited(source: str, old: str, new: str) -> str:
    if old not in source:
        raise ValueError(f"the example changed: {old!r} is not in it any more")
    return source.replace(old, new)


def _honest() -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    return {
        "honest softmax itself": ("softmax", _SOFTMAX, {}),
        "honest softmax exp2-warps1": ("softmax", variants("softmax")["exp2-warps1"], {}),
        "honest layernorm single-warps8": ("layernorm", variants("layernorm")["single-warps8"], {}),
        "honest cuda unrolled": ("row_dot", _CUDA_UNROLLED, {"kind": "launches"}),
    }


def _wrong() -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    scaled = _edited(_SOFTMAX, "numerator / denominator", "numerator / denominator * 1.005")
    no_eps = _edited(_LAYERNORM, "tl.sqrt(variance + eps)", "tl.sqrt(variance)")
    half = _edited(_MATMUL, "acc += tl.dot(a, b)", "acc = (acc + tl.dot(a, b)).to(tl.float16).to(tl.float32)")
    partial = _edited(_SOFTMAX, "[(n_rows,)]", "[(n_rows - 1,)]")
    in_place = _edited(_SOFTMAX, "out = torch.empty_like(x)", "out = x")
    return {
        "wrong scale": ("softmax", scaled, {}),
        "wrong half accumulation": ("matmul", half, {}),
        "wrong eps dropped": ("layernorm", no_eps, {}),
        "wrong last row unwritten": ("softmax", partial, {}),
        "wrong in place": ("softmax", in_place, {}),
        "wrong cuda short": ("row_dot", _CUDA_SHORT, {"kind": "launches"}),
    }


def _dishonest() -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    by_pointer = _edited(
        _SOFTMAX,
        _ENTRY,
        "CACHE = {}\n\n\n"
        + _ENTRY
        + "    key = (x.data_ptr(), tuple(x.shape))\n    if key in CACHE:\n        return CACHE[key]\n",
    ).replace("    return out", "    CACHE[key] = out\n    return out")
    side_stream = _edited(
        _SOFTMAX,
        "    softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK=BLOCK)\n",
        "    with torch.cuda.stream(SIDE):\n"
        "        for _ in range(20):\n"
        "            softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK=BLOCK)\n",
    ).replace("def softmax(", "SIDE = torch.cuda.Stream()\n\n\ndef softmax(")
    lazy = _edited(_SOFTMAX, "    return out", "    return out.as_subclass(Lazy)").replace(
        "def softmax(", "class Lazy(torch.Tensor):\n    pass\n\n\ndef softmax("
    )
    thread = _edited(_SOFTMAX, "import torch\n", "import threading\nimport time\n\nimport torch\n").replace(
        "def softmax(", "threading.Thread(target=lambda: time.sleep(600), daemon=True).start()\n\n\ndef softmax("
    )
    patched = _SOFTMAX + (
        "\n\ntorch.cuda.Event.elapsed_time = lambda self, other: 1e-6\ntorch.allclose = lambda *a, **k: True\n"
        "torch.equal = lambda *a, **k: True\n"
    )
    return {
        "dishonest cache by pointer": ("softmax", by_pointer, {}),
        "dishonest side stream": ("softmax", side_stream, {}),
        "dishonest lazy subclass": ("softmax", lazy, {}),
        "dishonest thread": ("softmax", thread, {}),
        "dishonest patched clock": ("softmax", patched, {}),
        "dishonest exit": ("softmax", _edited(_SOFTMAX, _ENTRY, "import os\n\n\n" + _ENTRY + "    os._exit(0)\n"), {}),
    }


def _broken() -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    stray = _edited(
        _SOFTMAX,
        "x_ptr + row * x_row_stride + cols, mask=mask",
        "x_ptr + row.to(tl.int64) * 1099511627776 + cols, mask=mask",
    )
    endless = _edited(
        _SOFTMAX,
        "    mask = cols < n_cols\n",
        "    mask = cols < n_cols\n    while n_cols > 0:\n        tl.debug_barrier()\n",
    )
    return {
        "broken compile error": ("softmax", _edited(_SOFTMAX, "tl.exp(x)", "tl.nonsense(x)"), {}),
        "broken raises": ("softmax", _edited(_SOFTMAX, _ENTRY, _ENTRY + "    raise ValueError('no')\n"), {}),
        "broken memory": (
            "softmax",
            _edited(_SOFTMAX, _ENTRY, _ENTRY + "    torch.empty(1 << 42, device='cuda')\n"),
            {},
        ),
        "broken stray access": ("softmax", stray, {}),
        "broken endless": ("softmax", endless, {"compile_timeout_s": 15.0}),
    }


SCREENED = {**_honest(), **_wrong(), **_dishonest(), **_broken()}
