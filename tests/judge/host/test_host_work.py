"""Without a GPU, the work behind an estimate is counted by trusted code, or for both sources by their own processes."""

from __future__ import annotations

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.observation import Observation
from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict
from tests.judge.host.host_bench import DOUBLE, Bench
from tests.judge.redteam.model import edited

SIZE = "    n = x.numel()\n"


def verdict_on(opened: OpenedTask, observed: Observation) -> Verdict:
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING)


def test_your_own_kernel_and_a_candidate_are_counted_by_trusted_code(bench: Bench, doubling: OpenedTask) -> None:
    """The same programs of the same kernel give the same work: the ratio is 1, not nearly 1."""
    observed = bench.judge(doubling, DOUBLE.replace("x * 0.3", "0.3 * x"))
    assert len(observed.work) == len(doubling.baseline.work) == 2
    assert all(one.trusted for one in (*observed.work, *doubling.baseline.work))
    verdict = verdict_on(doubling, observed)
    assert (verdict.trust, verdict.ratio) == (Trust.KERNEL_ONLY, 1.0)
    assert "work counted by" not in dict(observed.environment)
    million = next(one for one in observed.work if one.grid == (4096, 1, 1))
    assert (million.load_bytes_per_program, million.compulsory_bytes) == (1024, 2 * 4 * (1 << 20))


def test_twice_the_work_is_slower(bench: Bench, doubling: OpenedTask) -> None:
    again = "    x = tl.load(x_ptr + offsets, mask=mask)\n"
    strided = edited(DOUBLE, (again, again + "    x += tl.load(x_ptr + (offsets * 64) % n, mask=mask) * 0\n"))
    verdict = verdict_on(doubling, bench.judge(doubling, strided))
    assert verdict.correctness is Correctness.CORRECT
    assert verdict.ratio is not None and verdict.ratio < 0.9


def test_a_candidate_that_has_no_plan_at_the_timed_sizes_is_unverified(bench: Bench, doubling: OpenedTask) -> None:
    """Only its own process could count its work there."""
    looks = "    if n > 100_000:\n        float(x.reshape(-1)[0].item())\n"
    observed = bench.judge(doubling, edited(DOUBLE, (SIZE, SIZE + looks)))
    assert not observed.work
    verdict = verdict_on(doubling, observed)
    assert (verdict.correctness, verdict.speed, verdict.ratio) == (Correctness.UNVERIFIED, Speed.UNMEASURED, None)
    assert "kernels.py:" in verdict.reason
