"""Victims that work on rows and matrices; see tasks.py."""

from __future__ import annotations

from tests.judge.redteam.model import Victim

HEAD = "import torch\nimport triton\nimport triton.language as tl\n\n\n"

_SOFTMAX = (
    HEAD
    + """@triton.jit
def softmax_kernel(x_ptr, out_ptr, x_stride, out_stride, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * x_stride + cols, mask=mask, other=-float("inf"))
    x = x - tl.max(x, axis=0)
    numerator = tl.exp(x)
    denominator = tl.sum(numerator, axis=0)
    tl.store(out_ptr + row * out_stride + cols, numerator / denominator, mask=mask)


def softmax(x):
    n_rows, n_cols = x.shape
    out = torch.empty((n_rows, n_cols), dtype=x.dtype, device=x.device)
    BLOCK = triton.next_power_of_2(n_cols)
    softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK=BLOCK)
    return out
"""
)
_SOFTMAX_TASK = """\
import torch

entry = "softmax"


def workloads():
    for rows, cols in [(4096, 1024), (4096, 999)]:
        yield lambda gen, device, rows=rows, cols=cols: {"x": torch.randn(rows, cols, generator=gen, device=device)}


def reference(x):
    return torch.softmax(x, -1)


def domain(rng):
    # Rows of a wider matrix: the distance between rows is not their length.
    rows, cols, padding = rng.randint(1, 40), rng.randint(1, 300), rng.randint(1, 5)
    return lambda gen, device: {"x": torch.randn(rows, cols + padding, generator=gen, device=device)[:, :cols]}
"""

_LAYERNORM = (
    HEAD
    + """@triton.jit
def layernorm_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, n_cols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * n_cols + cols, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / n_cols
    centred = tl.where(mask, x - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / n_cols
    rstd = 1 / tl.sqrt(variance + eps)
    weight = tl.load(weight_ptr + cols, mask=mask)
    bias = tl.load(bias_ptr + cols, mask=mask)
    tl.store(out_ptr + row * n_cols + cols, (centred * rstd * weight + bias).to(tl.float16), mask=mask)


def layernorm(x, weight, bias, eps):
    n_rows, n_cols = x.shape
    out = torch.empty_like(x)
    BLOCK = triton.next_power_of_2(n_cols)
    layernorm_kernel[(n_rows,)](x, weight, bias, out, n_cols, eps, BLOCK=BLOCK)
    return out
"""
)
_LAYERNORM_TASK = """\
import torch

entry = "layernorm"


def inputs(gen, device, rows, cols):
    x = torch.randn(rows, cols, generator=gen, device=device).half()
    weight = torch.randn(cols, generator=gen, device=device)
    bias = torch.randn(cols, generator=gen, device=device)
    return {"x": x, "weight": weight, "bias": bias, "eps": 1e-5}


def workloads():
    for rows, cols in [(4096, 512), (4096, 777)]:
        yield lambda gen, device, rows=rows, cols=cols: inputs(gen, device, rows, cols)


def reference(x, weight, bias, eps):
    return torch.nn.functional.layer_norm(x, x.shape[1:], weight.to(x.dtype), bias.to(x.dtype), eps)


def domain(rng):
    # Wide rows: where they are nearly constant by chance, an epsilon shows by chance.
    rows, cols = rng.randint(1, 60), rng.randint(64, 300)
    return lambda gen, device: inputs(gen, device, rows, cols)
"""

_MATMUL = (
    HEAD
    + """@triton.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, K, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        a_mask = (rows[:, None] < M) & (inner[None, :] < K)
        b_mask = (inner[:, None] < K) & (cols[None, :] < N)
        a = tl.load(a_ptr + rows[:, None] * K + inner[None, :], mask=a_mask, other=0.0)
        b = tl.load(b_ptr + inner[:, None] * N + cols[None, :], mask=b_mask, other=0.0)
        acc += tl.dot(a, b)
    mask = (rows[:, None] < M) & (cols[None, :] < N)
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], acc.to(tl.float16), mask=mask)


def matmul(a, b):
    M, K = a.shape
    N = b.shape[1]
    c = torch.empty((M, N), dtype=a.dtype, device=a.device)
    grid = (triton.cdiv(M, 64), triton.cdiv(N, 64))
    matmul_kernel[grid](a, b, c, M, N, K, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32)
    return c
"""
)
_MATMUL_TASK = """\
import torch

entry = "matmul"


def inputs(gen, device, m, n, k):
    a = torch.randn(m, k, generator=gen, device=device).half()
    return {"a": a, "b": torch.randn(k, n, generator=gen, device=device).half()}


def workloads():
    yield lambda gen, device, m=1024, n=1024, k=1024: inputs(gen, device, m, n, k)


def reference(a, b):
    return a @ b


def domain(rng):
    m, n, k = rng.randint(1, 100), rng.randint(1, 100), rng.randint(1, 300)
    return lambda gen, device: inputs(gen, device, m, n, k)
"""

