"""A real judge host over stdio, with real torch and triton, shared by the tests of one module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.judge.client import JudgeHost, OpenedTask
from evolve_core.judge.observation import Observation
from evolve_core.judge.verdict import Stage
from evolve_core.task.model import Task, TaskKind

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


PYTHON = Path(os.environ.get("KERNEL_EVOLVE_TEST_PYTHON", sys.executable))
"""The interpreter under test; set the variable to one with another torch or triton."""


class Bench:
    """Opens tasks out of texts and judges candidates, on one host."""

    def __init__(self, folder: Path, target: str = "sm_90") -> None:
        self.folder = folder
        self.log_file = folder / "host.log"
        self._log = self.log_file.open("wb")
        self.host = JudgeHost.start(PYTHON, folder / "spool", target, 2, self._log)
        self._count = 0

    def open(
        self, source: str, task: str, entry: str = "double", *, teeth: bool = False, is_cuda: bool = False
    ) -> OpenedTask:
        """``entry`` is the kernel's name in a CUDA file."""
        self._count += 1
        place = self.folder / f"user{self._count}"
        place.mkdir()
        source_file, task_file = place / f"kernels.{'cu' if is_cuda else 'py'}", place / "kernels.evolve.py"
        source_file.write_text(source)
        task_file.write_text(task)
        return self.host.open(as_task(source_file, task_file, entry, is_cuda), source, "no-gpu", teeth=teeth)

    def open_example(self, name: str) -> OpenedTask:
        source_file = EXAMPLES / f"{name}.py"
        task = as_task(source_file, source_file.with_suffix(".evolve.py"), name)
        return self.host.open(task, source_file.read_text(), "no-gpu")

    def judge(self, opened: OpenedTask, source: str, deadline_s: float = 60.0) -> Observation:
        return self.host.judge(opened, "candidate", source, Stage.SCREENING, deadline_s)

    def close(self) -> None:
        self.host.close()
        self._log.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def as_task(source_file: Path, task_file: Path, entry: str, is_cuda: bool = False) -> Task:
    return Task(
        task_file,
        source_file,
        TaskKind.LAUNCHES if is_cuda else TaskKind.ENTRY,
        "" if is_cuda else entry,
        (entry,) if is_cuda else (),
        has_reference="def reference" in task_file.read_text(),
        has_domain=True,
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("host"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def doubling(bench: Bench) -> OpenedTask:
    """A small task that most tests use: y = 2x, with odd sizes in its domain."""
    return bench.open(DOUBLE, DOUBLE_TASK)


DOUBLE = """\
import torch
import triton
import triton.language as tl


@triton.jit
def double_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x * 2 + x * 0.3, mask=mask)


def double(x):
    out = torch.empty_like(x)
    n = x.numel()
    double_kernel[(triton.cdiv(n, 256),)](x, out, n, BLOCK=256)
    return out
"""

DOUBLE_TASK = """\
import torch

entry = "double"


def workloads():
    for n in [1 << 20, 999_999]:
        yield lambda gen, device, n=n: {"x": torch.randn(n, generator=gen, device=device)}


def reference(x):
    return x * 2.3


def domain(rng):
    n = rng.randint(1, 3000)
    return lambda gen, device: {"x": torch.randn(n, generator=gen, device=device)}
"""
