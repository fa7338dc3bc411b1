"""The statistics against published values, and by simulation."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.judge.statistics import (
    interval_over_processes,
    log_ratios,
    median_log_ratio,
    percentile,
    same_sign,
    t_cumulative,
    t_quantile,
    weighted_mean,
)

# Any textbook's table of Student's t: (one-sided probability, degrees of freedom, quantile).
TABLE = [
    (0.975, 1, 12.706),
    (0.975, 2, 4.303),
    (0.975, 4, 2.776),
    (0.95, 4, 2.132),
    (0.995, 4, 4.604),
    (0.975, 10, 2.228),
    (0.975, 30, 2.042),
    (0.9995, 4, 8.610),
    (0.975, 120, 1.980),
]


@pytest.mark.parametrize(("probability", "degrees", "quantile"), TABLE)
def test_t_quantiles_are_those_of_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(quantile, abs=6e-4)


def test_t_quantiles_have_closed_forms_for_one_and_two_degrees() -> None:
    for probability in (0.6, 0.9, 0.99, 0.999):
        assert t_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-9)
        alpha = 4 * probability * (1 - probability)
        assert t_quantile(probability, 2) == pytest.approx((2 * probability - 1) * math.sqrt(2 / alpha), rel=1e-9)


@given(st.floats(0.001, 0.999), st.integers(1, 60))
def test_the_quantile_inverts_the_distribution(probability: float, degrees: int) -> None:
    assert t_cumulative(t_quantile(probability, degrees), degrees) == pytest.approx(probability, abs=1e-9)


@given(st.floats(-30, 30), st.integers(1, 60))
def test_the_distribution_is_symmetric(value: float, degrees: int) -> None:
    assert t_cumulative(value, degrees) + t_cumulative(-value, degrees) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 4), (1.0, 4), (0.5, 0)])
def test_there_is_no_quantile_outside_the_distribution(probability: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(probability, degrees)


def test_a_log_ratio_is_positive_where_the_candidate_is_faster() -> None:
    assert log_ratios([2.0], [1.0]) == [pytest.approx(math.log(2))]
    assert median_log_ratio([10, 20, 1000], [10, 10, 10]) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("baseline", "candidate"), [([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0]), ([math.nan], [1.0]), ([], [])]
)
def test_incomplete_or_impossible_samples_are_refused(baseline: list[float], candidate: list[float]) -> None:
    with pytest.raises(ValueError, match=r"times|pairs"):
        median_log_ratio(baseline, candidate)


def test_one_process_has_no_interval() -> None:
    found = interval_over_processes([0.1])
    assert math.isinf(found.low)
    assert math.isinf(found.high)


def test_the_interval_of_five_processes_is_the_textbook_one() -> None:
    medians = [0.10, 0.12, 0.11, 0.09, 0.13]
    found = interval_over_processes(medians)
    half = 2.7764 * math.sqrt(sum((m - 0.11) ** 2 for m in medians) / 4) / math.sqrt(5)
    assert found.centre == pytest.approx(0.11)
    assert found.high - found.low == pytest.approx(2 * half, rel=1e-4)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.integers(2, 20))
def test_more_finalists_never_make_a_claim_easier(medians: list[float], finalists: int) -> None:
    alone, among = interval_over_processes(medians), interval_over_processes(medians, comparisons=finalists)
    assert among.low <= alone.low
    assert among.high >= alone.high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Processes differ by 0.3 %, pairs inside one by 3 %: the regime in which pooled pairs claim falsely."""
    random_ = random.Random(7)
    truth, covered, pooled_covered, rounds = 0.02, 0, 0, 1500
    for _ in range(rounds):
        processes = []
        for _process in range(5):
            shift = random_.gauss(0, 0.003)
            processes.append([truth + shift + random_.gauss(0, 0.03) for _pair in range(60)])
        found = interval_over_processes([sorted(pairs)[30] for pairs in processes])
        covered += found.low <= truth <= found.high
        pooled = [pair for pairs in processes for pair in pairs]
        centre = fmean(pooled)
        half = 1.97 * math.sqrt(sum((p - centre) ** 2 for p in pooled) / (len(pooled) - 1)) / math.sqrt(len(pooled))
        pooled_covered += centre - half <= truth <= centre + half
    # Three standard deviations of a binomial around 95 %: 1.7 %.
    assert 0.933 <= covered / rounds <= 0.967
    assert pooled_covered / rounds < 0.93


def test_processes_disagree_only_beyond_what_counts_as_no_effect() -> None:
    assert same_sign([0.001, -0.002, 0.03], small=0.005)
    assert not same_sign([0.01, -0.01, 0.03], small=0.005)
    assert not interval_over_processes([0.05, 0.05, -0.05], small=0.01).consistent


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.floats(0, 1))
def test_a_percentile_lies_among_the_values_and_grows(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert min(values) <= found + 1e-9
    assert found <= max(values) + 1e-9
    assert percentile(values, 0) == min(values)
    assert percentile(values, 1) == pytest.approx(max(values))


def test_weights_weigh() -> None:
    assert weighted_mean([1.0, 4.0], [3.0, 1.0]) == pytest.approx(1.75)
    with pytest.raises(ValueError, match="sum to zero"):
        weighted_mean([1.0], [0.0])
