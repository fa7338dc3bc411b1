"""What a skeleton infers from host functions of many styles."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from inline_snapshot import snapshot

from evolve_core.source.model import Language
from evolve_core.source.parse import parse
from evolve_core.task.reach import CallGraph
from evolve_core.task.skeleton import entry_for, skeleton

torch = pytest.importorskip("torch", reason="skeletons draw their inputs with torch")

KERNEL = """
import torch
import triton
import triton.language as tl


@triton.jit
def k(x_ptr, w_ptr, out_ptr, stride, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols)
    w = tl.load(w_ptr + cols, mask=cols < n_cols)
    tl.store(out_ptr + row * stride + cols, x * w, mask=cols < n_cols)

"""


def written(host: str, kernel: str = KERNEL) -> str:
    text = kernel + host
    parsed = parse(text, Language.TRITON)
    return skeleton(Path("ops.py"), parsed, text, parsed.kernels[0])


def first_draw(text: str) -> dict[str, Any]:
    module = ModuleType("skeleton")
    exec(compile(text, "skeleton", "exec"), module.__dict__)
    make = next(iter(module.workloads()))
    return dict(make(torch.Generator().manual_seed(0), "cpu"))


def test_shapes_of_a_vector_come_from_the_kernels_mask() -> None:
    text = written(
        """
def f(x, w, eps=1e-6):
    rows, cols = x.shape
    out = torch.empty_like(x)
    k[(rows,)](x, w, out, x.stride(0), cols, BLOCK=1024)
    return out
"""
    )
    assert text == snapshot(
        '''\
"""How f in ops.py is judged: inputs it runs on, and what a right result is."""

import torch

entry = "f"


def inputs(gen, device, rows, cols):
    return {
        "x": torch.randn(rows, cols, generator=gen, device=device),
        "w": torch.randn(cols, generator=gen, device=device),
    }
    # eps=1e-06 is left at its default.


def workloads():
    # The sizes that matter to you; these are placeholders.
    for rows, cols in [(4096, 1024), (2048, 781)]:
        yield lambda gen, device, rows=rows, cols=cols: inputs(gen, device, rows, cols)


# Optional: the truth for one workload. Without it, today's f is the oracle.
# def reference(x, w):
#     return ...  # the same result as f(x, w), in plain torch
'''
    )
    inputs = first_draw(text)
    assert inputs["w"].shape == inputs["x"].shape[1:]


@pytest.mark.parametrize(
    "unpacking",
    [
        "M, K = a.shape\n    K, N = b.shape",
        "M, K = a.shape\n    K2, N = b.shape\n    assert K == K2",
        "assert a.shape[1] == b.shape[0]\n    M, N = a.shape[0], b.shape[1]",
        "M, K = a.size()\n    N = b.size(1)\n    assert b.size(0) == K",
        "(M, K), (_, N) = a.shape, b.shape\n    assert a.shape[1] == b.shape[0]",
    ],
)
def test_tensors_share_a_size(unpacking: str) -> None:
    inputs = first_draw(
        written(f"\ndef mm(a, b):\n    {unpacking}\n    c = torch.empty(M, N)\n    k[(M,)](a, b, c, 1, N, BLOCK=64)\n")
    )
    a, b = inputs["a"], inputs["b"]
    assert a.ndim == b.ndim == 2
    assert a.shape[1] == b.shape[0]
    assert b.shape[1] != a.shape[1] or a.shape[0] == a.shape[1]


def test_dtypes_come_from_assertions_and_outputs() -> None:
    text = written(
        """
def f(x: torch.Tensor, w: torch.Tensor):
    assert x.dtype == torch.bfloat16
    n, d = x.shape
    out = torch.empty(n, d, dtype=torch.float16)
    k[(n,)](x, w, out, x.stride(0), d, BLOCK=64)
