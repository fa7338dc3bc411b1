"""Whether tolerances have teeth, on the real host: tasks that hide wrong kernels, and odd ones that hide none."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, EXAMPLES, PYTHON, Bench, as_task

from evolve_core.judge.evidence import read_evidence, unsupported
from evolve_core.judge.session import JudgeRefused, TaskJudge
from evolve_core.judge.teeth import State, Teeth, decide, refusal, warnings
from evolve_core.judge.verdict import Correctness, Stage
from evolve_core.task.model import Task, TaskKind


def teeth_of(bench: Bench, source: str, task: str) -> Teeth:
    opened = bench.open(source, task, teeth=True)
    assert opened.teeth is not None and opened.teeth.why_not == ""
    return decide(opened.teeth)


def states(teeth: Teeth) -> dict[str, State]:
    return {tooth.mutant: tooth.state for tooth in teeth.teeth}


def test_a_task_with_teeth(bench: Bench) -> None:
    teeth = teeth_of(bench, DOUBLE, DOUBLE_TASK)
    assert teeth.missed == () and warnings(teeth) == () and not teeth.stand_in
    assert {name for name, state in states(teeth).items() if state is State.LEFT_OUT} == {"eps dropped"}


ALIKE = DOUBLE_TASK.replace("torch.randn(n, generator=gen, device=device)", "torch.zeros(n, device=device)")


def test_the_own_kernel_runs_from_the_other_end(bench: Bench) -> None:
    opened = bench.open(DOUBLE, DOUBLE_TASK, teeth=True)
    assert opened.teeth is not None
    (turned,) = [one for one in opened.teeth.honest if one.name == "your kernel, from the other end"]
    (output,) = turned.check.outputs
    # Each element by itself: the same bits, in the right places again.
    assert output.max_error == output.native_max and output.n >= 1024


def test_values_that_are_all_alike_hide_wrong_kernels(bench: Bench) -> None:
    teeth = teeth_of(bench, DOUBLE, ALIKE)
    assert {tooth.mutant for tooth in teeth.missed} >= {"constant mean", "two rows swapped"}
    assert "draw inputs" in refusal(teeth)


def test_integers_that_are_all_alike_hide_wrong_kernels(bench: Bench) -> None:
    whole = DOUBLE.replace("x * 2 + x * 0.3", "x * 3")
    task = DOUBLE_TASK.replace("x * 2.3", "x * 3").replace(
        "torch.randn(n, generator=gen, device=device)", "torch.ones(n, dtype=torch.int32, device=device)"
    )
    teeth = teeth_of(bench, whole, task)
    assert {tooth.mutant for tooth in teeth.missed} == {"two rows swapped"}
    found = states(teeth)
    assert found["zeros"] is State.CAUGHT and found["times 1.005"] is State.LEFT_OUT


def test_integers_need_neither_mean_nor_factor(bench: Bench) -> None:
    whole = DOUBLE.replace("x * 2 + x * 0.3", "x * 3")
    task = DOUBLE_TASK.replace("x * 2.3", "x * 3").replace(
        "torch.randn(n, generator=gen, device=device)",
        "torch.randint(-90, 90, (n,), generator=gen, device=device, dtype=torch.int32)",
    )
    teeth = teeth_of(bench, whole, task)
    assert teeth.missed == () and teeth.ignored == ()
    found = states(teeth)
    assert all(found[name] is State.CAUGHT for name in ("zeros", "two rows swapped", "last 1 % dropped"))
    assert all(found[name] is State.LEFT_OUT for name in ("times 1.005", "constant mean", "inputs in fp16"))


def test_a_copy_is_its_input_and_has_teeth(bench: Bench) -> None:
    copy = DOUBLE.replace("x * 2 + x * 0.3", "x")
    teeth = teeth_of(bench, copy, DOUBLE_TASK.replace("return x * 2.3", "return x.clone()"))
    assert teeth.missed == () and states(teeth)["input passed through"] is State.LEFT_OUT
    assert states(teeth)["inputs in tf32"] is State.CAUGHT


def test_an_input_that_never_matters_is_named(bench: Bench) -> None:
    source = DOUBLE.replace("def double(x):", "def double(x, bias):")
    task = DOUBLE_TASK.replace("def reference(x):", "def reference(x, bias):").replace(
        "device=device)}", 'device=device), "bias": torch.ones(3, device=device)}'
    )
    teeth = teeth_of(bench, source, task)
    assert teeth.ignored == ("bias",) and teeth.missed == ()
    assert warnings(teeth)[0].startswith("input bias never moves reference()")


def test_none_among_the_outputs(bench: Bench) -> None:
    source = DOUBLE.replace("    return out", "    return None, out, None")
    opened = bench.open(source, DOUBLE_TASK.replace("return x * 2.3", "return None, x * 2.3, None"), teeth=True)
    assert opened.teeth is not None
    teeth = decide(opened.teeth)
    assert teeth.missed == () and {tooth.output for tooth in teeth.teeth} == {"out[1]", ""}
    right = bench.judge(opened, source.replace("256", "128"))
    assert right.checks and all(output.type_ok for check in right.checks for output in check.outputs)
    for wrong in ("return None, None, out", "return out, out, None", "return None, out, out"):
        said = bench.judge(opened, source.replace("return None, out, None", wrong))
        assert all(not all(output.type_ok for output in check.outputs) for check in said.checks)


def test_an_entry_that_works_in_place(bench: Bench) -> None:
    source = DOUBLE.replace("    out = torch.empty_like(x)\n", "").replace(
        "(x, out, n, BLOCK=256)\n    return out", "(x, x, n, BLOCK=256)"
    )
    teeth = teeth_of(bench, source, DOUBLE_TASK.replace("return x * 2.3", "x.mul_(2.3)"))
    assert teeth.missed == () and teeth.ignored == ()
    assert states(teeth)["input passed through"] is State.CAUGHT


def test_without_a_reference_the_outputs_mutants_are_tried(bench: Bench) -> None:
    teeth = teeth_of(bench, DOUBLE, DOUBLE_TASK.replace("def reference(x):\n    return x * 2.3\n", ""))
    assert teeth.missed == () and states(teeth)["times 1.005"] is State.CAUGHT
    assert states(teeth)["last 1 % dropped"] is State.LEFT_OUT


def test_a_reference_that_crashes_on_other_inputs_does_not_stop_the_task(bench: Bench) -> None:
    fragile = "    import ctypes\n    if x[-1] == 0 or len(x) % 16 not in SEEN: ctypes.string_at(0)\n    return x * 2.3"
    task = DOUBLE_TASK.replace("    return x * 2.3", fragile).replace(
        'entry = "double"', 'entry = "double"\nSEEN = (0, 15, 7)'
    )
    opened = bench.open(DOUBLE, task.partition("def domain")[0], teeth=True)
    assert opened.teeth is not None and "SIGSEGV" in opened.teeth.why_not
    assert "could not be looked at in full" in warnings(decide(opened.teeth))[0]


def opened_cuda(bench: Bench, folder: Path, task: str) -> Teeth:
    (folder / "saxpy.evolve.py").write_text(task)
    source = (EXAMPLES / "saxpy.cu").read_text()
    cuda = Task(folder / "saxpy.evolve.py", folder / "saxpy.cu", TaskKind.LAUNCHES, "", ("saxpy",), True, True)
    opened = bench.host.open(cuda, source, "no-gpu", teeth=True)
    assert opened.teeth is not None
    return decide(opened.teeth)


SAXPY_TASK = (EXAMPLES / "saxpy.evolve.py").read_text()


def test_the_reference_stands_in_for_a_kernel_that_does_not_run_here(bench: Bench, tmp_path: Path) -> None:
    teeth = opened_cuda(bench, tmp_path, SAXPY_TASK)
    assert teeth.stand_in and teeth.missed == () and warnings(teeth) == ()
    assert states(teeth)["times 1.005"] is State.CAUGHT


def test_inputs_that_a_cpu_cannot_hold_do_not_stop_the_task(bench: Bench, tmp_path: Path) -> None:
    shapes_only = SAXPY_TASK.replace(
        "    return {", "    assert type(torch.empty(n)).__name__ == 'FakeTensor', 'no such memory'\n    return {", 1
    )
    (said,) = warnings(opened_cuda(bench, tmp_path, shapes_only))
    assert "could not be looked at in full" in said and "no such memory" in said


def test_nothing_stands_in_where_there_is_no_reference(bench: Bench, tmp_path: Path) -> None:
    without = SAXPY_TASK.replace("def reference(", "def unused(")
    (said,) = warnings(opened_cuda(bench, tmp_path, without))
    assert "no reference() could stand in for it" in said


# -- at the door of a task -------------------------------------------------------------------------------------------


def written(folder: Path, task: str) -> None:
    (folder / "kernels.py").write_text(DOUBLE)
    (folder / "kernels.evolve.py").write_text(task)


def judge_in(folder: Path, teeth: Path | None = None) -> TaskJudge:
    task = as_task(folder / "kernels.py", folder / "kernels.evolve.py", "double")
    with (folder / "log").open("ab") as log:
        return TaskJudge.open(
            task, DOUBLE, python=PYTHON, spool=folder / "spool", target="sm_90", workers=2, log=log, teeth=teeth
        )


def test_a_task_without_teeth_is_refused_at_its_line(tmp_path: Path) -> None:
    written(tmp_path, ALIKE)
    with pytest.raises(JudgeRefused) as caught:
        judge_in(tmp_path)
    assert str(caught.value).startswith("kernels.evolve.py:6: unverified: this tolerance has no teeth.")


def test_the_evidence_says_what_was_caught_and_is_looked_at_once(tmp_path: Path) -> None:
    written(tmp_path, DOUBLE_TASK)
    store = tmp_path / "teeth"
    with closing(judge_in(tmp_path, store)) as judge:
        judgement = judge.submit("c", DOUBLE.replace("256", "128"), Stage.SCREENING).result()
        found = judge.teeth
    assert judgement.verdict.correctness is Correctness.CORRECT
    evidence = tmp_path / "evidence.json"
    evidence.write_text(json.dumps(judgement.evidence))
    record = read_evidence(evidence)
    assert record.teeth == found and unsupported(record) == ""
    (kept,) = store.iterdir()
    stamp = kept.stat().st_mtime_ns
    with closing(judge_in(tmp_path, store)) as judge:
        assert judge.teeth == found
    assert kept.stat().st_mtime_ns == stamp
