"""A plan carried out without torch, on a driver that keeps its memory on the host."""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolve_core.judge.host.gpu import sanitized
from evolve_core.judge.host.gpu.driver import DriverError
from evolve_core.judge.host.gpu.sanitized import INPUTS, REPORT, main, why_not, write_job
from evolve_core.judge.host.plan import (
    Argument,
    Copy,
    Fill,
    Given,
    KernelLaunch,
    LaunchPlan,
    Memory,
    Operand,
    OperandKind,
    Operation,
    Output,
    View,
)

BINARY = "0" * 64
X = View(0, 0, "float32", (4,), (1,))
OUT, KEPT = replace(X, memory=1), replace(X, memory=2)
LAUNCH = KernelLaunch(
    BINARY,
    "double",
    (2, 1, 1),
    (32, 1, 1),
    0,
    (Argument(memory=0, offset=4), Argument(memory=1), Argument(scalar="i32", value=-7)),
)
PLAN = LaunchPlan(
    (Given("x", "float32", (4,), (1,), 4),),
    (Memory("x", "float32", 0), Memory("", "float32", 4), Memory("", "float32", 4, values=(1.0, 2.0, 3.0, 4.0))),
    (Fill(OUT, -1.5), LAUNCH, Copy(KEPT, OUT)),
    (Output("out", OUT),),
)
FINITE = (1.0, 2.0, 3.0, 4.0)


class HostDriver:
    """Blocks of the host's memory. ``launches``: name and arguments; ``refused``: a call that fails."""

    refused = ""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.launches: list[tuple[str, list[Any]]] = []

    def use_first_device(self) -> None:
        pass

    def call(self, name: str, *arguments: Any) -> None:
        if name == self.refused:
            raise DriverError(f"{name}: CUDA_ERROR_ILLEGAL_ADDRESS")
        if name == "cuMemAlloc_v2":
            block = ctypes.create_string_buffer(arguments[1].value)
            self.blocks[ctypes.addressof(block)] = block
            arguments[0]._obj.value = ctypes.addressof(block)
        elif name == "cuMemsetD8_v2":
            ctypes.memset(arguments[0].value, arguments[1].value, arguments[2].value)
        elif name == "cuMemcpyHtoD_v2":
            ctypes.memmove(arguments[0].value, arguments[1], arguments[2].value)
        elif name == "cuMemcpyDtoD_v2":
            ctypes.memmove(arguments[0].value, arguments[1].value, arguments[2].value)

    def load_module(self, binary: bytes) -> bytes:
        return binary

    def function(self, module: bytes, name: str) -> str:
        return name

    def shared_limit_bytes(self) -> int:
        return 1 << 16

    def parameter_bytes(self, function: str) -> list[int]:
        return [8, 8, 4, 8]

    def launch(self, function: str, grid: Any, block: Any, shared: int, stream: int, arguments: list[Any]) -> None:
        seen = [one.value for one in arguments]
        self.launches.append((function, [ctypes.string_at(seen[0], 12), ctypes.string_at(seen[1], 16), *seen[2:]]))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostDriver]:
    made = HostDriver()
    monkeypatch.setattr(sanitized, "Driver", lambda: made)
    monkeypatch.setattr("signal.setitimer", lambda *unused: None)
    yield made


def carried_out(folder: Path, plan: LaunchPlan) -> tuple[int, dict[str, Any]]:
    (folder / f"{BINARY}.cubin").write_bytes(b"cubin")
    write_job(folder, plan.as_json(), str(folder), [("x", struct.pack("4f", *FINITE))])
    assert (folder / INPUTS).stat().st_size == 16
    code = main(str(folder), str(folder), "5")
    return code, json.loads((folder / REPORT).read_text())


def test_a_plan_is_carried_out_in_allocations_of_their_own(driver: HostDriver, tmp_path: Path) -> None:
    code, report = carried_out(tmp_path, PLAN)
    assert code == 0 and report["finished"]
    filled = struct.pack("4f", *[-1.5] * 4)
    assert driver.launches == [("double", [struct.pack("3f", 2.0, 3.0, 4.0), filled, -7, 0])]
    # The input lies four bytes past an alignment, as the plan was promised, and ends where its memory ends.
    assert [(size, what) for _, size, what in report["allocations"]] == [
        (20, "x"),
        (16, "out"),
        (16, "memory of the call's own"),
    ]
    out = next(address for address, _, what in report["allocations"] if what == "out")
    assert ctypes.string_at(out, 16) == struct.pack("4f", *FINITE)


def test_fresh_memory_and_scratch_hold_no_numbers(driver: HostDriver, tmp_path: Path) -> None:
    scratch = replace(LAUNCH, scratch_bytes=3)
    _, report = carried_out(tmp_path, replace(PLAN, steps=(scratch,)))
    (_, (_, out, _, address)) = driver.launches[0]
    assert out == b"\xff" * 16
    assert [address, 6, "its scratch"] in report["allocations"]
    assert ctypes.string_at(address, 6) == b"\xff" * 6


def test_what_fails_is_told_with_where_the_tensors_lie(driver: HostDriver, tmp_path: Path) -> None:
    driver.refused = "cuCtxSynchronize"
    code, report = carried_out(tmp_path, PLAN)
    assert code == 1 and "finished" not in report
    assert report["failed"] == "cuCtxSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS"
    assert len(report["allocations"]) == 3


MUL = Operation("aten::mul.Tensor", (Operand("self", OperandKind.TENSOR, (X,)),), (replace(X, memory=2),))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (PLAN, ""),
        (replace(PLAN, steps=(MUL,)), "torch operators (aten::mul.Tensor)"),
        (replace(PLAN, prelude=(MUL,)), "torch operators"),
        (replace(PLAN, steps=(Fill(replace(OUT, shape=(2,), stride=(2,)), 0.0),)), "only torch can make"),
        (replace(PLAN, steps=(Copy(X, replace(OUT, dtype="int32")),)), "only torch can make"),
        (replace(PLAN, memories=(*PLAN.memories, Memory("", "float8_e5m2", 1, values=(1.0,)))), "only torch can make"),
        (replace(PLAN, memories=(*PLAN.memories, Memory("", "float64", 1 << 28))), "2048 MiB"),
    ],
    ids=["launches", "operator", "operator-before", "gaps", "converted", "eight-bits", "large"],
)
def test_plans_that_need_torch_are_told(plan: LaunchPlan, reason: str) -> None:
    found = why_not(plan)
    assert reason in found if reason else not found


def test_it_starts_without_torch_and_without_site_packages(tmp_path: Path) -> None:
    """A process that imports torch would take seconds, and the sanitizer would watch all that it does."""
    host = Path(sanitized.__file__).parents[1] / "__main__.py"
    script = (
        f"import sys; sys.argv[1:] = ['--sanitized', {str(tmp_path)!r}, {str(tmp_path)!r}, '5']\n"
        f"import runpy\ntry: runpy.run_path({str(host)!r}, run_name='__main__')\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules, 'site' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
    assert "failed" in json.loads((tmp_path / REPORT).read_text())
