"""The victims that are CUDA files: their tasks say how the kernel is launched."""

from __future__ import annotations

from tests.judge.redteam.model import Victim

_SCALE = """\
__global__ void cuda_scale(const float* x, float* out, int n, float factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = x[i] * 2.0f + x[i] * factor;
    }
}
"""
_SCALE_TASK = """\
import torch


def launches(x):
    n, out = x.numel(), torch.empty_like(x)
    yield {"kernel": "cuda_scale", "grid": -(-n // 256), "block": 256, "arguments": [x, out, n, 0.3]}
    return out


def workloads():
    for n in [4194304, 3999999]:
        yield lambda gen, device, n=n: {"x": torch.randn(n, generator=gen, device=device)}


def reference(x):
    return x * 2.3


def domain(rng):
    # It begins one element into its memory: nothing promises an aligned address.
    n = rng.choice([1, 16]) * rng.randint(1, 3750)
    return lambda gen, device: {"x": torch.randn(n + 1, generator=gen, device=device)[1:]}
"""

_ROW_SUM = """\
__global__ void cuda_rowsum(const float* x, float* out, int columns) {
    extern __shared__ float parts[];
    const float* row = x + (size_t)blockIdx.x * columns;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        sum += row[i];
    }
    parts[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            parts[threadIdx.x] += parts[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = parts[0];
    }
}
"""
_ROW_SUM_TASK = """\
import torch


def launches(x):
    rows, columns = x.shape
    out = torch.empty(rows, device=x.device)
    yield {"kernel": "cuda_rowsum", "grid": rows, "block": 256, "shared_bytes": 1024, "arguments": [x, out, columns]}
    return out


def inputs(gen, device, rows, columns):
    # Away from zero, so that the sums are not all cancellation.
    return {"x": torch.rand(rows, columns, generator=gen, device=device) + 0.5}


def workloads():
    for rows, columns in [(8192, 4096), (4096, 2047)]:
        yield lambda gen, device, rows=rows, columns=columns: inputs(gen, device, rows, columns)


def reference(x):
    return x.sum(1)


def domain(rng):
    rows, columns = rng.randint(1, 300), rng.randint(1, 700)
    return lambda gen, device: inputs(gen, device, rows, columns)
"""

CUDA_VICTIMS = {
    "cuda_scale": Victim(_SCALE, _SCALE_TASK, is_cuda=True),
    "cuda_rowsum": Victim(_ROW_SUM, _ROW_SUM_TASK, is_cuda=True),
}
