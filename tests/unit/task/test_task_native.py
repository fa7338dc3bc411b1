"""Task files, read without running them: what they state and what can be wrong with them."""

# ruff: noqa: E501 -- messages are read whole
from __future__ import annotations

from pathlib import Path

import pytest
from inline_snapshot import snapshot

from evolve_core.source.model import Kernel, Language, ParsedSource
from evolve_core.source.parse import parse
from evolve_core.task.model import Task, TaskKind, TaskProblem, TaskProblemKind
from evolve_core.task.native import load, source_file_of, task_files, task_for
from evolve_core.task.reach import kernels_from

SOURCE = """
import torch, triton
import triton.language as tl

@triton.jit
def helper(x):
    return x * 2

@triton.jit
def forward_kernel(x_ptr):
    tl.store(x_ptr, helper(tl.load(x_ptr)))

@triton.jit
def backward_kernel(x_ptr):
    tl.store(x_ptr, helper(tl.load(x_ptr)))

@triton.jit
def lonely_kernel(x_ptr):
    pass

def launch(x):
    forward_kernel[(1,)](x)

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return launch(x)

    @staticmethod
    def backward(ctx, g):
        backward_kernel[(1,)](g)

def double(x):
    return Double.apply(x)

apply_double = Double.apply

def idle(x):
    return x
"""
GOOD = 'entry = "double"\ndef workloads():\n    yield lambda gen, device: {}\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ops.py"
    path.write_text(SOURCE)
    return path


def parsed() -> ParsedSource:
    return parse(SOURCE, Language.TRITON)


def kernel(name: str) -> Kernel:
    found = parsed().kernel(name)
    assert found is not None
    return found


def problem(source: Path, text: str) -> TaskProblem:
    result = load(source.with_name("ops.evolve.py"), source, parsed(), text)
    assert isinstance(result, TaskProblem)
    return result


def test_files_of_one_source_and_no_other(tmp_path: Path) -> None:
    names = ["ops.evolve.py", "ops.small.evolve.py", "ops.a.evolve.py", "ops2.evolve.py", "ops.py", "x.ops.evolve.py"]
    for name in names:
        (tmp_path / name).write_text("")
    found = task_files(tmp_path / "ops.py")
    assert [p.name for p in found] == ["ops.evolve.py", "ops.a.evolve.py", "ops.small.evolve.py"]
    unsaved = {tmp_path / "ops.new.evolve.py": "", tmp_path / "other" / "ops.evolve.py": ""}
    assert [p.name for p in task_files(tmp_path / "ops.py", unsaved)][2] == "ops.new.evolve.py"
    assert task_files(tmp_path / "missing" / "ops.py") == ()
    assert source_file_of(tmp_path / "ops.small.evolve.py") == tmp_path / "ops.py"
    assert source_file_of(tmp_path / "nothing.evolve.py") is None


def test_a_task_covers_what_a_call_runs(source: Path) -> None:
    task = load(source.with_name("ops.evolve.py"), source, parsed(), GOOD + "def reference(x): return x\n")
    assert isinstance(task, Task)
    assert task.kind is TaskKind.ENTRY
    assert task.entry == "double"
    assert task.kernels == ("helper", "forward_kernel")
    assert (task.has_reference, task.has_domain) == (True, False)


@pytest.mark.parametrize("entry", ["double", "apply_double", "launch"])
def test_entries_reach_through_functions_classes_and_assignments(entry: str) -> None:
    assert kernels_from(entry, parsed()) == ("helper", "forward_kernel")


def test_a_workload_module_may_import_its_functions(source: Path) -> None:
    text = 'from shared import workloads, reference\nif True:\n    entry = "launch"\n'
    task = load(source.with_name("ops.evolve.py"), source, parsed(), text)
    assert isinstance(task, Task)
    assert task.has_reference


