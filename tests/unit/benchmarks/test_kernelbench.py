"""The comparison with KernelBench's evaluator, with an evaluator that needs no GPU in its place."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from benchmarks.judging.candidates import EXAMPLES, PRECISION, source_of, variants
from benchmarks.judging.kernelbench import CORRECT_TRIALS, an_hour, evaluated

EVALUATOR = """
from openai import OpenAI
import torch
from types import SimpleNamespace

def eval_kernel_against_ref(original, custom, num_correct_trials, num_perf_trials, measure_performance, device,
                            backend, precision):
    print("evaluators talk")
    context = {}
    exec(original, context)
    assert context["Model"]() and context["get_init_inputs"]() == [] and callable(context["get_inputs"])
    assert (num_correct_trials, measure_performance, backend) == (TRIALS, True, "triton")
    if "maxnreg=255" in custom:
        return None
    compile(custom, "candidate", "exec")
    correct = "class ModelNew" in custom and precision is torch.float32 and device.type == "cuda"
    return SimpleNamespace(compiled=True, correctness=correct)
"""


def checkout(folder: Path, text: str) -> Path:
    (folder / "src" / "kernelbench").mkdir(parents=True)
    (folder / "src" / "kernelbench" / "__init__.py").touch()
    (folder / "src" / "kernelbench" / "eval.py").write_text(text)
    return folder


def test_every_candidate_is_a_problem_of_its_own_form(tmp_path: Path) -> None:
    place = checkout(tmp_path, EVALUATOR.replace("TRIALS", str(CORRECT_TRIALS)))
    sources = [source_of("softmax"), next(one for one in variants("softmax") if "maxnreg=255" in one)]
    rows = evaluated(place, EXAMPLES / "softmax.evolve.py", "softmax", sources, PRECISION["softmax"])
    assert [(row.compiled, row.correct) for row in rows] == [(True, True), (False, False)]
    assert an_hour(rows) == pytest.approx(3600 * 2 / sum(row.seconds for row in rows))


def test_a_folder_without_the_evaluator_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"kernelbench.* give its checkout's folder") as refused:
        evaluated(tmp_path, EXAMPLES / "softmax.evolve.py", "softmax", [], "float32")
    assert str(tmp_path) in refused.value.message