_ARGMAX = (
    HEAD
    + """@triton.jit
def argmax_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n_cols + cols, mask=cols < n_cols, other=-float("inf"))
    tl.store(out_ptr + row, tl.argmax(x, axis=0).to(tl.int64))


def argmax(x):
    n_rows, n_cols = x.shape
    out = torch.empty(n_rows, dtype=torch.int64, device=x.device)
    argmax_kernel[(n_rows,)](x, out, n_cols, BLOCK=triton.next_power_of_2(n_cols))
    return out
"""
)
_ARGMAX_TASK = """\
import torch

entry = "argmax"


def workloads():
    yield lambda gen, device, rows=8192, cols=500: {"x": torch.randn(rows, cols, generator=gen, device=device)}


def reference(x):
    return x.argmax(-1)


def domain(rng):
    rows, cols = rng.randint(1, 90), rng.randint(1, 300)
    return lambda gen, device: {"x": torch.randn(rows, cols, generator=gen, device=device)}
"""

_COLSUM = (
    HEAD
    + """@triton.jit
def colsum_kernel(x_ptr, out_ptr, n_rows, n_cols, ROWS: tl.constexpr, COLS: tl.constexpr):
    cols = tl.program_id(0) * COLS + tl.arange(0, COLS)
    total = tl.zeros((COLS,), dtype=x_ptr.dtype.element_ty)
    for start in range(0, n_rows, ROWS):
        rows = start + tl.arange(0, ROWS)
        mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
        total += tl.sum(tl.load(x_ptr + rows[:, None] * n_cols + cols[None, :], mask=mask, other=0.0), axis=0)
    tl.store(out_ptr + cols, total, mask=cols < n_cols)


def colsum(x):
    n_rows, n_cols = x.shape
    out = torch.empty(n_cols, dtype=x.dtype, device=x.device)
    colsum_kernel[(triton.cdiv(n_cols, 64),)](x, out, n_rows, n_cols, ROWS=16, COLS=64)
    return out
"""
)
_COLSUM_TASK = """\
import torch

entry = "colsum"


def workloads():
    yield lambda gen, device, rows=8192, cols=700: {"x": torch.randn(rows, cols, generator=gen, device=device)}


def domain(rng):
    rows, cols = rng.randint(1, 90), rng.randint(1, 300)
    return lambda gen, device: {"x": torch.randn(rows, cols, generator=gen, device=device)}
"""

_ROWSUM = (
    HEAD
    + """@triton.jit
def rowsum_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n_cols + cols, mask=cols < n_cols, other=0.0)
    tl.store(out_ptr + row, tl.sum(x, axis=0))


def rowsum(x):
    n_rows, n_cols = x.shape
    out = torch.empty(n_rows, dtype=x.dtype, device=x.device)
    rowsum_kernel[(n_rows,)](x, out, n_cols, BLOCK=triton.next_power_of_2(n_cols))
    return out
"""
)
_ROWSUM_TASK = """\
import torch

entry = "rowsum"


def workloads():
    yield lambda gen, device, rows=8192, cols=1000: {"x": torch.rand(rows, cols, generator=gen, device=device)}


def reference(x):
    return x.sum(-1)


def domain(rng):
    rows, cols = rng.randint(1, 90), rng.randint(1, 300)
    return lambda gen, device: {"x": torch.rand(rows, cols, generator=gen, device=device)}
"""

ROWS = {
    "rowsum": Victim(_ROWSUM, _ROWSUM_TASK),
    "softmax": Victim(_SOFTMAX, _SOFTMAX_TASK),
    "layernorm": Victim(_LAYERNORM, _LAYERNORM_TASK),
    "matmul": Victim(_MATMUL, _MATMUL_TASK),
    "argmax": Victim(_ARGMAX, _ARGMAX_TASK),
    "colsum": Victim(_COLSUM, _COLSUM_TASK),
}
"""``argmax`` gives integers, ``colsum`` has no reference()."""