MESSAGES = [
    ("x = (", TaskProblemKind.SYNTAX, 0, snapshot("ops.evolve.py line 1 does not parse: '(' was never closed; correct it there")),
    ("x = '\0'", TaskProblemKind.SYNTAX, 0, snapshot('ops.evolve.py line 1 does not parse: source code string cannot contain null bytes; correct it there')),
    ('entry = "double"', TaskProblemKind.NO_WORKLOADS, 0, snapshot('ops.evolve.py defines no workloads(); add a generator that yields `lambda gen, device: {…}` with the inputs of one call each')),
    ("def workloads(): yield", TaskProblemKind.NO_ENTRY, 0, snapshot('ops.evolve.py defines no entry; add `entry = "launch"`, the function in ops.py that launches the kernels')),
    ("import os\nentry = os.name\ndef workloads(): yield", TaskProblemKind.NO_ENTRY, 1, snapshot('entry in ops.evolve.py is not a plain string; write `entry = "NAME"` with the function that launches the kernels')),
    ("entry = 'doubel'\ndef workloads(): yield", TaskProblemKind.ENTRY_NOT_FOUND, 0, snapshot('entry = "doubel" names no function of ops.py; did you mean double?')),
    ("entry = 'zzz'\ndef workloads(): yield", TaskProblemKind.ENTRY_NOT_FOUND, 0, snapshot('entry = "zzz" names no function of ops.py; functions that run its kernels: launch, apply_double, double')),
    ("entry = 'idle'\ndef workloads(): yield", TaskProblemKind.ENTRY_LAUNCHES_NOTHING, 0, snapshot('entry = "idle" launches no kernel of ops.py: its kernels are run by launch, apply_double, double; name the function that does')),
    ("entry = 'forward_kernel'\ndef workloads(): yield", TaskProblemKind.ENTRY_LAUNCHES_NOTHING, 0, snapshot('entry = "forward_kernel" is itself a kernel of ops.py: its kernels are run by launch, apply_double, double; name the function that does')),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "line", "message"), MESSAGES)
def test_what_is_wrong_is_named_with_the_next_step(
    source: Path, text: str, kind: TaskProblemKind, line: int, message: str
) -> None:
    found = problem(source, text)
    assert (found.kind, found.line, found.file) == (kind, line, source.with_name("ops.evolve.py"))
    assert found.message == message


def test_a_kernel_without_a_task(source: Path) -> None:
    found = task_for(kernel("lonely_kernel"), source, parsed())
    assert isinstance(found, TaskProblem)
    assert found.kind is TaskProblemKind.MISSING
    assert (found.file, found.line) == (source, kernel("lonely_kernel").name_span.start_line)
    assert found.message == snapshot(
        "no task covers lonely_kernel. Write ops.evolve.py beside ops.py with its entry and workloads, or let `kernel-evolve task new` (a code action here) write a first version"
    )


def test_a_task_for_other_kernels_is_named(source: Path) -> None:
    source.with_name("ops.evolve.py").write_text(GOOD)
    assert isinstance(task_for(kernel("forward_kernel"), source, parsed()), Task)
    found = task_for(kernel("lonely_kernel"), source, parsed())
    assert isinstance(found, TaskProblem)
    assert found.message == snapshot(
        "no task covers lonely_kernel; there is ops.evolve.py (for helper, forward_kernel). Write ops.lonely_kernel.evolve.py beside ops.py with its entry and workloads, or let `kernel-evolve task new` (a code action here) write a first version"
    )


def test_the_second_task_file_covers_another_kernel(source: Path) -> None:
    source.with_name("ops.evolve.py").write_text(GOOD)
    text = source.read_text() + "\ndef lone(x):\n    lonely_kernel[(1,)](x)\n"
    again = parse(text, Language.TRITON)
    unsaved = {source.with_name("ops.lone.evolve.py"): GOOD.replace("double", "lone")}
    task = task_for(kernel("lonely_kernel"), source, again, unsaved)
    assert isinstance(task, Task)
    assert task.task_file.name == "ops.lone.evolve.py"


