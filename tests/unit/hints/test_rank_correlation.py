"""The estimate against stored measurements: a change that ranks worse than what was reached shows here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evolve_core.targets import load

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "estimate" / "rank_correlation.py"


@pytest.fixture(scope="module")
def ranking() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rank_correlation", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_spearman_of_known_orders(ranking: ModuleType) -> None:
    assert ranking.spearman([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert ranking.spearman([1, 2, 3, 4], [40, 30, 20, 10]) == -1
    # Worked by hand: d = 0, 1, 1, 0; 1 − 6·2 / (4·15).
    assert ranking.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    # Two equal values share rank 1.5 and so cannot agree fully with a strict order.
    assert ranking.spearman([5, 5, 7], [1, 2, 3]) == pytest.approx(0.8660, abs=1e-4)


def test_the_goal_is_reached_on_every_example(ranking: ModuleType) -> None:
    compared = ranking.compare(ranking.MEASURED, ranking.FACTS, load(ranking.DEVICE))
    reached = ranking.by_kernel(compared)
    for kernel in ("softmax", "layernorm", "matmul", "swiglu"):
        assert reached[kernel] >= ranking.GOAL, kernel
    for (kernel, workload), variants in compared.items():
        assert len(variants) >= 12
        if workload != "a[33554431] b[33554431]":  # see the README beside the script: there it cannot rank
            right, clear = ranking.clear_pairs(variants)
            assert right / clear > 0.9, (kernel, workload)


def test_no_estimate_is_below_what_is_possible(ranking: ModuleType) -> None:
    """The vendor's bandwidth and peaks bound the measurements too: an estimate far from them would be a wrong unit."""
    for variants in ranking.compare(ranking.MEASURED, ranking.FACTS, load(ranking.DEVICE)).values():
        for v in variants:
            assert 0.5 < v.estimated_us / v.measured_us < 1.5, v.name
