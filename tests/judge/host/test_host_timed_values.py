"""Without a GPU, values at the timed sizes are looked at, at some places of the outputs."""

from __future__ import annotations

import pytest

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import SAMPLED, Observation
from evolve_core.judge.verdict import Correctness, Stage, Verdict
from tests.judge.host.host_bench import DOUBLE, DOUBLE_TASK, Bench
from tests.judge.redteam.model import edited

LARGE = "n > 500000"
STORE = "tl.store(out_ptr + offsets, x * 2 + x * 0.3, mask=mask)"
WRONG = {
    "zeros": edited(DOUBLE, (STORE, f"tl.store(out_ptr + offsets, tl.where({LARGE}, 0.0, x * 2.3), mask=mask)")),
    "slightly off": edited(DOUBLE, (STORE, f"tl.store(out_ptr + offsets, x * 2.3 + ({LARGE}) * 1e-3, mask=mask)")),
    "its neighbour's": edited(
        DOUBLE,
        ("x_ptr + offsets, mask=mask", f"x_ptr + offsets + ({LARGE}) * 1, mask=mask & (offsets + ({LARGE}) < n)"),
    ),
}
AGAIN = """\
    again = torch.empty_like(out)
    double_kernel[(triton.cdiv(n, 256),)](out, again, n, BLOCK=256)
    return again / 2.3
"""
TWICE = edited(DOUBLE, ("    return out\n", AGAIN))
SUMMED = edited(
    DOUBLE, (STORE, "tl.atomic_add(out_ptr + offsets, x * 2.3, mask=mask)"), ("torch.empty_like", "torch.zeros_like")
)


def verdict_on(opened: OpenedTask, observed: Observation) -> Verdict:
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING)


def test_right_values_are_right(bench: Bench, doubling: OpenedTask) -> None:
    source = edited(DOUBLE, ("BLOCK=256", "BLOCK=512"), ("cdiv(n, 256)", "cdiv(n, 512)"))
    observed = bench.judge(doubling, source)
    sampled = [check for check in observed.checks if check.origin == SAMPLED]
    assert {check.workload for check in sampled} == {"w0", "w1"}
    assert all(output.n >= 256 and (output.max_error or 0) < 1e-6 for check in sampled for output in check.outputs)
    verdict = verdict_on(doubling, observed)
    assert verdict.correctness is Correctness.CORRECT
    assert "values were looked at on 2 of the timed sizes" in verdict.reason


@pytest.mark.parametrize("name", WRONG)
def test_values_that_are_wrong_only_where_the_size_is_large_are_wrong(
    bench: Bench, doubling: OpenedTask, name: str
) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, WRONG[name]))
    assert verdict.correctness is Correctness.WRONG, verdict.reason
    assert "1048576" in verdict.reason


def test_what_an_earlier_launch_leaves_is_there(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, TWICE))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason


def test_what_several_programs_add_up_is_unverified(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(doubling, bench.judge(doubling, SUMMED))
    assert verdict.correctness is Correctness.UNVERIFIED
    assert "atomic operations" in verdict.reason


def test_where_your_own_values_cannot_be_looked_at_that_is_a_note(bench: Bench) -> None:
    opened = bench.open(SUMMED, DOUBLE_TASK)
    observed = bench.judge(opened, DOUBLE)
    assert verdict_on(opened, observed).correctness is Correctness.CORRECT
    assert any("no value at" in note and "atomic" in note for note in observed.notes)
