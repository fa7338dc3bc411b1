"""Files of thousands of kernels: the work grows with the file, not with its square, and messages stay short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from steps import steps

from evolve_core.source.model import Language
from evolve_core.source.parse import parse
from evolve_core.task.model import Task, TaskProblem
from evolve_core.task.native import tasks_for
from evolve_core.task.reach import CallGraph
from evolve_core.task.skeleton import skeleton

KERNEL = """
@triton.jit
def k{0}(x_ptr, n):
    tl.store(x_ptr, tl.load(x_ptr) + {0})

def run_{0}(x):
    k{0}[(1,)](x, x.numel())
    return x
"""
TASK = 'entry = "{}"\ndef workloads():\n    yield lambda gen, device: {{}}\n'


def many(count: int) -> str:
    everything = "\ndef run_all(x):\n    " + "\n    ".join(f"run_{i}(x)" for i in range(count))
    return "import triton\nimport triton.language as tl\n" + "".join(map(KERNEL.format, range(count))) + everything


@pytest.mark.parametrize("entry", ["run_3", "run_all", "nope", "k3"])
def test_finding_tasks_is_linear(tmp_path: Path, entry: str) -> None:
    source = tmp_path / "ops.py"
    source.with_name("ops.evolve.py").write_text(TASK.format(entry))

    def work(count: int) -> Callable[[], object]:
        parsed = parse(many(count), Language.TRITON)
        return lambda: tasks_for(source, parsed)

    work(10)()
    assert steps(work(200)) < 2.5 * steps(work(100))


def test_the_skeleton_of_one_kernel_is_linear(tmp_path: Path) -> None:
    source = tmp_path / "ops.py"

    def work(count: int) -> Callable[[], object]:
        text = many(count)
        parsed = parse(text, Language.TRITON)
        return lambda: skeleton(source, parsed, text, parsed.kernels[0])

    work(10)()
    assert steps(work(200)) < 2.5 * steps(work(100))


def test_a_kernel_without_a_task_hears_of_a_few_others_only(tmp_path: Path) -> None:
    source = tmp_path / "ops.py"
    source.with_name("ops.evolve.py").write_text(TASK.format("run_all"))
    text = many(100) + "\n@triton.jit\ndef lonely(x):\n    pass\n"
    found = tasks_for(source, parse(text, Language.TRITON))
    assert isinstance(found["k99"], Task)
    lonely = found["lonely"]
    assert isinstance(lonely, TaskProblem)
    assert "there is ops.evolve.py (for k0, k1, k2, k3, k4, k5 …). Write ops.lonely.evolve.py" in lonely.message


def test_the_first_task_file_wins_for_each_kernel(tmp_path: Path) -> None:
    source = tmp_path / "ops.py"
    source.with_name("ops.evolve.py").write_text(TASK.format("run_1"))
    source.with_name("ops.all.evolve.py").write_text(TASK.format("run_all"))
    found = tasks_for(source, parse(many(3), Language.TRITON))
    files = [task.task_file.name for task in found.values() if isinstance(task, Task)]
    assert files == ["ops.all.evolve.py", "ops.evolve.py", "ops.all.evolve.py"]


def test_who_reaches_a_kernel() -> None:
    graph = CallGraph(parse(many(3), Language.TRITON))
    assert graph.reaching({"k1"}) == {"k1", "run_1", "run_all"}
    assert graph.kernels_from("run_all") == ("k0", "k1", "k2")
