"""What a CUDA task's launches() does becomes a plan, made without a GPU out of the file as it was compiled once."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve_core.judge.host.carrying import Carrier
from evolve_core.judge.host.plan import KernelLaunch, LaunchPlan
from evolve_core.judge.host.planreading import plan_from

ROWS, COLUMNS = 300, 65
KERNEL = """
__global__ void add_rows(const float* x, float* partial, int rows, int columns, float scale) {}
extern "C" __global__ void finish(const float* partial, const float* table, double* out, long long n, bool half_it) {}
"""
TASK = """\
import torch

TABLE = torch.tensor([1.0, 2.0])


def launches(x, scale):
    rows, columns = x.shape
    partial = torch.zeros(rows, device=x.device)
    yield {"kernel": "add_rows", "grid": (-(-rows // 128), 2), "block": (32, 4), "shared_bytes": 512,
           "arguments": [x, partial, rows, columns, scale]}
    out = torch.empty(rows, 2, device=x.device, dtype=torch.float64)
    yield {"kernel": "finish", "grid": 1, "block": 64,
           "arguments": [partial, TABLE.to(x.device), out[:, 1], rows, True]}
    return {"out": out[:, 1], "all": out.t()}


def workloads():
    yield lambda gen, device: {"x": torch.randn(300, 65, generator=gen, device=device), "scale": 0.5}
"""


def compiled(folder: Path, source: str = KERNEL, task: str = TASK) -> dict[str, Any]:
    """The step's answer, or ``{"failure"}``, from a child of its own: it pretends to have a GPU."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_step, args=(folder, source, task, answers.put))
    child.start()
    answer: dict[str, Any] = answers.get()
    child.join()
    return answer


def _step(folder: Path, source: str, task: str, answer: Callable[[Any], None]) -> None:
    from evolve_core.judge.host.compiling_cuda import compile_step
    from evolve_core.judge.host.errors import StepError

    shape, stride = [ROWS, COLUMNS], [COLUMNS, 1]
    x = {"kind": "tensor", "dtype": "float32", "shape": shape, "stride": stride, "offset": 0, "storage": 0}
    scale = {"kind": "value", "value": 0.5}
    payload = {
        "target": "sm_90",
        "source": source,
        "source_file": str(folder / "user" / "kernels.cu"),
        "task_text": task,
        "task_file": str(folder / "user" / "kernels.evolve.py"),
        "workloads": [{"id": "w0", "label": "x", "entries": [["x", x], ["scale", scale]]}],
    }
    try:
        answer(compile_step(payload, folder))
    except StepError as error:
        answer({"failure": (error.kind, error.message)})


def edited(text: str, *changes: tuple[str, str]) -> str:
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def planned(answer: Mapping[str, Any]) -> LaunchPlan:
    assert "failure" not in answer, answer
    assert "plan" in answer["plans"]["w0"], answer["plans"]
    return plan_from(answer["plans"]["w0"]["plan"])


def test_the_plan_has_what_launches_does(tmp_path: Path) -> None:
    answer = compiled(tmp_path)
    plan = planned(answer)
    binary = (tmp_path / f"{answer['binary']}.cubin").read_bytes()
    assert hashlib.sha256(binary).hexdigest() == answer["binary"] and plan.binaries == {answer["binary"]}
    first, second = (step for step in plan.steps if isinstance(step, KernelLaunch))
    assert (first.function, second.function) == ("_Z8add_rowsPKfPfiif", "finish")
    assert (first.grid, first.block, first.shared_bytes) == ((3, 2, 1), (32, 4, 1), 512)
    assert (second.grid, second.block, second.shared_bytes) == ((1, 1, 1), (64, 1, 1), 0)
    assert [(one.scalar, one.value) for one in first.arguments[2:]] == [("i32", ROWS), ("i32", COLUMNS), ("fp32", 0.5)]
    assert [(one.scalar, one.value) for one in second.arguments[3:]] == [("i64", ROWS), ("u1", 1)]
    assert second.arguments[2].offset == 8
    assert [(one["kernel"], one["num_warps"]) for one in answer["launches"]] == [("add_rows", 4), ("finish", 2)]


def test_carried_out_it_gives_what_the_kernels_leave(tmp_path: Path) -> None:
    """The kernels are done by torch, on the buffers that the plan hands to them."""
    plan = planned(compiled(tmp_path))

    def launch(step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
        given = [buffers[one.memory] for one in step.arguments if one.memory is not None]
        if "add_rows" in step.function:
            given[1].copy_(given[0].sum(1) * step.arguments[4].value)
        else:
            given[2].view(ROWS, 2)[:, 1] = given[0] * given[1][1]

    x = torch.randn(ROWS, COLUMNS)
    outputs = dict(Carrier(plan, "cpu", launch).call({"x": x, "scale": 0.5}))
    first, second = outputs.values()
    assert first.dtype == torch.float64 and first.stride() == (2,)
    assert torch.equal(first, (x.sum(1) * 0.5 * 2).double()) and torch.equal(second[1], first)


def test_launches_that_depend_on_contents_have_no_plan_and_the_reason(tmp_path: Path) -> None:
    for line in ("rows = int(x[0, 0].item())", "rows = len(x.nonzero())"):
        answer = compiled(
            tmp_path, task=edited(TASK, ("    rows, columns = x.shape\n", f"    {line}\n    columns = 1\n"))
        )
        assert "failure" not in answer, answer
        (said,) = answer["plans"].values()
        assert re.search(r"reads its tensors' contents.*\(kernels\.evolve\.py:7\)$", said["why_not"]), said
        assert answer["binary"] and [one["name"] for one in answer["kernels"]] == ["finish", "add_rows"]
        assert not answer["launches"]


def test_an_operator_that_no_plan_holds_is_named(tmp_path: Path) -> None:
    answer = compiled(tmp_path, task=edited(TASK, ("torch.zeros(rows, device=x.device)", "torch.rand_like(x[:, 0])")))
    assert (
        answer["plans"]["w0"]["why_not"] == "its host code computes with aten::rand_like.default (kernels.evolve.py:8)"
    )
    assert len(answer["launches"]) == 2


@pytest.mark.parametrize(
    ("source", "task", "kind", "words"),
    [
        (
            ("int rows, int columns", "int rows"),
            None,
            "compile-error",
            "add_rows takes 4 arguments, launches() passes 5",
        ),
        (("void add_rows", "void rows_added"), None, "compile-error", "no single kernel add_rows"),
        (
            ("int columns", "unsigned char columns"),
            ("columns, scale]", "rows, scale]"),
            "compile-error",
            "does not fit",
        ),
        (None, ('"block": (32, 4)', '"block": (1024, 4)'), "task-error", "kernels.evolve.py:6: add_rows: a block of"),
        (None, ("rows, columns = x.shape", "rows, columns = x.chape"), "task-error", "kernels.evolve.py:7"),
    ],
)
def test_what_is_wrong_is_said_of_the_kernel_or_of_the_task(
    tmp_path: Path, source: tuple[str, str] | None, task: tuple[str, str] | None, kind: str, words: str
) -> None:
    answer = compiled(tmp_path, edited(KERNEL, *([source] if source else [])), edited(TASK, *([task] if task else [])))
    assert answer["failure"][0] == kind and words in answer["failure"][1], answer
