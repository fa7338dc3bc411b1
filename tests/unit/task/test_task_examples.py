"""Every example: its task loads, its workloads draw, and its first version is right on small inputs."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evolve_core.judge.host.gpu.cuda_compiler import compile_cubin
from evolve_core.source.model import Kernel, ParsedSource
from evolve_core.source.parse import language_of, parse
from evolve_core.task.model import Task, TaskKind
from evolve_core.task.native import default_task_file, task_for
from evolve_core.task.skeleton import skeleton

torch = pytest.importorskip("torch", reason="the examples compute with torch")

EXAMPLES = Path(__file__).parents[3] / "examples"
SOURCES = sorted(
    path for path in EXAMPLES.iterdir() if language_of(path) is not None and not path.name.endswith(".evolve.py")
)
TRITON = [path for path in SOURCES if path.suffix == ".py"]
CUDA = [path for path in SOURCES if path.suffix == ".cu"]


def names(path: Path) -> str:
    return path.name


def read(path: Path) -> ParsedSource:
    language = language_of(path)
    assert language is not None
    return parse(path.read_text(), language)


def only_kernel(path: Path) -> Kernel:
    (kernel,) = read(path).kernels
    return kernel


def execute(text: str, name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def test_all_examples_are_there() -> None:
    assert {p.stem for p in TRITON} == {
        "softmax", "layernorm", "matmul", "swiglu", "vector_add", "cross_entropy", "flash_attention",
    }  # fmt: skip
    assert {p.stem for p in CUDA} == {"saxpy", "block_reduction", "tiled_matmul"}


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_the_task_covers_the_kernel(source: Path) -> None:
    kernel = only_kernel(source)
    task = task_for(kernel, source, read(source))
    assert isinstance(task, Task), task
    assert task.task_file == default_task_file(source)
    assert task.kernels == (kernel.qualified_name,)
    assert task.has_reference
    assert task.has_domain
    assert task.kind is (TaskKind.ENTRY if source.suffix == ".py" else TaskKind.LAUNCHES)


@pytest.mark.parametrize("source", TRITON, ids=names)
def test_the_kernel_knows_its_host(source: Path) -> None:
    assert only_kernel(source).hosts == (source.stem,)


# Runs in a process of its own: Triton reads TRITON_INTERPRET when it is imported.
CHECK = """
import json, random, sys
from types import ModuleType
import torch

source, task, seeds = sys.argv[1], sys.argv[2], int(sys.argv[3])

def load(path, name):
    import importlib.util
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

kernels, task = load(source, "example"), load(task, "task")
worst = []
for seed in range(seeds):
    # Small members of the domain: the interpreter runs one program at a time.
    make = task.domain(random.Random(seed))
    inputs = make(torch.Generator().manual_seed(seed), "cpu")
    before = {k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    got = getattr(kernels, task.entry)(**inputs)
    for name, tensor in before.items():
        assert torch.equal(tensor, inputs[name]), f"{name} was changed"
    want = task.reference(**inputs)
    assert got.shape == want.shape and got.dtype == want.dtype, (got.shape, want.shape, got.dtype, want.dtype)
    wide = {k: v.double() if v.is_floating_point() else v for k, v in before.items()}
    truth = task.reference(**{**inputs, **wide}).double()
    error = (got.double() - truth).abs().max().item()
    worst.append([error, truth.abs().max().item(), str(got.dtype)])
print(json.dumps(worst))
"""
# Of the largest magnitude of the truth, with fp32 accumulation: rounding to the output's type plus that of the sum.
TOLERANCE = {"torch.float32": 1e-4, "torch.float16": 4e-3}


@pytest.mark.parametrize("source", TRITON, ids=names)
def test_a_triton_example_is_right_in_the_interpreter(source: Path) -> None:
    pytest.importorskip("triton", reason="the interpreter is Triton's")
    result = subprocess.run(
        [sys.executable, "-c", CHECK, str(source), str(default_task_file(source)), "3"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for error, magnitude, dtype in json.loads(result.stdout.splitlines()[-1]):
        assert error <= TOLERANCE[dtype] * max(magnitude, 1.0)


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_the_domain_is_small_enough_to_check_anywhere(source: Path) -> None:
    module = execute(default_task_file(source).read_text(), source.stem)
    for seed in range(20):
        inputs = module.domain(random.Random(seed))(torch.Generator().manual_seed(seed), "cpu")
        assert sum(v.numel() for v in inputs.values() if isinstance(v, torch.Tensor)) <= 1_000_000


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_two_draws_differ(source: Path) -> None:
    module = execute(default_task_file(source).read_text(), source.stem)
    make = module.domain(random.Random(3))
    one, other = (make(torch.Generator().manual_seed(seed), "cpu") for seed in (1, 2))
    assert any(not torch.equal(v, other[k]) for k, v in one.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("source", CUDA, ids=names)
def test_launches_match_the_kernel(source: Path) -> None:
    """Argument by argument: a tensor where the kernel takes a pointer, of the element type it points to."""
    kernel = only_kernel(source)
    module = execute(default_task_file(source).read_text(), source.stem)
    inputs = module.domain(random.Random(0))(torch.Generator().manual_seed(0), "cpu")
    launches = list(module.launches(**inputs))
    assert launches
    for launch in launches:
        assert launch["kernel"] == kernel.qualified_name
        assert len(launch["arguments"]) == len(kernel.parameters)
        for argument, parameter in zip(launch["arguments"], kernel.parameters, strict=True):
            if "*" in parameter.annotation:
                assert isinstance(argument, torch.Tensor)
                assert argument.dtype == {"float": torch.float32}[parameter.annotation.split("*")[0].split()[-1]]
            else:
                assert isinstance(argument, {"int": int, "float": float}[parameter.annotation])


@pytest.mark.parametrize("source", CUDA, ids=names)
def test_a_cuda_example_compiles(source: Path, tmp_path: Path) -> None:
    """By the judge's compiler, and by nvcc where there is one, which refuses warnings."""
    cubin = compile_cubin(source.read_text(), source.name, "sm_90", [str(source.parent)]).cubin
    assert only_kernel(source).name.encode() in cubin
    if nvcc := shutil.which("nvcc"):
        output = tmp_path / "kernel.cubin"
        command = [nvcc, "-cubin", "-arch=sm_90", "-Werror", "all-warnings", str(source), "-o", str(output)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_the_skeleton_of_an_example_runs_as_it_is(source: Path) -> None:
    text = skeleton(source, read(source), source.read_text(), only_kernel(source))
    assert "evolve_core" not in text
    own = execute(default_task_file(source).read_text(), "own")
    wanted = own.domain(random.Random(0))(torch.Generator().manual_seed(0), "cpu")
    drawn = [make(torch.Generator().manual_seed(0), "cpu") for make in execute(text, "skeleton").workloads()]
    assert len(drawn) == 2
    for inputs in drawn:
        kinds = {name.rstrip("_"): type(value) for name, value in inputs.items()}
        own_kinds = {name: type(value) for name, value in wanted.items()}
        assert sorted(kinds.values(), key=str) == sorted(own_kinds.values(), key=str)
        if source.suffix == ".py":
            assert kinds == own_kinds
