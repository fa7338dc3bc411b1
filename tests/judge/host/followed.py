"""Host code followed by the compile step in a forked child, and the same host code run on the CPU for comparison."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from host_bench import DOUBLE

from evolve_core.judge.host.buffers import flatten_outputs
from evolve_core.judge.host.carrying import Carrier
from evolve_core.judge.host.interpreted import InterpretedHost
from evolve_core.judge.host.plan import KernelLaunch, LaunchPlan
from evolve_core.judge.host.planreading import plan_from

COUNT = 1000
_KERNEL = DOUBLE[DOUBLE.index("@triton.jit") : DOUBLE.index("\n\ndef double(")]
LAUNCH = "    double_kernel[(triton.cdiv(n, 256),)](x, out, n, BLOCK=256)\n"
RETURN = "    return out\n"
BEFORE = "    out = torch.empty_like(x)\n"
KERNEL = "@triton.jit\n"


def edited(*changes: tuple[str, str]) -> str:
    source = DOUBLE
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


@dataclass(frozen=True)
class Followed:
    """``plans`` of every workload, or ``why_not``; ``failure`` where the step ended with an error."""

    plans: list[LaunchPlan]
    why_not: list[str]
    launches: list[dict[str, Any]]
    failure: str = ""


def follow(folder: Path, source: str, workloads: int = 2) -> Followed:
    """Every workload is one tensor ``x`` of COUNT float32 elements."""
    answers = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=_step, args=(folder, source, workloads, answers.put))
    child.start()
    answer = answers.get()
    child.join()
    if isinstance(answer, str):
        return Followed([], [], [], answer)
    said = list(answer["plans"].values())
    return Followed(
        [plan_from(one["plan"]) for one in said if "plan" in one],
        [one["why_not"] for one in said if "plan" not in one],
        answer["launches"],
    )


def _step(folder: Path, source: str, workloads: int, answer: Callable[[Any], None]) -> None:
    from evolve_core.judge.host.compiling import compile_step
    from evolve_core.judge.host.errors import StepError

    os.environ["TRITON_CACHE_DIR"] = str(folder.parent / "triton-cache")
    entry = {"kind": "tensor", "dtype": "float32", "shape": [COUNT], "stride": [1], "offset": 0, "storage": 0}
    asked = [{"id": f"w{number}", "label": "x", "entries": [["x", entry]]} for number in range(workloads)]
    original = folder / "user" / "kernels.py"
    payload = {
        "target": "sm_90",
        "source": source,
        "source_file": str(original),
        "entry": "double",
        "workloads": asked,
    }
    try:
        answer(compile_step(payload, folder))
    except StepError as error:
        answer(error.message)


def double_on_cpu(step: KernelLaunch, buffers: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
    """What the kernel of DOUBLE does, in place of a launch."""
    source, target, count = step.arguments
    assert source.memory is not None
    assert target.memory is not None
    elements = int(count.value)

    def place(memory: int, offset: int) -> torch.Tensor:
        base = buffers[memory]
        start = base.storage_offset() + offset // base.element_size()
        return base.as_strided((elements,), (1,), start)

    place(target.memory, target.offset).copy_(place(source.memory, source.offset) * 2.3)


class _Kernel:
    """The kernel's name in host code that runs on the CPU."""

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(x: torch.Tensor, out: torch.Tensor, n: int, **unused: Any) -> None:
            whole = [one.as_strided((n,), (1,), one.storage_offset()) for one in (x, out)]
            whole[1].copy_(whole[0] * 2.3)

        return launch


def by_host_code(source: str, calls: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """What the entry returns in calls one after the other, with the kernel done by torch."""
    assert _KERNEL in source
    names: dict[str, Any] = {"double_kernel": _Kernel()}

    def call(x: torch.Tensor) -> list[torch.Tensor]:
        return [tensor.clone() for _, tensor in flatten_outputs(names["double"](x), {})]

    with InterpretedHost("zero"), torch.no_grad():
        exec(source.replace(_KERNEL, ""), names)
        return [call(x) for x in calls]


def by_plan(plan: LaunchPlan, calls: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The outputs of the plan in calls one after the other."""
    carrier = Carrier(plan, "cpu", double_on_cpu)
    return [[tensor.clone() for _, tensor in carrier.call({"x": x})] for x in calls]
