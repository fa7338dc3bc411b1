"""The victims: small tasks of the kinds that people have, each with the user's own kernel.

Timed sizes are real ones, since a GPU runs them; what is interpreted is shrunk from them or drawn from the domain.
"""

from __future__ import annotations

from tests.judge.redteam.model import Victim
from tests.judge.redteam.tasks_cuda import CUDA_VICTIMS
from tests.judge.redteam.tasks_rows import HEAD, ROWS

_SCALE = (
    HEAD
    + """@triton.jit
def scale_kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x * 2 + x * factor, mask=mask)


def scale(x):
    out = torch.empty_like(x)
    n = x.numel()
    scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)
    return out
"""
)
_SCALE_TASK = """\
import torch

entry = "scale"


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

_AXPY = (
    HEAD
    + """@triton.jit
def axpy_kernel(x_ptr, y_ptr, n, alpha, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    y = tl.load(y_ptr + offsets, mask=mask) + alpha * tl.load(x_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, y, mask=mask)


def axpy(x, y, alpha):
    n = x.numel()
    axpy_kernel[(triton.cdiv(n, 1024),)](x, y, n, alpha, BLOCK=1024)
"""
)
_AXPY_TASK = """\
import torch

entry = "axpy"


def inputs(gen, device, n):
    x = torch.randn(n, generator=gen, device=device)
    return {"x": x, "y": torch.randn(n, generator=gen, device=device), "alpha": 1.7}


def workloads():
    yield lambda gen, device, n=4194304: inputs(gen, device, n)


def reference(x, y, alpha):
    y.add_(x, alpha=alpha)


def domain(rng):
    n = rng.randint(1, 9000)
    return lambda gen, device: inputs(gen, device, n)
"""

_LEAKY = (
    HEAD
    + """@triton.jit
def leaky_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, tl.where(x < 0, x * 0.5, x), mask=mask)


def leaky(x):
    out = torch.empty_like(x)
    n = x.numel()
    leaky_kernel[(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024)
    return out
"""
)
_LEAKY_TASK = """\
import torch

entry = "leaky"


def inputs(gen, device, n):
    x = torch.randn(n, generator=gen, device=device)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-38], device=device)
    x[: special.numel()] = special[:n]
    return {"x": x}


def workloads():
    yield lambda gen, device, n=4194304: inputs(gen, device, n)


def reference(x):
    return torch.where(x < 0, x * 0.5, x)


def domain(rng):
    n = rng.randint(1, 9000)
    return lambda gen, device: inputs(gen, device, n)
"""

VICTIMS = {
    "scale": Victim(_SCALE, _SCALE_TASK),
    "axpy": Victim(_AXPY, _AXPY_TASK),
    "leaky": Victim(_LEAKY, _LEAKY_TASK),
    **ROWS,
    **CUDA_VICTIMS,
}
"""``axpy`` works in place, ``leaky`` is exact and meets NaN."""
