"""What can be said of the CUDA candidates without a GPU: which are refused, and that the others are what they claim."""

from __future__ import annotations

import pytest

from evolve_core.judge.host.gpu.cuda_compiler import CudaCompileError, compile_cubin
from evolve_core.judge.verdict import Correctness
from tests.judge.redteam.exploits_cuda import INCLUDES_ENVIRONMENT
from tests.judge.redteam.model import Exploit, Honest
from tests.judge.redteam.suite import CUDA, Suite
from tests.judge.redteam.tasks_cuda import CUDA_VICTIMS


@pytest.mark.parametrize("candidate", [pytest.param(one, id=one.name) for one in CUDA if one.needs_gpu])
def test_what_only_a_device_shows_compiles_and_has_a_plan(suite: Suite, candidate: Exploit | Honest) -> None:
    """Otherwise it would be turned away there for something else than what it stands for."""
    opened = suite.opened(candidate.task)
    observed = suite.bench.judge(opened, candidate.source)
    assert observed.failure is None, observed.failure
    plans = observed.raw["plans"]
    assert len(plans) == sum(one.is_timed for one in opened.workloads) == 2
    assert all("plan" in one for one in plans.values()), plans
    assert suite.verdict(candidate).correctness is Correctness.UNVERIFIED


@pytest.mark.parametrize("victim", CUDA_VICTIMS)
def test_the_victims_themselves_have_plans(suite: Suite, victim: str) -> None:
    opened = suite.opened(victim)
    assert [one["kernel"] for one in opened.baseline.raw["launches"]] == [victim] * 2
    assert all("plan" in one for one in opened.baseline.raw["plans"].values())


def test_a_file_that_is_hidden_cannot_be_included(suite: Suite) -> None:
    """Not even asked for; outside the sandbox the same text finds it."""
    suite.opened("scale")
    hidden = next((suite.bench.folder / "spool").rglob("outputs-*.bin"))
    source = f'#if __has_include("{hidden}")\n#error found\n#endif\n{CUDA_VICTIMS["cuda_scale"].source}'
    with pytest.raises(CudaCompileError, match="found"):
        compile_cubin(source, "kernels.cu", "sm_90")
    assert suite.bench.judge(suite.opened("cuda_scale"), source).failure is None


def test_what_is_included_is_not_told_to_whoever_wrote_it(suite: Suite) -> None:
    """A compiler shows the line that it stumbles over."""
    failure = suite.bench.judge(suite.opened("cuda_scale"), INCLUDES_ENVIRONMENT).failure
    assert failure is not None
    assert "=" not in failure.message, failure.message
