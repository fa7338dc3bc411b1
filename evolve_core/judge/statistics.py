"""The statistics of a comparison of two times: medians of log ratios, Student's t over processes, corrections.

No dependency on a statistics package: Student's distribution is evaluated through the regularised incomplete beta
function, by the continued fraction of Abramowitz and Stegun 26.5.8 (modified Lentz), and inverted by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median, stdev

_TINY = 1e-300
_PRECISION = 1e-15
_MAX_TERMS = 500
_BISECTIONS = 200


@dataclass(frozen=True, slots=True)
class LogInterval:
    """A confidence interval of a mean log ratio. ``consistent``: every process's median has the same sign, or is small.

    ``low`` and ``high`` are logarithms; exp() of them are ratios baseline / candidate.
    """

    centre: float
    low: float
    high: float
    consistent: bool


def log_ratios(baseline: Sequence[float], candidate: Sequence[float]) -> list[float]:
    """log(baseline / candidate) of each pair. Raises ValueError where a pair is incomplete or a time is not
    positive.
    """
    if len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} baseline times but {len(candidate)} candidate times")
    if any(not (time > 0 and math.isfinite(time)) for time in (*baseline, *candidate)):
        raise ValueError("times must be positive and finite")
    return [math.log(a / b) for a, b in zip(baseline, candidate, strict=True)]


def median_log_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> float:
    """The statistic of one process: the median over its pairs, > 0 where the candidate is faster."""
    ratios = log_ratios(baseline, candidate)
    if not ratios:
        raise ValueError("no pairs were timed")
    return median(ratios)


def median_error(ratios: Sequence[float]) -> float:
    """Standard error of the median of ``ratios``, from their median absolute deviation.

    Robust like the median itself: one sample that the machine interrupted does not widen it. For normal errors the
    deviation is σ/1.4826 and the median scatters 1.2533 times as much as the mean.
    """
    centre = median(ratios)
    deviation = median(abs(ratio - centre) for ratio in ratios)
    return 1.4826 * 1.2533 * deviation / math.sqrt(len(ratios))


def interval_over_processes(
    medians: Sequence[float], *, confidence: float = 0.95, comparisons: int = 1, small: float = 0.0
) -> LogInterval:
    """Student-t interval of the mean of per-process medians, Bonferroni-corrected for ``comparisons`` finalists.

    Processes are the independent unit: pairs inside one share its memory layout and clocks, and pooling them claims
    differences that another process does not show. A single process has no interval (infinite). Medians within
    ±``small`` count as no effect and never make the processes inconsistent."""
    count = len(medians)
    if count == 0:
        raise ValueError("no process to take an interval over")
    centre = fmean(medians)
    if count == 1:
        return LogInterval(centre, -math.inf, math.inf, True)
    level = 1 - (1 - confidence) / max(1, comparisons)
    half = t_quantile(0.5 + level / 2, count - 1) * stdev(medians) / math.sqrt(count)
    return LogInterval(centre, centre - half, centre + half, same_sign(medians, small))


def same_sign(values: Sequence[float], small: float) -> bool:
    """Whether no two values lie on different sides of zero by more than ``small`` each."""
    return not (max(values) > small and min(values) < -small)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Σ w·v / Σ w. Raises ValueError for no weight at all."""
    total = math.fsum(weights)
    if total <= 0:
        raise ValueError("the workloads' weights sum to zero")
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total


def percentile(values: Sequence[float], share: float) -> float:
    """The ``share`` (0 … 1) quantile of ``values`` with linear interpolation between order statistics."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@lru_cache(maxsize=256)
def t_quantile(probability: float, degrees: int) -> float:
    """The ``probability`` quantile of Student's t with ``degrees`` degrees of freedom (at least 1)."""
    if degrees < 1 or not 0 < probability < 1:
        raise ValueError(f"no t quantile for probability {probability} and {degrees} degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while t_cumulative(high, degrees) < probability:
        low, high = high, high * 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cumulative(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def t_cumulative(value: float, degrees: int) -> float:
    """P(T <= value) for Student's t with ``degrees`` degrees of freedom."""
    tail = 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value))
    return 1 - tail if value >= 0 else tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    # The continued fraction converges fast only below the mean of the distribution; above it, use the symmetry.
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            result *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return result


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
