"""What may be claimed from samples: faster, slower, the same, or nothing."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from evolve_core.judge.floor import Floor
from evolve_core.judge.timing import SMALLEST_DELTA, Measured, Samples, measure, null_delta
from evolve_core.judge.verdict import Failure, Speed, Stage

LABELS = {"w0": "x[4096,1024]", "w1": "x[8192,781]"}


def samples(ratios: dict[str, float], *, processes: int = 5, seed: int = 1, spread: float = 0.02) -> list[Samples]:
    """Pairs whose true ratio is ``ratios``, of 100 µs, with noise in every pair and a little in every process."""
    random_ = random.Random(seed)
    found = []
    for process in range(processes):
        for workload, ratio in ratios.items():
            shift = random_.gauss(0, 0.001)
            baseline = tuple(100_000 * math.exp(random_.gauss(0, spread)) for _ in range(60))
            candidate = tuple(100_000 / ratio * math.exp(shift + random_.gauss(0, spread)) for _ in range(60))
            found.append(Samples(workload, process, baseline, candidate))
    return found


def confirmed(found: list[Samples], **options: float) -> Measured:
    return measure(found, stage=Stage.CONFIRMATION, labels=LABELS, weights={}, **options)  # type: ignore[arg-type]


def test_a_clear_gain_is_faster_with_an_interval_around_the_truth() -> None:
    found = confirmed(samples({"w0": 1.5}))
    assert found.speed is Speed.FASTER
    assert found.interval is not None
    assert found.interval.low <= 1.5 <= found.interval.high
    assert "1.50× faster" in found.reason


def test_a_clear_loss_is_slower() -> None:
    found = confirmed(samples({"w0": 0.8}))
    assert found.speed is Speed.SLOWER
    assert "1.25× slower" in found.reason


@pytest.mark.parametrize("seed", range(20))
def test_a_kernel_is_never_faster_than_itself(seed: int) -> None:
    found = confirmed(samples({"w0": 1.0, "w1": 1.0}, seed=seed))
    assert found.speed is Speed.SAME
    assert "no measurable difference" in found.reason


def test_a_difference_below_delta_is_not_claimed() -> None:
    found = confirmed(samples({"w0": 1.004}, spread=0.0001))
    assert found.interval is not None
    assert found.speed is Speed.SAME
    assert confirmed(samples({"w0": 1.03}, spread=0.0001)).speed is Speed.FASTER
    assert confirmed(samples({"w0": 1.03}, spread=0.0001), delta=0.05).speed is Speed.SAME


def test_screening_ranks_and_claims_nothing() -> None:
    found = measure(samples({"w0": 1.5}), stage=Stage.SCREENING, labels=LABELS, weights={})
    assert found.speed is Speed.UNMEASURED
    assert found.failure is None
    assert found.ratio == pytest.approx(1.5, rel=0.02)
    assert found.interval is None


def test_workloads_are_weighed_and_the_worst_is_named() -> None:
    both = samples({"w0": 2.0, "w1": 0.9})
    even = confirmed(both)
    assert even.ratio == pytest.approx(math.sqrt(1.8), rel=0.01)
    assert even.worst_ratio == pytest.approx(0.9, rel=0.01)
    assert "0.90× on x[8192,781]" in even.reason
    heavy = measure(both, stage=Stage.CONFIRMATION, labels=LABELS, weights={"w0": 1.0, "w1": 99.0})
    assert heavy.speed is Speed.SLOWER


def test_processes_that_disagree_are_unstable() -> None:
    found = confirmed([*samples({"w0": 1.1}, processes=3), *_as_process(samples({"w0": 0.9}, processes=2, seed=2), 3)])
    assert found.failure is Failure.UNSTABLE
    assert found.speed is Speed.UNMEASURED


def test_a_time_of_no_work_at_all_is_impossible() -> None:
    empty = [
        Samples(one.workload, one.process, one.baseline_ns, tuple(1300.0 for _ in one.candidate_ns), empty_ns=1280.0)
        for one in samples({"w0": 1.0})
    ]
    assert confirmed(empty).failure is Failure.IMPOSSIBLE


def test_a_time_below_the_floor_is_impossible_unless_the_users_own_kernel_passes_it_too() -> None:
    found = samples({"w0": 2.0}, spread=0.001)
    below = confirmed(found, floors={"w0": Floor(60.0, "what moving 463 MB takes")})  # type: ignore[arg-type]
    assert below.failure is Failure.IMPOSSIBLE
    assert below.speed is Speed.UNMEASURED
    assert "50.0 µs on x[4096,1024] is below what moving 463 MB takes, 60.0 µs" in below.reason
    for us in (55.0, 200.0):
        above = confirmed(found, floors={"w0": Floor(us, "")})  # type: ignore[arg-type]
        assert above.speed is Speed.FASTER


def test_a_process_that_did_not_time_everything_does_not_count() -> None:
    complete = samples({"w0": 1.5, "w1": 1.5})
    partial = [Samples("w0", 9, (100.0,) * 5, (1.0,) * 5)]
    assert confirmed([*complete, *partial]).ratio == pytest.approx(1.5, rel=0.01)


def test_no_samples_claim_nothing() -> None:
    assert confirmed([]).speed is Speed.UNMEASURED


def test_one_process_is_no_confirmation() -> None:
    assert confirmed(samples({"w0": 2.0}, processes=1)).speed is Speed.UNMEASURED


def test_more_finalists_ask_for_more() -> None:
    found = samples({"w0": 1.025}, spread=0.03, seed=3)
    assert confirmed(found, finalists=1).speed is Speed.FASTER
    assert confirmed(found, finalists=500).speed is Speed.SAME


def test_delta_is_what_the_machine_does_to_a_kernel_against_itself() -> None:
    assert null_delta([]) == SMALLEST_DELTA
    assert null_delta([0.0001, -0.0002]) == SMALLEST_DELTA
    assert null_delta([0.001] * 38 + [-0.02] * 2) == pytest.approx(math.expm1(0.02), rel=0.05)


def warmed(found: list[Samples], ratio: float, us: float = 80.0, **more: float) -> list[Samples]:
    """The same with 15 pairs on a warm cache in each process, of ``us`` microseconds for the user's own kernel."""
    return [
        replace(one, baseline_warm_ns=(us * 1e3,) * 15, candidate_warm_ns=(us * 1e3 / ratio,) * 15, **more)
        for one in found
    ]