"""
    )
    inputs = first_draw(text)
    assert inputs["x"].dtype == torch.bfloat16
    assert inputs["w"].dtype == torch.float16


def test_labels_are_indices_into_the_last_axis() -> None:
    kernel = KERNEL.replace("w_ptr + cols, mask=cols < n_cols", "w_ptr + row")
    host = "\ndef loss(x, labels):\n    n, c = x.shape\n    k[(n,)](x, labels, x, x.stride(0), c, BLOCK=64)\n"
    inputs = first_draw(written(host, kernel))
    assert inputs["labels"].dtype == torch.int64
    assert inputs["labels"].shape == inputs["x"].shape[:1]
    assert int(inputs["labels"].max()) < inputs["x"].shape[1]
    assert int(inputs["labels"].max()) > 2


def test_numbers_without_default_are_marked() -> None:
    text = written(
        """
def f(x: torch.Tensor, count: int, factor: float, causal: bool, mode):
    n, c = x.shape
    k[(n,)](x, x, x, count, c, BLOCK=64)
"""
    )
    inputs = first_draw(text)
    assert (inputs["count"], inputs["factor"], inputs["causal"]) == (1, 1.0, False)
    assert '"mode": 1,  # nothing in the source tells what mode is: fill in' in text


def test_a_size_that_is_also_a_parameter_is_passed_along() -> None:
    inputs = first_draw(
        written(
            "\ndef f(x, n_cols: int):\n    rows = x.shape[0]\n    assert x.shape[1] == n_cols\n"
            "    k[(rows,)](x, x, x, 1, n_cols, BLOCK=64)\n"
        )
    )
    assert inputs["n_cols"] == inputs["x"].shape[1]


def test_the_entry_of_an_autograd_function_is_who_applies_it() -> None:
    host = """
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        k[(1,)](x, w, x, 1, 2, BLOCK=64)

def scale(x, w):
    return Scale.apply(x, w)
"""
    parsed = parse(KERNEL + host, Language.TRITON)
    assert parsed.kernels[0].hosts == ("Scale.forward",)
    assert entry_for(CallGraph(parsed), parsed.kernels[0]) == "scale"


def test_a_kernel_that_nothing_launches_gets_a_clear_skeleton() -> None:
    text = written("")
    assert "nothing in ops.py launches k" in text
    assert first_draw(text)["x"].ndim == 2


def test_a_source_that_does_not_parse_still_gives_a_skeleton() -> None:
    text = written("\ndef f(x):\n    k[(1,)](x, x, x, 1, 2, BLOCK=64)\n\ndef broken(:\n")
    compile(text, "skeleton", "exec")
    assert 'entry = "f"' in text


def test_names_of_sizes_do_not_shadow() -> None:
    text = written("\ndef f(x):\n    gen, device = x.shape\n    k[(gen,)](x, x, x, 1, device, BLOCK=64)\n")
    assert first_draw(text)["x"].shape == (4096, 1024)


@pytest.mark.parametrize("name", ["in", "lambda", "n"])
def test_a_cuda_parameter_may_be_no_name_in_python(name: str) -> None:
    source = f"__global__ void scale(const float* {name}, float* out, float a, int count) {{ }}\n"
    parsed = parse(source, Language.CUDA)
    text = skeleton(Path("scale.cu"), parsed, source, parsed.kernels[0])
    inputs = first_draw(text)
    assert list(inputs) == [f"{name}_", "a"]
    module = ModuleType("skeleton")
    exec(compile(text, "skeleton", "exec"), module.__dict__)
    (launch,) = list(module.launches(**inputs))
    assert launch["kernel"] == "scale"
    assert [type(a).__name__ for a in launch["arguments"]] == ["Tensor", "Tensor", "float", "int"]


def test_a_cuda_skeleton_takes_the_block_of_a_launch_in_the_file() -> None:
    source = "__global__ void s(float* x, int m) { }\nvoid f(float* x) { s<<<4, 128>>>(x, 3); }\n"
    parsed = parse(source, Language.CUDA)
    text = skeleton(Path("s.cu"), parsed, source, parsed.kernels[0])
    assert '"block": (128, 1, 1),' in text
    assert "return x" in text
