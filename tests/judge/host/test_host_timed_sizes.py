"""Without a GPU, what a candidate writes at the timed sizes is looked at, though no values are computed there."""

from __future__ import annotations

import pytest

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import Observation, Outcome
from evolve_core.judge.verdict import Correctness, Stage, Verdict
from tests.judge.host.host_bench import DOUBLE, DOUBLE_TASK, Bench
from tests.judge.redteam.model import edited

GRID = "[(triton.cdiv(n, 256),)]"
HALF = edited(DOUBLE, (GRID, "[(triton.cdiv(n if n < 500000 else n // 2, 256),)]"))
TOO_FAR = edited(DOUBLE, ("offsets < n", "offsets < n + (n > 500000) * 256"))
ON_ZEROS = edited(HALF, ("torch.empty_like", "torch.zeros_like"))
INDIRECT = edited(
    DOUBLE,
    ("double_kernel(x_ptr,", "double_kernel(x_ptr, index_ptr,"),
    ("out_ptr + offsets", "out_ptr + tl.load(index_ptr + offsets, mask=mask)"),
    ("    n = x.numel()", "    n = x.numel()\n    index = torch.arange(n, device=x.device)"),
    ("(x, out,", "(x, index, out,"),
)


def verdict_on(opened: OpenedTask, observed: Observation) -> Verdict:
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING)


def test_everything_that_your_kernel_writes_is_written(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, edited(DOUBLE, ("BLOCK=256", "BLOCK=512"), ("cdiv(n, 256)", "cdiv(n, 512)")))
    assert verdict_on(doubling, observed).correctness is Correctness.CORRECT
    assert "(2 looked at)" in dict(observed.environment)["at the timed sizes"]


@pytest.mark.parametrize(
    ("source", "outcome", "size", "said"),
    [
        (HALF, Outcome.MISMATCH, "w0", "line 11: only 524288 of 1048576 elements of out are ever written"),
        (TOO_FAR, Outcome.OUT_OF_BOUNDS, "w1", "line 11: writes element 999999 of buffer 1, which has 999999"),
    ],
    ids=["half", "too-far"],
)
def test_what_goes_wrong_where_the_size_is_large_is_wrong(
    bench: Bench, doubling: OpenedTask, source: str, outcome: Outcome, size: str, said: str
) -> None:
    observed = bench.judge(doubling, source)
    broken = observed.checks[-1]
    assert (observed.failure, broken.outcome, broken.workload) == (None, outcome, size)
    assert said in broken.message
    assert all(check.outcome is Outcome.COMPARED for check in observed.checks[:-1])
    assert verdict_on(doubling, observed).correctness is Correctness.WRONG


def test_what_nobody_can_follow_is_unverified(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, INDIRECT)
    verdict = verdict_on(doubling, observed)
    assert verdict.correctness is Correctness.UNVERIFIED
    assert "not known at this size" in verdict.reason
    assert all(check.outcome is Outcome.COMPARED for check in observed.checks)


def test_a_fill_is_no_work(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, ON_ZEROS)
    assert "524288 of 1048576 elements of out keep what a fill puts there" in observed.unaudited
    assert verdict_on(doubling, observed).correctness is Correctness.WRONG


def test_where_your_own_kernel_cannot_be_followed_that_is_a_note(bench: Bench) -> None:
    opened = bench.open(INDIRECT, DOUBLE_TASK)
    observed = bench.judge(opened, DOUBLE)
    assert verdict_on(opened, observed).correctness is Correctness.CORRECT
    assert any("was not looked at, because of your own kernel" in note for note in observed.notes)
    assert "at the timed sizes" not in dict(observed.environment)