def test_times_on_a_warm_cache_are_told_and_decide_nothing() -> None:
    cold = samples({"w0": 1.5, "w1": 1.0})
    without, found = confirmed(cold), confirmed(warmed(cold, 0.5))
    for row, plain in zip(found.workloads, without.workloads, strict=True):
        assert (row.warm_ratio, row.baseline_warm_us, row.candidate_warm_us) == pytest.approx((0.5, 80.0, 160.0))
        assert row.warm_interval is not None
        assert row.warm_interval.low <= 0.5000001 and row.warm_interval.high >= 0.4999999
        assert plain.warm_ratio is plain.warm_interval is plain.baseline_warm_us is None
        cleared = dict.fromkeys(("warm_ratio", "warm_interval", "baseline_warm_us", "candidate_warm_us"))
        assert replace(row, **cleared) == plain
    assert replace(found, workloads=()) == replace(without, workloads=())


def test_a_warm_interval_is_over_processes_and_widens_with_the_finalists() -> None:
    cold = samples({"w0": 1.5})
    differing = [warmed([one], 1.4 + one.process / 20)[0] for one in cold]
    (row,) = confirmed(differing).workloads
    assert row.warm_interval is not None
    assert row.warm_interval.low < 1.45 and row.warm_interval.high > 1.55
    (wider,) = confirmed(differing, finalists=9).workloads
    assert wider.warm_interval is not None
    assert wider.warm_interval.low < row.warm_interval.low and row.warm_interval.high < wider.warm_interval.high


def test_a_warm_time_below_the_floor_is_possible_and_told() -> None:
    found = confirmed(
        warmed(samples({"w0": 1.5}), 1.5, us=15.0),
        floors={"w0": Floor(60.0, "what moving 463 MB takes")},  # type: ignore[arg-type]
    )
    assert (found.speed, found.failure) == (Speed.FASTER, None)
    assert found.workloads[0].candidate_warm_us == pytest.approx(10.0)


@pytest.mark.parametrize("us", [1.3, 0.0, -1.0, math.inf, math.nan])
def test_a_warm_time_that_the_clock_cannot_tell_from_nothing_is_not_told(us: float) -> None:
    found = confirmed(warmed(samples({"w0": 1.5}), 1.0, us=us, empty_ns=1280.0))
    assert (found.speed, found.failure) == (Speed.FASTER, None)
    assert found.workloads[0].warm_ratio is found.workloads[0].candidate_warm_us is None


def test_warm_pairs_of_a_process_that_did_not_time_everything_do_not_count() -> None:
    complete = warmed(samples({"w0": 1.5, "w1": 1.5}), 1.2)
    (partial,) = warmed([Samples("w0", 9, (100.0,) * 5, (1.0,) * 5)], 9.0)
    assert confirmed([*complete, partial]).workloads[0].warm_ratio == pytest.approx(1.2)


def _as_process(found: list[Samples], first: int) -> list[Samples]:
    return [Samples(one.workload, one.process + first, one.baseline_ns, one.candidate_ns) for one in found]
