"""Tasks as people write them: odd but right ones open, broken ones give one message with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, EXAMPLES, PYTHON, Bench, as_task

from evolve_core.judge.client import HostDied, HostError, JudgeHost
from evolve_core.judge.correctness import Accepted, judge_checks
from evolve_core.judge.observation import Outcome
from evolve_core.judge.verdict import Stage
from evolve_core.task.model import Task, TaskKind


def refused(bench: Bench, source: str, task: str, entry: str = "double") -> HostError:
    with pytest.raises(HostError) as caught:
        bench.open(source, task, entry)
    return caught.value


def test_task_module_that_raises(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace('entry = "double"', "entry = 1 / 0"))
    assert (error.kind, error.line) == ("task-error", 3)
    assert error.file is not None and error.file.endswith("kernels.evolve.py")
    assert error.message == (
        "kernels.evolve.py:3 does not import: ZeroDivisionError: division by zero. Mend it there, then start again."
    )


def test_task_with_a_mark_of_utf_8_in_front(bench: Bench) -> None:
    opened = bench.open(DOUBLE, f"\ufeff{DOUBLE_TASK}")
    assert opened.task_text == DOUBLE_TASK and opened.notes == ()


def test_task_module_with_a_syntax_error(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace("def reference(x):", "def reference(x:"))
    assert (error.kind, error.line) == ("task-error", 11)


def test_workload_that_raises(bench: Bench) -> None:
    error = refused(
        bench,
        DOUBLE,
        DOUBLE_TASK.replace(
            "torch.randn(n, generator=gen, device=device)}\n\n\ndef ref", "torch.randnn(n)}\n\n\ndef ref"
        ),
    )
    assert error.kind == "task-error" and error.line == 8
    assert error.message.startswith("kernels.evolve.py:8 a workload raised: AttributeError: ")
    assert "randnn" in error.message


def test_reference_that_raises(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace("return x * 2.3", "return x.times(2.3)"))
    assert (error.kind, error.line) == ("task-error", 12)
    assert error.message.startswith("kernels.evolve.py:12 reference() raised: AttributeError: ")
    assert error.message.endswith("Mend it there, then start again.")


@pytest.mark.parametrize(
    "task",
    [
        "import sys\n\nsys.exit('no GPU')\n",
        DOUBLE_TASK.replace("import torch\n", "", 1).replace("    for n in", "    exit('no GPU')\n    for n in"),
    ],
    ids=["import", "workloads"],
)
def test_task_module_that_calls_sys_exit(bench: Bench, task: str) -> None:
    error = refused(bench, DOUBLE, task)
    line = next(number for number, text in enumerate(task.splitlines(), 1) if "exit(" in text)
    assert (error.kind, error.line) == ("task-error", line)
    assert error.message.startswith(f"kernels.evolve.py:{line} ") and "it calls sys.exit('no GPU')" in error.message
    assert error.message.endswith('under `if __name__ == "__main__":`, then start again.')


def test_task_module_that_ends_its_process(bench: Bench) -> None:
    error = refused(bench, DOUBLE, "import os\nos._exit(3)\n")
    assert error.kind == "task-error" and "exit code 3" in error.message
    assert "mend what ends the process (os._exit, a library), then start again" in error.message


def test_task_module_that_crashes(bench: Bench) -> None:
    error = refused(bench, DOUBLE, "import ctypes\n\nctypes.string_at(0)\n")
    assert (error.kind, error.line) == ("task-error", 3)
    assert error.message.startswith("kernels.evolve.py:3: the task crashed with SIGSEGV. ")


def test_helper_of_the_task_that_raises(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import torch\n\ntorch.zeros(2) @ torch.zeros(3)\n")
    (tmp_path / "kernels.py").write_text(DOUBLE)
    (tmp_path / "kernels.evolve.py").write_text(f"import helper\n{DOUBLE_TASK}")
    with pytest.raises(HostError) as caught:
        bench.host.open(as_task(tmp_path / "kernels.py", tmp_path / "kernels.evolve.py", "double"), DOUBLE, "no-gpu")
    assert caught.value.line == 1 and "kernels.evolve.py:1 does not import" in caught.value.message
    assert "(raised at helper.py:3)" in caught.value.message


def way_out(package: str) -> str:
    return (
        f"If {package} is a module of yours, it is looked for beside that file; if not, install the package that has "
        f"it ({PYTHON} -m pip install …), or choose the interpreter that has it: --python, the setting "
        "kernelEvolve.python, [tool.kernel-evolve] python in pyproject.toml, or VIRTUAL_ENV."
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (f"import no_einops.layers\n# guessed\n{DOUBLE_TASK}", "kernels.evolve.py:1 does not import: "),
        (
            DOUBLE_TASK.replace("    return x * 2.3", "    from no_einops import rearrange\n"),
            "kernels.evolve.py:12 reference() raised: ",
        ),
    ],
    ids=["import", "reference"],
)
def test_package_of_the_task_that_the_interpreter_lacks(bench: Bench, task: str, said: str) -> None:
    error = refused(bench, DOUBLE, task)
    assert error.kind == "missing-package"
    assert error.message == f"{said}ModuleNotFoundError: No module named 'no_einops'. {way_out('no_einops')}"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (f"import no_einops\n{DOUBLE}", 1),
        (DOUBLE.replace("    n = x.numel()", "    import no_einops\n    n = x.numel()"), 16),
    ],
    ids=["import", "entry"],
)
def test_package_of_the_kernel_that_the_interpreter_lacks(bench: Bench, source: str, line: int) -> None:
    error = refused(bench, source, DOUBLE_TASK)
    assert (error.kind, error.line) == ("missing-package", line)
    assert error.file is not None and error.file.endswith("kernels.py")
    assert error.message.startswith(f"kernels.py:{line}: your own double cannot be judged: ")
    assert error.message.endswith(f". {way_out('no_einops')}") and "mend" not in error.message.lower()


def test_module_that_a_package_lacks_is_a_mistake_in_the_file(bench: Bench) -> None:
    error = refused(bench, DOUBLE, f"import torch.no_such_part\n{DOUBLE_TASK}")
    assert (error.kind, error.line) == ("task-error", 1)
    assert error.message.endswith("No module named 'torch.no_such_part'. Mend it there, then start again.")


def test_no_elements(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace("1 << 20", "0"))
    assert (error.kind, error.line) == ("task-error", 8)
    assert error.message == (
        "kernels.evolve.py:8: workload x=float32[0] has no elements in 'x'; give every listed workload at least one "
        "element"
    )


def test_no_workloads(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace("[1 << 20, 999_999]", "[]"))
    assert (error.kind, error.line) == ("no-workloads", 6)
    assert error.message == "kernels.evolve.py:6: workloads() yields nothing; yield at least one workload"
    assert refused(bench, DOUBLE, 'entry = "double"\n').kind == "no-workloads"


def test_workload_of_another_type(bench: Bench) -> None:
    error = refused(
        bench,
        DOUBLE,
        DOUBLE_TASK.replace(
            '{"x": torch.randn(n, generator=gen, device=device)}\n\n\ndef ref', "torch.randn(n)\n\n\ndef ref"
        ),
    )
    assert (error.kind, error.line) == ("task-error", 8)
    assert error.message == (
        "kernels.evolve.py:8: a workload must return a dict of the entry's arguments, not a Tensor"
    )


def test_workload_that_is_no_function(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK.replace("    for n in", "    yield 5\n    for n in"))
    assert (error.kind, error.line) == ("task-error", 7)
    assert error.message == (
        "kernels.evolve.py:7: workloads() must yield functions of (gen, device); number 1 is a int"
    )


def test_argument_that_cannot_be_handed_over(bench: Bench) -> None:
    error = refused(
        bench, DOUBLE, DOUBLE_TASK.replace('{"x": torch.randn(n, gen', '{"k": {n}, "x": torch.randn(n, gen', 1)
    )
    assert (error.kind, error.line) == ("task-error", 8)
    assert error.message.startswith("kernels.evolve.py:8: 'k' is a set: use tensors, numbers")


@pytest.mark.parametrize("reference", ["x * 2.3 + torch.rand_like(x)", "next(COUNT) * x"])
def test_reference_that_gives_something_else_each_time(bench: Bench, reference: str) -> None:
    task = DOUBLE_TASK.replace("x * 2.3", reference).replace("import torch\n", "import torch, itertools\n", 1)
    error = refused(bench, DOUBLE, task.replace("def reference", "COUNT = itertools.count()\n\n\ndef reference"))
    assert (error.kind, error.line) == ("task-error", 14)
    assert error.message == (
        "kernels.evolve.py:14: reference() gives other results (out) when it is called again on the same inputs, so "
        "nothing can be held against it; draw what is random in workloads() and hand it over as an input"
    )


@pytest.mark.parametrize(
    ("policy", "accepted"), [("", False), ('precision = "tf32"\n', False), ('precision = "fast"\n', True)]
)
def test_the_tasks_policy_says_how_precise(bench: Bench, policy: str, accepted: bool) -> None:
    opened = bench.open(DOUBLE, policy + DOUBLE_TASK)
    rounds = DOUBLE.replace("    tl.store(", "    x = x.to(tl.bfloat16).to(tl.float32)\n    tl.store(", 1)
    assert rounds != DOUBLE
    observed = bench.judge(opened, rounds)
    assert observed.failure is None
    assert isinstance(judge_checks(observed.checks), Accepted) is accepted
    assert dict(observed.environment)["precision"] == (policy.partition('"')[2].partition('"')[0] or "strict")


def test_a_policy_that_there_is_not(bench: Bench) -> None:
    error = refused(bench, DOUBLE, 'precision = "fp8"\n' + DOUBLE_TASK)
    assert (error.kind, error.message) == (
        "task-error",
        "kernels.evolve.py: precision = 'fp8' is no policy; there are strict, tf32, fast",
    )
    error = refused(bench, DOUBLE, 'precision = "fast"\n' + DOUBLE_TASK.partition("def reference")[0])
    assert error.message.startswith("kernels.evolve.py:7: precision = 'fast' is measured by reference()")


LONG = "(1 << 64)"
COMPARED = "and those of up to 63 bits and a sign can be compared; return it as a float, a string or in parts"


@pytest.mark.parametrize(
    ("own", "reference", "who"),
    [("7", LONG, "reference()"), (LONG, "7", "the entry"), (LONG, LONG, "reference()")],
)
def test_integer_that_no_tensor_holds(bench: Bench, own: str, reference: str, who: str) -> None:
    source = DOUBLE.replace("return out", f"return out, {own}")
    error = refused(bench, source, DOUBLE_TASK.replace("return x * 2.3", f"return x * 2.3, {reference}"))
    assert (error.kind, error.line) == ("task-error", 11)
    assert error.message == f"kernels.evolve.py:11: {who} gives an integer of 65 bits for out[1], {COMPARED}"


def test_integer_that_cannot_be_written_down(bench: Bench) -> None:
    task = DOUBLE_TASK.replace('{"x": torch.randn(n, gen', '{"k": 10**5000, "x": torch.randn(n, gen', 1)
    error = refused(bench, DOUBLE.replace("def double(x)", "def double(x, k)"), task)
    assert (error.kind, error.line) == ("task-error", 8)
    said = "is an integer of 16610 bits, more than any kernel takes; use a smaller one"
    assert error.message == f"kernels.evolve.py:8: 'k' {said}"
    error = refused(bench, DOUBLE.replace("return out", "return out, 10**5000"), DOUBLE_TASK)
    assert error.message.startswith("kernels.py: your own kernel does not run on x=float32[")
    assert f"'out[1]' {said}" in error.message


@pytest.mark.parametrize("grid", ["1 << 63,", "1, 1 << 16", "10**5000,"])
def test_grid_that_no_gpu_takes(bench: Bench, grid: str) -> None:
    error = refused(bench, DOUBLE.replace("triton.cdiv(n, 256),", grid), DOUBLE_TASK)
    assert (error.kind, error.line) == ("task-error", 17)
    assert error.message.startswith(
        "kernels.py:17: your own double cannot be judged: double_kernel is launched with a larger grid than "
        "2147483647 × 65535 × 65535, the most that CUDA takes. "
    )


def test_missing_entry(bench: Bench) -> None:
    error = refused(bench, DOUBLE, DOUBLE_TASK, entry="triple")
    assert (error.kind, error.line) == ("task-error", 3)
    assert error.message == (
        "kernels.evolve.py:3: kernels.py has no function 'triple'; set `entry` to one that launches the kernels, "
        "then start again."
    )


def test_own_kernel_that_is_wrong(bench: Bench) -> None:
    error = refused(bench, DOUBLE.replace("0.3", "0.5"), DOUBLE_TASK)
    assert error.kind == "task-error"
    assert error.message.startswith("your kernel disagrees with reference() on x=float32[")
    assert error.message.endswith("Mend the one that is wrong, then start again.")


def test_own_kernel_that_does_not_compile(bench: Bench) -> None:
    error = refused(bench, DOUBLE.replace("tl.load(", "tl.laod("), DOUBLE_TASK)
    assert error.kind == "task-error" and error.line == 10
    assert error.file is not None and error.file.endswith("kernels.py")
    assert error.message.startswith("kernels.py:10: your own double cannot be judged: ")
    assert error.message.endswith("Mend it there, then start again.")


def test_own_kernel_that_exits(bench: Bench) -> None:
    error = refused(bench, DOUBLE.replace("    n = x.numel()", "    raise SystemExit(2)"), DOUBLE_TASK)
    assert error.line == 16 and error.message.startswith("kernels.py:16: your own double cannot be judged: ")
    assert "it called sys.exit(2)" in error.message


def test_own_kernel_that_crashes(bench: Bench) -> None:
    source = DOUBLE.replace(
        "    n = x.numel()",
        "    import ctypes, os\n    os.environ.get('TRITON_INTERPRET') and ctypes.string_at(0)\n    n = x.numel()",
    )
    error = refused(bench, source, DOUBLE_TASK)
    assert error.line == 17 and error.message.startswith("kernels.py:17: your own kernel does not run on x=float32[")
    assert "crashed with SIGSEGV" in error.message
    assert error.message.endswith("on your own with TRITON_INTERPRET=1 and mend what fails, then start again.")


def test_own_kernel_that_never_ends(bench: Bench) -> None:
    endless = DOUBLE.replace("    mask = offsets", "    i = n\n    while i > 0:\n        i += 0\n    mask = offsets")
    error = refused(bench, endless, DOUBLE_TASK)
    assert error.line in (10, 11) and error.message.startswith(f"kernels.py:{error.line}: your own kernel does not run")
    assert "did not finish in 30.0 s of processor time in Triton's interpreter" in error.message
    assert error.message.endswith("or give the task smaller workloads (domain(rng)), then start again.")


def test_own_kernel_out_of_bounds(bench: Bench) -> None:
    error = refused(bench, DOUBLE.replace("tl.store(out_ptr + offsets", "tl.store(out_ptr + 1 + offsets"), DOUBLE_TASK)
    assert error.line == 11 and error.message.startswith("kernels.py:11: your own kernel does not run on")
    assert error.message.endswith("Mask that access, or hand it a tensor that is large enough, then start again.")


def test_late_binding_closures_mean_what_they_look_like(bench: Bench) -> None:
    opened = bench.open(DOUBLE, DOUBLE_TASK.replace("lambda gen, device, n=n:", "lambda gen, device:"))
    assert [one.label for one in opened.workloads if one.is_timed] == ["x=float32[1048576]", "x=float32[999999]"]
    assert {one.origin for one in opened.workloads if not one.is_timed} == {"derived", "domain"}


IN_PLACE = DOUBLE.replace("    out = torch.empty_like(x)\n", "").replace(
    "(x, out, n, BLOCK=256)\n    return out", "(x, x, n, BLOCK=256)"
)


@pytest.mark.parametrize("reference", ["    return x * 2.3", "    x.mul_(2.3)"])
def test_entry_that_works_in_place(bench: Bench, reference: str) -> None:
    opened = bench.open(IN_PLACE, DOUBLE_TASK.replace("    return x * 2.3", reference))
    right = bench.judge(opened, IN_PLACE.replace("256", "128"))
    assert right.checks and all(o.max_error <= 2 * o.native_max for c in right.checks for o in c.outputs)
    assert all(check.inputs_changed == () for check in right.checks)
    wrong = bench.judge(opened, IN_PLACE.replace("0.3", "0.5"))
    assert all(o.max_error > 1000 * o.native_max for c in wrong.checks for o in c.outputs)


def test_task_without_a_reference_uses_the_kernel_on_wider_inputs(bench: Bench) -> None:
    task = DOUBLE_TASK.replace("def reference(x):\n    return x * 2.3\n", "")
    opened = bench.open(DOUBLE, task)
    outputs = [output for check in opened.baseline.checks for output in check.outputs]
    assert outputs and all(0 < output.native_max < 1e-6 * output.max_abs_truth for output in outputs)


PACKAGE_KERNEL = (
    DOUBLE.replace("import triton.language as tl\n", "import triton.language as tl\n\nfrom .factor import HALF\n")
    .replace("x * 2 + x * 0.3", "x * 2 + x * FACTOR")
    .replace("    n = x.numel()", "    n = x.numel()\n    assert HALF == 0.15")
    .replace("@triton.jit", "FACTOR = tl.constexpr(0.3)\n\n\n@triton.jit")
)


def test_file_inside_a_package_keeps_its_relative_imports(bench: Bench, tmp_path: Path) -> None:
    package = tmp_path / "ops" / "fused"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "factor.py").write_text("HALF = 0.15\n")
    (package / "kernels.py").write_text(PACKAGE_KERNEL)
    (package / "kernels.evolve.py").write_text(DOUBLE_TASK)
    task = as_task(package / "kernels.py", package / "kernels.evolve.py", "double")
    opened = bench.host.open(task, PACKAGE_KERNEL, "no-gpu")
    observed = bench.judge(opened, PACKAGE_KERNEL.replace("256", "64"))
    assert observed.failure is None and {c.outcome for c in observed.checks} == {Outcome.COMPARED}


def test_values_other_than_tensors(bench: Bench) -> None:
    source = DOUBLE.replace("def double(x):", "def double(x, kind=None, sizes=(), name=None):").replace(
        "    n = x.numel()",
        "    assert kind is torch.float32 and sizes == (1, [2.5, True]) and name is None\n    n = x.numel()",
    )
    task = DOUBLE_TASK.replace(
        "device=device)}", 'device=device), "kind": torch.float32, "sizes": (1, [2.5, True]), "name": None}'
    )
    task = task.replace("def reference(x):", "def reference(x, kind, sizes, name):")
    opened = bench.open(source, task)
    assert bench.judge(opened, source).failure is None


EXAMPLE_NAMES = sorted(file.name.partition(".")[0] for file in EXAMPLES.glob("*.evolve.py"))


@pytest.mark.parametrize("name", [name for name in EXAMPLE_NAMES if (EXAMPLES / f"{name}.py").exists()])
def test_example_opens_and_its_own_source_is_correct(bench: Bench, name: str) -> None:
    opened = bench.open_example(name)
    assert opened.notes == ()
    observed = bench.host.judge(opened, "same", opened.source, Stage.SCREENING, 120.0)
    assert observed.failure is None
    assert {check.outcome for check in observed.checks} == {Outcome.COMPARED}
    assert {launch.workload for launch in observed.launches} == {profile.workload for profile in observed.work}


def start(python: Path, folder: Path) -> JudgeHost:
    with (folder / "log").open("wb") as log:
        return JudgeHost.start(python, folder / "spool", "sm_90", 1, log)


def test_interpreter_without_torch(tmp_path: Path) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    host = start(python, tmp_path)
    assert [missing.what for missing in host.info.missing][:2] == ["torch", "triton"]
    assert host.info.missing[0].message == (
        f"torch is not installed in {python}. Install it there ({python} -m pip install torch), or choose the "
        "interpreter that has it: --python, the setting kernelEvolve.python, [tool.kernel-evolve] python in "
        "pyproject.toml, or VIRTUAL_ENV."
    )
    (tmp_path / "k.evolve.py").write_text(DOUBLE_TASK)
    task = Task(tmp_path / "k.evolve.py", tmp_path / "k.py", TaskKind.ENTRY, "double", (), True, True)
    with pytest.raises(HostError) as caught:
        host.open(task, DOUBLE, "no-gpu")
    assert caught.value.kind == "missing-torch"
    host.close()


@pytest.mark.parametrize(
    ("triton", "said"),
    [
        (None, "triton is not installed in {python}. Install it there ({python} -m pip install triton), or choose"),
        ("import no_such_library\n", "triton in {python} does not import: ModuleNotFoundError: No module named"),
    ],
    ids=["missing", "broken"],
)
def test_interpreter_with_torch_and_without_triton(tmp_path: Path, triton: str | None, said: str) -> None:
    import venv

    import torch

    venv.create(tmp_path / "half", with_pip=False, symlinks=True)
    python = tmp_path / "half" / "bin" / "python"
    site = next((tmp_path / "half" / "lib").glob("python3*/site-packages"))
    for entry in Path(torch.__file__).parents[1].iterdir():
        if not entry.name.startswith("triton") and entry.suffix != ".pth" and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry)
    if triton:
        (site / "triton.py").write_text(triton)
    host = start(python, tmp_path)
    host.close()
    (missing,) = host.info.missing
    assert host.info.torch and missing.what == "triton"
    assert missing.message.startswith(said.format(python=python)) and "VIRTUAL_ENV" in missing.message


def test_interpreter_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        start(tmp_path / "no" / "python", tmp_path)
    assert caught.value.kind == "missing-python"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "it ended with exit code 3."),
        ("echo no such option >&2; exit 2", 'it ended with exit code 2 and said "no such option".'),
        ("kill -9 $$", "it ended with SIGKILL."),
        ("kill -35 $$", "it ended with signal 35."),
        ("echo Hello; cat >/dev/null", 'it runs on and said "Hello".'),
        ("echo 5", 'it ended with exit code 0 and said "5".'),
    ],
)
def test_interpreter_that_is_no_python(tmp_path: Path, script: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(HostDied) as caught:
        start(python, tmp_path)
    assert str(caught.value) == (
        f"{python} did not start the judge host: {said} Its output is in {tmp_path / 'log'}. "
        "If that is no Python, or too old a one, name another with --python, or the setting kernelEvolve.python in an "
        "editor."
    )


def test_interpreter_that_is_no_program(tmp_path: Path) -> None:
    text = tmp_path / "python"
    text.write_text("no program\n")
    text.chmod(0o755)
    with pytest.raises(HostError) as caught:
        start(text, tmp_path)
    assert str(caught.value) == (
        f"{text} cannot be started (Exec format error). Name another interpreter with --python, or the setting "
        "kernelEvolve.python in an editor."
    )


def test_secrets_do_not_reach_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    source = DOUBLE.replace(
        "def double(x):", "import os\nassert 'ANTHROPIC_API_KEY' not in os.environ\n\n\ndef double(x):"
    )
    with Bench(tmp_path) as bench:
        assert bench.open(source, DOUBLE_TASK).baseline.failure is None
    assert b"sk-secret" not in bench.log_file.read_bytes()


def test_host_of_this_interpreter_says_what_it_has(bench: Bench) -> None:
    info = bench.host.info
    assert info.missing == ()
    assert Path(info.executable) == PYTHON and info.python.startswith("3.")
    assert info.torch and info.triton
    assert set(info.sandbox) >= {"namespaces", "network_off", "read_only_files"}
    assert info.sanitizer is None or Path(info.sanitizer).name == "compute-sanitizer"
