"""Hand-made variants of the examples, as complete sources: what the estimate is ranked against and the judge is tried
on.

Every variant keeps the entry's name and signature, so that it stands for the example in its task.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

VECADD = '''"""Vector addition, element by element."""

import torch
import triton
import triton.language as tl


@triton.jit
def vecadd_kernel(a_ptr, b_ptr, out_ptr, n_elements, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n_elements
    total = tl.load(a_ptr + offsets, mask=mask) + tl.load(b_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, total, mask=mask)


def vecadd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(a)
    n_elements = out.numel()
    grid = (triton.cdiv(n_elements, 256),)
    vecadd_kernel[grid](a, b, out, n_elements, BLOCK=256, num_warps=4)
    return out
'''

VECADD_TASK = """import torch

entry = "vecadd"


def workloads():
    for n in [98432, 16777216, 33554431]:
        yield lambda gen, device, n=n: {
            "a": torch.randn(n, generator=gen, device=device),
            "b": torch.randn(n, generator=gen, device=device),
        }


def reference(a, b):
    return a + b
"""

_SINGLE_PASS_LAYERNORM = """    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + row * stride + cols, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / n_cols
    centred = tl.where(mask, x - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / n_cols
    rstd = 1.0 / tl.sqrt(variance + eps)
    weight = tl.load(weight_ptr + cols, mask=mask)
    bias = tl.load(bias_ptr + cols, mask=mask)
    tl.store(out_ptr + row * stride + cols, centred * rstd * weight + bias, mask=mask)


"""

_ROWS_SOFTMAX = """@triton.jit
def softmax_kernel(
    x_ptr, out_ptr, x_row_stride, out_row_stride, n_rows, n_cols, BLOCK: tl.constexpr, ROWS: tl.constexpr
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, BLOCK)
    mask = (rows[:, None] < n_rows) & (cols[None, :] < n_cols)
    x = tl.load(x_ptr + rows[:, None] * x_row_stride + cols[None, :], mask=mask, other=-float("inf"))
    x = x - tl.max(x, axis=1)[:, None]
    numerator = tl.exp(x)
    denominator = tl.sum(numerator, axis=1)[:, None]
    tl.store(out_ptr + rows[:, None] * out_row_stride + cols[None, :], numerator / denominator, mask=mask)


"""

_TWO_PASS_SOFTMAX = """@triton.jit
def softmax_kernel(x_ptr, out_ptr, x_row_stride, out_row_stride, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    best = tl.full([BLOCK], -float("inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_row_stride + cols, mask=cols < n_cols, other=-float("inf"))
        now = tl.maximum(best, x)
        scale = tl.where(best == now, 1.0, tl.exp(best - now))
        total = total * scale + tl.where(cols < n_cols, tl.exp(x - now), 0.0)
        best = now
    top = tl.max(best, axis=0)
    denominator = tl.sum(tl.where(best == -float("inf"), 0.0, total * tl.exp(best - top)), axis=0)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_row_stride + cols, mask=cols < n_cols, other=-float("inf"))
        tl.store(out_ptr + row * out_row_stride + cols, tl.exp(x - top) / denominator, mask=cols < n_cols)


"""

_GROUPED_ORDER = """    num_pid_m = tl.cdiv(M, BLOCK_M)
    num_pid_n = tl.cdiv(N, BLOCK_N)
    in_group = 8 * num_pid_n
    first_m = (pid // in_group) * 8
    group_m = min(num_pid_m - first_m, 8)
    pid_m = first_m + (pid % in_group) % group_m
    pid_n = (pid % in_group) // group_m
"""
_ROW_ORDER = """    num_pid_n = tl.cdiv(N, BLOCK_N)
    pid_m = pid // num_pid_n
    pid_n = pid % num_pid_n
"""


def example(name: str) -> tuple[str, str]:
    """(source, task module's source) of one of the kernels here."""
    if name == "vecadd":
        return VECADD, VECADD_TASK
    return (EXAMPLES / f"{name}.py").read_text(), (EXAMPLES / f"{name}.evolve.py").read_text()


def variants(name: str) -> dict[str, str]:
    """Variant name → complete source; "baseline" is the example itself."""
    source, _ = example(name)
    return {"baseline": source, **_MAKERS[name](source)}


def _replaced(source: str, old: str, new: str) -> str:
    if source.count(old) < 1:
        raise ValueError(f"the example changed: {old!r} is not in it any more")
    return source.replace(old, new)


def _body(source: str, start: str, end: str, new: str) -> str:
    first = source.index(start)
    return source[:first] + new + source[source.index(end, first) :]


def _elementwise(source: str) -> dict[str, str]:
    found = {}
    for block, warps in product((128, 256, 512, 1024, 2048, 4096, 8192), (1, 2, 4, 8, 16)):
        if not 1 <= block // (32 * warps) <= 64:
            continue
        text = source.replace("256", str(block)).replace(", num_warps=4", "")
        found[f"block{block}-warps{warps}"] = _replaced(text, f"BLOCK={block})", f"BLOCK={block}, num_warps={warps})")
    return found


def _softmax(source: str) -> dict[str, str]:
    launch = "n_cols, BLOCK=BLOCK)"
    found = {
        f"warps{warps}": _replaced(source, launch, f"n_cols, BLOCK=BLOCK, num_warps={warps})")
        for warps in (1, 2, 8, 16, 32)
    }
    exp2 = _replaced(source, "tl.exp(x)", "tl.exp2(x * 1.4426950408889634)")
    found["exp2"] = exp2
    found["exp2-warps1"] = _replaced(exp2, launch, "n_cols, BLOCK=BLOCK, num_warps=1)")
    for rows, warps in ((2, 2), (2, 4), (4, 4), (8, 4), (8, 8), (16, 8)):
        text = _body(source, "@triton.jit", "def softmax(", _ROWS_SOFTMAX)
        text = _replaced(text, "[(n_rows,)]", f"[(triton.cdiv(n_rows, {rows}),)]")
        found[f"rows{rows}-warps{warps}"] = _replaced(
            text, launch, f"n_rows, n_cols, BLOCK=BLOCK, ROWS={rows}, num_warps={warps})"
        )
    for block, warps in ((256, 2), (512, 4), (1024, 8)):
        text = _body(source, "@triton.jit", "def softmax(", _TWO_PASS_SOFTMAX)
        text = _replaced(text, "BLOCK = triton.next_power_of_2(n_cols)", f"BLOCK = {block}")
        found[f"twopass{block}-warps{warps}"] = _replaced(text, launch, f"n_cols, BLOCK=BLOCK, num_warps={warps})")
    return found


def _layernorm(source: str) -> dict[str, str]:
    launch = "BLOCK=256, num_warps=4)"
    found = {
        f"block{block}-warps{warps}": _replaced(source, launch, f"BLOCK={block}, num_warps={warps})")
        for block, warps in (
            (128, 4), (256, 1), (256, 2), (256, 8), (512, 4), (1024, 4), (1024, 8), (2048, 4), (2048, 8),
            (4096, 8), (4096, 16), (8192, 16),
        )
    }  # fmt: skip
    for warps in (4, 8, 16, 32):
        text = _body(source, "    row = tl.program_id(0)", "def layernorm(", _SINGLE_PASS_LAYERNORM)
        found[f"single-warps{warps}"] = _replaced(
            text, launch, f"BLOCK=triton.next_power_of_2(n_cols), num_warps={warps})"
        )
    return found


def _matmul(source: str) -> dict[str, str]:
    found = {}
    for grouped, (m, n, k, warps, stages) in product(
        (False, True),
        (
            (32, 32, 32, 4, 3), (64, 64, 32, 4, 2), (64, 64, 32, 4, 4), (64, 64, 64, 4, 3), (64, 64, 32, 8, 3),
            (128, 64, 32, 4, 3), (128, 128, 32, 4, 3), (128, 128, 64, 4, 3), (128, 128, 64, 8, 3),
            (128, 256, 64, 8, 3), (64, 256, 64, 4, 4), (256, 128, 64, 8, 3), (16, 256, 64, 4, 3),
        ),
    ):  # fmt: skip
        text = _replaced(source, "= 64, 64, 32", f"= {m}, {n}, {k}")
        text = _replaced(text, "BLOCK_K=BLOCK_K,\n", f"BLOCK_K=BLOCK_K, num_warps={warps}, num_stages={stages},\n")
        if grouped:
            text = _replaced(text, _ROW_ORDER, _GROUPED_ORDER)
        found[f"tile{m}x{n}x{k}-warps{warps}-stages{stages}" + ("-grouped" if grouped else "")] = text
    return found


_MAKERS = {
    "softmax": _softmax,
    "layernorm": _layernorm,
    "matmul": _matmul,
    "swiglu": _elementwise,
    "vecadd": _elementwise,
}
NAMES = tuple(_MAKERS)
