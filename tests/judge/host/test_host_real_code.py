"""Host code as real kernels have it, followed without a GPU: each of these stopped one of liger-kernel or fla-core."""

from __future__ import annotations

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, Bench

from evolve_core.judge.compose import compose
from evolve_core.judge.verdict import Correctness, Speed, Stage

SIZE = "    n = x.numel()\n"
BEFORE_THE_LAUNCH = {
    "contiguous": """
    x = x.view(1, -1).expand(2, -1).transpose(0, 1).contiguous()[:, 0].contiguous()
""",
    "copies": """
    x = torch.empty_like(x).copy_(x.to("cuda"))
    torch.tensor([1, 2], device=x.device)
""",
    "streams": """
    with torch.cuda.device_of(x), torch.cuda.stream(torch.cuda.current_stream()):
        torch.cuda.Event().record()
""",
    "properties": """
    properties = torch.cuda.get_device_properties(x.device)
    assert properties.major == 9 and properties.shared_memory_per_multiprocessor > 200_000
    assert torch.cuda.is_bf16_supported() and torch.cuda.mem_get_info()[1] > 1 << 30
""",
}


def correct_and_estimated(bench: Bench, source: str) -> None:
    opened = bench.open(source, DOUBLE_TASK)
    assert opened.baseline.launches and opened.baseline.work and not opened.notes
    verdict = compose(opened, bench.judge(opened, source), target="sm_90", stage=Stage.SCREENING)
    assert (verdict.correctness, verdict.speed) == (Correctness.CORRECT, Speed.ESTIMATED), verdict.reason


@pytest.mark.parametrize("name", BEFORE_THE_LAUNCH)
def test_what_comes_before_a_launch(bench: Bench, name: str) -> None:
    assert SIZE in DOUBLE
    correct_and_estimated(bench, DOUBLE.replace(SIZE, BEFORE_THE_LAUNCH[name].lstrip("\n") + SIZE))


AT_IMPORT = """

TABLE = torch.cat([torch.arange(256, device="cuda"), torch.zeros(2, dtype=torch.int64).cuda()]).to(torch.float32)
TABLE[3] = TABLE[:2].sum()
HALF = torch.tensor([0.5, 2.0], device="cpu")[0].item()
with torch.device("cuda"):
    WARM = double(torch.ones(300))
"""


def test_tensors_and_launches_at_import(bench: Bench) -> None:
    """What lies on the GPU has no contents there, and what lies on the CPU keeps its own."""
    uses = "    x = x + TABLE[0].to(x.device) * HALF\n"
    source = DOUBLE.replace(SIZE, uses + SIZE) + AT_IMPORT
    correct_and_estimated(bench, source)


def test_a_module_that_loads_dynamo(bench: Bench) -> None:
    helper = "import torch\n\n\n@torch.compiler.disable\ndef helper(x):\n    return x\n\n"
    correct_and_estimated(bench, DOUBLE.replace("import torch\n", helper, 1))


def test_a_float_argument_is_a_tensor_inside_the_kernel(bench: Bench) -> None:
    source = DOUBLE.replace("x * 0.3", "x * scale.to(tl.float32)")
    source = source.replace("out_ptr, n, BLOCK", "out_ptr, n, scale, BLOCK").replace(
        "out, n, BLOCK", "out, n, 0.3, BLOCK"
    )
    assert source.count("scale") == 2
    correct_and_estimated(bench, source)


def test_contents_that_are_needed_on_the_host_are_named_as_the_reason(bench: Bench) -> None:
    opened = bench.open(DOUBLE.replace(SIZE, "    assert int(x.abs().max()) < 100\n" + SIZE), DOUBLE_TASK)
    assert "reads its tensors' contents on the host" in opened.baseline.notes[0]


LIBDEVICE = {
    "by-name": ("from triton.language.extra.libdevice import rsqrt", "rsqrt(x * x + 1.0)", "(x * x + 1).rsqrt()"),
    "a-scalar": ("from triton.language.extra.libdevice import rsqrt", "x * rsqrt(tl.sum(x * x) * 0 + 4.0)", "x * 0.5"),
    "by-module": ("from triton.language.extra import libdevice", "libdevice.tanh(x)", "x.tanh()"),
    "of-cuda": ("from triton.language.extra.cuda import libdevice", "libdevice.pow(tl.abs(x), 1.5)", "x.abs() ** 1.5"),
    "a-test": ("from triton.language.extra.cuda import libdevice", "tl.where(libdevice.isnan(x) != 0, 0.0, x)", "x"),
}


@pytest.mark.parametrize("name", LIBDEVICE)
def test_functions_of_libdevice(bench: Bench, name: str) -> None:
    statement, expression, truth = LIBDEVICE[name]
    source = DOUBLE.replace("import triton\n", f"import triton\n{statement}\n", 1).replace(
        "x * 2 + x * 0.3", expression
    )
    opened = bench.open(source, DOUBLE_TASK.replace("x * 2.3", truth))
    assert opened.baseline.checks and not opened.notes
    verdict = compose(opened, bench.judge(opened, source), target="sm_90", stage=Stage.SCREENING)
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
