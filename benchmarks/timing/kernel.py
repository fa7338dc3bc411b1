"""A kernel whose time is its work count: a chain of multiply-adds that leaves every value as it was.

A candidate differs from it by the number of steps alone, so both run the same binary, on the same inputs and with the
same memory traffic. All numbers of steps are multiples of 16, because Triton compiles those apart from others.
"""

from __future__ import annotations

STEPS = 32_000
"""About 4 cycles each: some 70 µs at 2 GHz, beside which a launch is small."""
_SPECIALISED = 16

_SOURCE = """import torch
import triton
import triton.language as tl

STEPS = {steps}


@triton.jit
def chain_kernel(x_ptr, out_ptr, steps, one, zero, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets)
    for _ in range(steps):
        x = x * one + zero
    tl.store(out_ptr + offsets, x)


def chain(x):
    out = torch.empty_like(x)
    chain_kernel[(x.numel() // 128,)](x, out, STEPS, 1.0, 0.0, BLOCK=128)
    return out
"""

TASK = """import torch

entry = "chain"


def workloads():
    yield lambda gen, device: {"x": torch.randn(65536, generator=gen, device=device)}


def reference(x):
    return x.clone()
"""


def source(slow_percent: float, trial: int) -> str:
    """The kernel with ``slow_percent`` more steps. Raises ValueError where that is no whole multiple of 16 steps."""
    more = STEPS * slow_percent / 100
    if more != int(more) or int(more) % _SPECIALISED:
        raise ValueError(f"{slow_percent} % of {STEPS} steps is not a multiple of {_SPECIALISED}: use steps of 0.05 %")
    return _SOURCE.format(steps=STEPS + int(more)) + f"\n# trial {trial}\n"
