"""How well the estimate ranks measured variants: Spearman's correlation, recomputed from stored data alone.

    python -m benchmarks.estimate.rank_correlation [--table KERNEL]

Measured times: ``benchmarks/results/h200-variants.json`` (its environment says how). Facts and work profiles of the
same sources: ``benchmarks/estimate/facts-sm_90.json``, made by ``collect.py --measured``. No torch, no GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve_core.hints.model import Estimate
from evolve_core.hints.parse import kernel_facts, work_profile
from evolve_core.hints.predict import predict
from evolve_core.targets import Target, load

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "results" / "h200-variants.json"
FACTS = HERE / "facts-sm_90.json"
DEVICE = "h200"
GOAL = 0.8
"""Spearman correlation that the estimate is to reach on each kernel."""

CLEAR = 1.05
"""Two measured times this far apart are different: the same kernel, measured twice there, moves by up to 1.6 %."""


@dataclass(frozen=True)
class Variant:
    """One variant on one workload, in microseconds."""

    name: str
    estimated_us: float
    measured_us: float
    estimates: tuple[Estimate, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--facts", type=Path, default=FACTS)
    parser.add_argument("--device", default=DEVICE, help="the target to estimate for")
    parser.add_argument("--table", default="", help="also print every variant of this kernel")
    arguments = parser.parse_args()
    compared = compare(arguments.measured, arguments.facts, load(arguments.device))
    print(f"{'kernel':10s} {'workload':40s} variants Spearman clear pairs right  estimate's choice / best, measured")
    for (kernel, workload), variants in compared.items():
        right, clear = clear_pairs(variants)
        pairs = f"{right / clear:6.1%} of {clear}" if clear else "no clear pair"
        rank = f"{len(variants):8d} {_spearman_of(variants):8.2f}"
        print(f"{kernel:10s} {workload:40s} {rank} {pairs:>17s}  {_choice(variants)}")
        if kernel == arguments.table:
            _print_table(variants)
    for kernel, value in by_kernel(compared).items():
        print(f"{kernel:10s} mean over workloads {value:.2f}  ({'reaches' if value >= GOAL else 'misses'} {GOAL})")


def compare(measured: Path, facts: Path, target: Target) -> dict[tuple[str, str], list[Variant]]:
    """(kernel, workload) → every variant that was both measured and estimated."""
    times = json.loads(measured.read_text(encoding="utf-8"))["kernels"]
    collected = json.loads(facts.read_text(encoding="utf-8"))["kernels"]
    found: dict[tuple[str, str], list[Variant]] = {}
    for kernel, data in times.items():
        for name, entry in data["variants"].items():
            for workload, row in entry["workloads"].items():
                known = collected.get(kernel, {}).get(name, {})
                if "us" not in row or workload not in known.get("workloads", {}):
                    continue
                variant = _variant(name, known, workload, row["us"], target)
                found.setdefault((kernel, workload), []).append(variant)
    return found


def _variant(name: str, known: dict[str, Any], workload: str, measured_us: float, target: Target) -> Variant:
    launches = [
        (kernel_facts(known["facts"][launch["facts"]]), work_profile(launch["work"]))
        for launch in known["workloads"][workload]
    ]
    predicted = predict(launches, target)
    return Variant(name, predicted.time_us, measured_us, predicted.estimates)


def spearman(first: list[float], second: list[float]) -> float:
    """Rank correlation; equal values share the mean of their ranks."""
    a, b = _ranks(first), _ranks(second)
    mean = (len(a) + 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return covariance / spread**0.5 if spread else 0.0


def _ranks(values: list[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for index in order[first : last + 1]:
            ranks[index] = (first + last) / 2 + 1
        first = last + 1
    return ranks


def by_kernel(compared: dict[tuple[str, str], list[Variant]]) -> dict[str, float]:
    """Mean correlation of a kernel over its workloads."""
    values: dict[str, list[float]] = {}
    for (kernel, _), variants in compared.items():
        values.setdefault(kernel, []).append(_spearman_of(variants))
    return {kernel: sum(found) / len(found) for kernel, found in values.items()}


def clear_pairs(variants: list[Variant]) -> tuple[int, int]:
    """(ordered rightly, all) pairs of variants whose measured times differ by more than ``CLEAR``.

    Where most variants take the same time, Spearman's correlation compares noise with noise; these pairs do not.
    """
    clear = [
        (a, b)
        for a, b in itertools.combinations(sorted(variants, key=lambda v: v.measured_us), 2)
        if b.measured_us > CLEAR * a.measured_us
    ]
    return sum(a.estimated_us < b.estimated_us for a, b in clear), len(clear)


def _spearman_of(variants: list[Variant]) -> float:
    return spearman([v.estimated_us for v in variants], [v.measured_us for v in variants])


def _choice(variants: list[Variant]) -> str:
    chosen = min(variants, key=lambda v: v.estimated_us)
    best = min(variants, key=lambda v: v.measured_us)
    return f"{chosen.name} {chosen.measured_us:.1f} us / {best.name} {best.measured_us:.1f} us"


def _print_table(variants: list[Variant]) -> None:
    for v in sorted(variants, key=lambda v: v.measured_us):
        bounds = ", ".join(f"{e.bound} occupancy {e.occupancy:.2f}" for e in v.estimates)
        print(f"    {v.name:40s} estimated {v.estimated_us:9.1f} us  measured {v.measured_us:9.1f} us  {bounds}")


if __name__ == "__main__":
    main()
