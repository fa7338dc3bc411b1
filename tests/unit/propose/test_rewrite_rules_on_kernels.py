"""Every rule on every kernel of the corpus: it applies where it should, computes the same, and compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from corpus_cases import CASES

from evolve_core.propose.rewrite.registry import rules
from evolve_core.propose.rewrite.rule import Rewritten, apply_rule

APPLIES = {
    "single-pass": {"layernorm", "cross_entropy"},
    "rows-per-program": {"softmax", "layernorm", "rms_norm", "cross_entropy", "row_softmax_2d", "affine_rows"},
    "l2-program-order": {"matmul", "matmul_two_axes"},
    "drop-redundant-mask": set(CASES) - {"matmul_autotuned"},
    "software-pipeline": {"layernorm", "cross_entropy", "matmul", "matmul_two_axes", "matmul_autotuned", "affine_rows"},
    "hoist-invariant": set(CASES) - {"swiglu", "scaled_add", "affine_rows", "rms_norm"},
    "alignment-hint": set(CASES) - {"matmul_autotuned"},
    "eviction-hints": set(CASES) - {"matmul", "matmul_two_axes", "matmul_autotuned"},
    "persistent-programs": set(CASES) - {"matmul_autotuned", "affine_rows"},
    "exp-to-exp2": {"softmax", "swiglu", "cross_entropy", "scaled_add", "row_softmax_2d"},
}
ROUNDS_ALIKE = 3e-7
"""Of float32, relative to 1 + max: an ulp or two. Exact rules get 0 here only by luck of the reduction order."""
HALF = 2e-3
COMPILED_PER_RULE = 4


def _candidates() -> list[dict[str, str]]:
    jobs = []
    for name, case in CASES.items():
        for rule in rules():
            for number, settings in enumerate(rule.settings):
                made = apply_rule(rule, case.source, case.kernel, settings)
                if isinstance(made, Rewritten):
                    base = "" if name == "matmul_autotuned" else case.source
                    key = f"{rule.name}|{name}|{number}"
                    jobs.append({"id": key, "case": name, "base": base, "source": made.source})
    return jobs


@pytest.fixture(scope="module")
def candidates() -> list[dict[str, str]]:
    return _candidates()


def test_rules_apply_where_their_structure_is(candidates: list[dict[str, str]]) -> None:
    found: dict[str, set[str]] = {rule.name: set() for rule in rules()}
    for job in candidates:
        rule, case, _ = job["id"].split("|")
        found[rule].add(case)
    assert found == APPLIES


@pytest.mark.timeout(600)
def test_what_the_rules_make_computes_the_same(
    candidates: list[dict[str, str]], interpret: Callable[[list[dict[str, str]]], dict[str, Any]]
) -> None:
    # Autotuned kernels measure configurations, which the interpreter cannot; tune's tests run them with one.
    jobs = [job for job in candidates if job["case"] != "matmul_autotuned"]
    results = interpret(jobs)
    failed = {key: r for key, r in results.items() if r.get("worst", 1.0) > _allowed(key)}
    assert not failed
    assert len(results) == len(jobs)


def _allowed(key: str) -> float:
    case = CASES[key.split("|")[1]]
    return HALF if "float16" in {dtype for call in case.calls for dtype, _ in call} else ROUNDS_ALIKE


@pytest.mark.timeout(600)
def test_what_the_rules_make_compiles(
    candidates: list[dict[str, str]], compile_all: Callable[[list[dict[str, str]]], dict[str, Any]]
) -> None:
    chosen: dict[str, dict[str, str]] = {}
    for job in candidates:
        rule, _, number = job["id"].split("|")
        if number == "0" or rule == "hoist-invariant":
            chosen |= {job["id"]: job} if sum(key.startswith(rule) for key in chosen) < COMPILED_PER_RULE else {}
    jobs = list(chosen.values())
    assert {job["id"].split("|")[0] for job in jobs} == set(APPLIES)
    results = compile_all(jobs)
    assert not {key: r["error"] for key, r in results.items() if "error" in r}
