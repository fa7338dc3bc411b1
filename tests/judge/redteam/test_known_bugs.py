"""Bugs that were found in public harnesses; each test would fail if ours had it."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evolve_core.judge.correctness import Accepted, Rejected, judge_check, judge_checks
from evolve_core.judge.host.compare import compare_outputs
from evolve_core.judge.host.gpu import cuda_compiler
from evolve_core.judge.host.gpu.job import GpuJob
from evolve_core.judge.observation import Check, Outcome, OutputCheck, parse_observation
from evolve_core.judge.timing import Samples, measure
from evolve_core.judge.verdict import Correctness, Failure, Stage
from tests.judge.redteam.honest_kernels import DEVICE_ASSERT
from tests.judge.redteam.model import Exploit, Honest, edited
from tests.judge.redteam.suite import Suite
from tests.judge.redteam.tasks import VICTIMS
from tests.unit.judge.test_gpu_rounds import double, judged

SCALE = VICTIMS["scale"]


def check(*rows: dict[str, Any]) -> Check:
    return Check("w0", 7, "nan", Outcome.COMPARED, "", (), tuple(OutputCheck(**row) for row in rows), ())


def checks_of(seen: dict[str, Any]) -> tuple[Check, ...]:
    """What the runner makes of a device's observation."""
    return parse_observation({"kernels": [], "launches": [], "work": [], **seen}).checks


# -- reference and candidate executed in one namespace, so that ``N = 16`` shrinks the reference's inputs


def test_names_of_a_candidate_are_not_the_tasks(suite: Suite) -> None:
    text = edited(SCALE.task, ('entry = "scale"\n', 'entry = "scale"\nN = 2048\n'), ("[4194304, 3999999]", "[N]"))
    opened = suite.bench.open(SCALE.source, text, "scale")
    first_16 = edited(
        SCALE.source, ("import torch\n", "import torch\nN = 16\n"), ("    n = x.numel()\n", "    n = N\n")
    )
    observed = suite.bench.judge(opened, first_16)
    assert observed.failure is None, observed.failure
    sizes = {output.n for seen in observed.checks for output in seen.outputs}
    assert 2048 in sizes and 16 not in sizes
    assert isinstance(judge_checks(observed.checks), Rejected) or observed.checks[-1].outcome is not Outcome.COMPARED


# -- only the last of N timed outputs checked; timed outputs never checked


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_every_timed_output_counts(job: GpuJob, wrong: int) -> None:
    """A plain ``torch.empty`` is how a candidate tells that it is timed and no longer checked."""
    calls: list[int] = []

    def candidate(x: torch.Tensor) -> torch.Tensor:
        timed = type(torch.empty).__name__ == "builtin_function_or_method"
        if timed:
            calls.append(len(calls))
        # Three calls warm up before the four timed ones.
        return double(x) + (1 if timed and len(calls) == 4 + wrong else 0)

    checks = checks_of(judged(job, candidate))
    assert len([one for one in checks if one.poison == "None"]) == 4
    result = judge_checks(checks)
    assert isinstance(result, Rejected)
    assert result.check is not None and result.check.poison == "None"


# -- an allclose wrapper that drops the tolerances handed to it