def test_unsaved_text_wins_over_the_file(source: Path) -> None:
    path = source.with_name("ops.evolve.py")
    path.write_text(GOOD)
    found = task_for(kernel("forward_kernel"), source, parsed(), {path: "entry ="})
    assert isinstance(found, TaskProblem)
    assert found.kind is TaskProblemKind.SYNTAX


def test_a_broken_task_file_is_named_before_a_missing_one(source: Path) -> None:
    source.with_name("ops.evolve.py").write_text("entry = ")
    found = task_for(kernel("lonely_kernel"), source, parsed())
    assert isinstance(found, TaskProblem)
    assert found.kind is TaskProblemKind.SYNTAX


def test_a_task_file_that_is_no_text(source: Path) -> None:
    path = source.with_name("ops.evolve.py")
    path.write_bytes(GOOD.encode("utf-16"))
    assert load(path, source, parsed()) == TaskProblem(
        TaskProblemKind.SYNTAX, "ops.evolve.py is not UTF-8 (it looks like UTF-16): save it as UTF-8", path
    )
    path.write_bytes(f"{GOOD}# é\n".encode("latin-1"))
    found = load(path, source, parsed())
    assert isinstance(found, TaskProblem)
    assert found.message.startswith(f"ops.evolve.py is not UTF-8 text (line {len(GOOD.splitlines()) + 1} has the byte")


def test_a_damaged_source_is_the_cause_of_a_hidden_entry(source: Path) -> None:
    damaged = parse(SOURCE.replace("def double(x):", "def double(x:"), Language.TRITON)
    found = load(source.with_name("ops.evolve.py"), source, damaged, GOOD.replace("double", "gone"))
    assert isinstance(found, TaskProblem)
    assert found.message == snapshot(
        'entry = "gone" names no function of ops.py; that file does not parse at line 33, so the function may be hidden: correct it there'
    )


def test_nothing_of_a_task_file_runs(source: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    text = f"import pathlib\npathlib.Path({str(touched)!r}).touch()\n" + GOOD
    assert isinstance(load(source.with_name("ops.evolve.py"), source, parsed(), text), Task)
    assert not touched.exists()


CU = "__global__ void scale(float* x, int n) { }\n__global__ void other(float* x) { }\n"


def test_launches_name_their_kernels(tmp_path: Path) -> None:
    source = tmp_path / "scale.cu"
    text = 'def launches(x):\n    yield {"kernel": "scale<float>"}\ndef workloads(): yield\n'
    task = load(tmp_path / "scale.evolve.py", source, parse(CU, Language.CUDA), text)
    assert isinstance(task, Task)
    assert (task.kind, task.entry, task.kernels) == (TaskKind.LAUNCHES, "", ("scale",))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "def workloads(): yield",
            TaskProblemKind.NO_ENTRY,
            snapshot(
                "scale.evolve.py defines no launches(), which a CUDA file needs in place of an entry; add a generator that yields the launches of scale.cu and returns the output"
            ),
        ),
        (
            'entry = "scale"\ndef workloads(): yield',
            TaskProblemKind.NO_ENTRY,
            snapshot(
                "scale.evolve.py defines no launches(), which a CUDA file needs in place of an entry; add a generator that yields the launches of scale.cu and returns the output"
            ),
        ),
        (
            'def launches(): yield {"kernel": "skale"}\ndef workloads(): yield',
            TaskProblemKind.ENTRY_LAUNCHES_NOTHING,
            snapshot("launches() in scale.evolve.py names no kernel of scale.cu; its kernels are scale, other"),
        ),
    ],
)
def test_a_cuda_task_says_what_it_lacks(tmp_path: Path, text: str, kind: TaskProblemKind, message: str) -> None:
    found = load(tmp_path / "scale.evolve.py", tmp_path / "scale.cu", parse(CU, Language.CUDA), text)
    assert isinstance(found, TaskProblem)
    assert (found.kind, found.message) == (kind, message)
