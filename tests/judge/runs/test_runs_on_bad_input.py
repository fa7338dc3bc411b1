"""Each kind of bad input ends in one clear message that names the cause and the next step, in the run's reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evolve_core.journal.model import RunState

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SOFTMAX = (EXAMPLES / "softmax.py").read_text()
TASK = (EXAMPLES / "softmax.evolve.py").read_text()
LISTED = "[(4096, 1024), (8192, 781), (65536, 128)]"

ENDLESS = SOFTMAX.replace(
    "    row = tl.program_id(0)\n", "    row = tl.program_id(0)\n    while row >= 0:\n        row += 0\n"
)
SEGFAULT = SOFTMAX.replace(
    "    n_rows, n_cols = x.shape\n", "    import ctypes\n    ctypes.string_at(0)\n    n_rows, n_cols = x.shape\n"
)


@pytest.mark.parametrize(
    ("source", "task", "fragments"),
    [
        pytest.param("", "raise ValueError('no data')\n" + TASK, ("no data", "softmax.evolve.py"), id="task raises"),
        pytest.param("", TASK.replace(LISTED, "[(0, 16)]"), ("no elements in 'x'",), id="empty"),
        pytest.param("", TASK.replace(LISTED, "[]"), ("workloads()",), id="no workloads"),
        pytest.param(ENDLESS, "", ("did not finish",), id="never terminates"),
        pytest.param(SEGFAULT, "", ("softmax",), id="segfault"),
        pytest.param(SOFTMAX.replace("tl.exp(x)", "tl.exp(x) + 1"), "", ("reference",), id="wrong already"),
        pytest.param("import nowhere_to_be_found\n" + SOFTMAX, "", ("nowhere_to_be_found",), id="source raises"),
    ],
)  # fmt: skip
def test_the_reason_names_the_cause(evolve, source, task, fragments):
    ended = evolve("softmax", "--budget", "2c", source=source, task=task)
    assert ended.run is not None and ended.run.state is RunState.FAILED, ended
    assert ended.returncode == 2
    print(ended.run.reason)
    for fragment in fragments:
        assert fragment in ended.run.reason
    assert "Traceback" not in ended.run.reason and len(ended.run.reason) < 1000
    assert ended.candidates == ()


def test_nothing_to_check_is_said_before_the_budget_is_spent(evolve):
    task = (
        TASK.replace(LISTED, "[(1 << 20, 1024)]")
        .replace("rows=rows, cols=cols:", ":")
        .replace("torch.randn(rows, cols,", "torch.randn(1 << 20, 1024,")
    )
    ended = evolve("softmax", "--budget", "2c", task=task.partition("def domain")[0])
    assert ended.run is not None and ended.run.state is RunState.FAILED and ended.candidates == ()
    assert "add domain(rng) with small sizes to softmax.evolve.py" in ended.run.reason


def test_inputs_that_nobody_filled_in_are_named_before_the_kernel(evolve):
    task = TASK.replace('{"x": torch.randn(', '{"x": torch.zeros(3), "y": torch.randn(')
    ended = evolve("softmax", "--budget", "2c", task=f"# guessed: nothing tells its shape\n{task}")
    assert ended.run is not None and ended.run.state is RunState.FAILED
    assert "some are still the skeleton's guesses (softmax.evolve.py, line 1)" in ended.run.reason


def test_an_interpreter_without_torch(evolve, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    ended = evolve("softmax", "--budget", "2c", "--python", str(bare / "bin" / "python"))
    assert ended.run is not None and ended.run.state is RunState.FAILED
    assert "torch" in ended.run.reason and str(bare) in ended.run.reason, ended.run.reason


def test_an_interpreter_that_is_no_python(evolve, tmp_path):
    ended = evolve("softmax", "--budget", "2c", "--python", "/bin/false")
    assert ended.run is not None and ended.run.state is RunState.FAILED
    log = tmp_path / ".kernel-evolve" / "logs" / "r1.log"
    assert log.exists() and ended.run.reason == (
        "/bin/false did not start the judge host: it ended with exit code 1. "
        f"Its output is in {log}. If that is no Python, or too old a one, name another with --python, or the setting "
        "kernelEvolve.python in an editor."
    )


def test_an_interpreter_that_may_not_be_executed(evolve, tmp_path):
    text = tmp_path / "python"
    text.write_text("print('hello')\n")
    ended = evolve("softmax", "--budget", "2c", "--python", str(text))
    assert ended.returncode == 2 and ended.run is None
    assert f"cannot be used: {text} is not executable. Name another with --python" in ended.stderr


def test_a_proposer_that_does_not_exist(evolve):
    ended = evolve("softmax", "--proposers", "magic")
    assert ended.returncode == 2 and ended.run is None
    assert "no proposer is called 'magic'; there are tune, rewrite, transplant, model." in ended.stderr


def test_a_target_that_does_not_exist(evolve):
    ended = evolve("softmax", "--target", "sm_1")
    assert ended.returncode == 2 and ended.run is None
    assert "sm_1" in ended.stderr and "sm_90" in ended.stderr