@pytest.mark.parametrize("power", [-60, -20, 0, 20, 60])
def test_limits_are_the_users_kernels_at_every_magnitude(power: int) -> None:
    """The same relative error, from 1e-18 to 1e18: an absolute tolerance of anybody's would show here."""
    truth = torch.randn(4096, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2.0**power
    sign = torch.where(torch.arange(4096) % 2 == 0, 1.0, -1.0)

    def with_error(relative: float) -> torch.Tensor:
        return (truth * (1 + relative * sign)).float()

    def verdict(own: float, candidate: float) -> object:
        rows = compare_outputs([("out", with_error(candidate))], [("out", truth)], [("out", with_error(own))], True)
        return judge_check(check(*rows))

    assert isinstance(verdict(1e-4, 1.5e-4), Accepted)
    assert isinstance(verdict(1e-5, 1.5e-4), Rejected)
    assert isinstance(verdict(1e-6, 1e-5), Rejected)


# -- a zip comparison that accepts a truncated tuple


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_outputs_as_the_users_kernel_has(count: int) -> None:
    right = [(f"out[{index}]", torch.randn(300)) for index in range(3)]
    rows = compare_outputs(right[:count], right[:2], right[:2], True)
    result = judge_checks([check(*rows)])
    assert isinstance(result, Rejected)
    assert result.cheating


def test_a_truncated_tuple_of_a_real_kernel(suite: Suite) -> None:
    source = edited(SCALE.source, ("    return out", "    return out, x + 1"))
    task = edited(SCALE.task, ("    return x * 2.3", "    return x * 2.3, x + 1"))
    opened = suite.bench.open(source, task, "scale")
    for ending in ("return out,", "return out", "return [out]"):
        observed = suite.bench.judge(opened, edited(SCALE.source, ("return out", ending)))
        assert observed.failure is None
        result = judge_checks(observed.checks)
        assert isinstance(result, Rejected), ending


# -- the candidate first, on inputs that are not cloned, so that zeroing them passes


def test_zeroed_inputs_do_not_zero_the_truth(suite: Suite) -> None:
    zeroing = edited(SCALE.source, ("    return out", "    x.zero_()\n    out.zero_()\n    return out"))
    verdict = suite.verdict(Exploit("", "", "scale", zeroing))
    assert verdict.correctness is Correctness.WRONG


def test_zeroed_inputs_do_not_reach_the_users_kernel(job: GpuJob) -> None:
    """Whichever of the two runs first in a timed pair."""
    checks = checks_of(judged(job, lambda x: x.zero_().clone(), pairs=8))
    assert all(output.native_max == 0.0 and output.max_abs_truth for one in checks for output in one.outputs)
    assert isinstance(judge_checks(checks), Rejected)


# -- a debug flag in the measured build

_DEBUG = {"-G", "-g", "--device-debug", "--debug", "-O0", "--dopt=off", "-Xptxas=-O0", "-O1"}


def test_neither_cuda_compiler_is_asked_for_a_debug_build(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def nvrtc(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["options"])
        return {"loaded": False}

    def nvcc(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=1, stderr="no", stdout="")

    monkeypatch.setattr(cuda_compiler, "_in_own_process", nvrtc)
    monkeypatch.setattr(cuda_compiler.shutil, "which", lambda name: f"/somewhere/{name}")
    monkeypatch.setattr(subprocess, "run", nvcc)
    with pytest.raises(cuda_compiler.CudaCompileError):
        cuda_compiler.compile_cubin("__global__ void k() {}", "k.cu", "9.0")
    assert len(asked) == 2
    assert not any(set(options) & _DEBUG for options in asked)


def test_a_device_assertion_costs_nothing_in_the_measured_build(suite: Suite) -> None:
    """Triton's own debug option: assertions are checked in the interpreter and left out of what is compiled."""
    observed = suite.bench.judge(suite.opened("scale"), DEVICE_ASSERT)
    own = suite.opened("scale").baseline
    assert [facts.instructions for facts in observed.kernels] == [facts.instructions for facts in own.kernels]


# -- a mean where a median is said


def samples(baseline: list[float], candidate: list[float], workload: str = "w0") -> Samples:
    return Samples(workload, 0, tuple(baseline), tuple(candidate), empty_ns=1000.0)


def test_one_interrupted_call_moves_nothing() -> None:
    slow, fast = [2e4] * 14 + [5e8], [1e4] * 15
    for pair, ratio in ((samples(slow, fast), 2.0), (samples(fast, slow), 0.5)):
        found = measure([pair], stage=Stage.SCREENING, labels={}, weights={})
        assert found.ratio == pytest.approx(ratio)
        assert {found.workloads[0].baseline_us, found.workloads[0].candidate_us} == {10.0, 20.0}


# -- aggregation: a time that underflows to nothing, one shape that dominates a mean


@pytest.mark.parametrize("time_ns", [0.0, 1e-300, -5.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_no_speedup(time_ns: float) -> None:
    """The process that times runs a candidate's code, and may say what it likes."""
    found = measure([samples([2e4] * 15, [time_ns] * 15)], stage=Stage.SCREENING, labels={}, weights={})
    assert found.failure is Failure.IMPOSSIBLE
    assert found.ratio is None


def test_one_shape_does_not_hide_another() -> None:
    both = [samples([1e6] * 15, [1e4] * 15), samples([1e4] * 15, [2e4] * 15, "w1")]
    found = measure(both, stage=Stage.SCREENING, labels={}, weights={})
    assert found.ratio == pytest.approx(50**0.5)  # of 100 and 1/2: geometric, where a mean of ratios says 50
    assert found.worst_ratio == pytest.approx(0.5)


def test_the_suite_would_notice(suite: Suite) -> None:
    """The candidates above fail for what they do: the same edits without the bug are correct."""
    harmless = edited(SCALE.source, ("import torch\n", "import torch\nN = 16\n"))
    assert suite.verdict(Honest("", "", "scale", harmless)).correctness is Correctness.CORRECT
