"""Tune: which parameters it finds, that text changes consistently, and that what it makes runs and compiles."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from corpus_cases import CASES
from proposing import judged

from evolve_core.propose.kernel_code import find_kernels
from evolve_core.propose.knobs import Panel, find_panels
from evolve_core.propose.proposal import Proposal, Situation
from evolve_core.propose.rewrite.registry import rule_named, rules
from evolve_core.propose.rewrite.rule import Rewritten, apply_rule
from evolve_core.propose.syntax import parse_code, splice
from evolve_core.propose.tune import Tune

Make = Callable[..., Situation]

KNOBS = {
    "softmax": {"num_warps": 4},
    "layernorm": {"BLOCK": 256, "num_warps": 4, "num_stages": 3},
    "matmul": {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4, "num_stages": 3},
    "swiglu": {"BLOCK": 256, "num_warps": 4},
    "rms_norm": {"num_warps": None},
    "cross_entropy": {"BLOCK": 64, "num_warps": 4, "num_stages": 3},
    "matmul_two_axes": {"TM": 32, "TN": 32, "TK": 32, "num_warps": 4, "num_stages": 3},
    "scaled_add": {"SIZE": 128, "num_warps": 4},
    "row_softmax_2d": {"num_warps": 4},
    "affine_rows": {"BLOCK": 128, "num_warps": 4, "num_stages": 3},
    "matmul_autotuned": {
        "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 4, "num_stages": 3, "num_warps": 4,
    },
}  # fmt: skip


def panels(source: str, *kernels: str) -> tuple[Panel, ...]:
    code = parse_code(source)
    assert code is not None
    return find_panels(find_kernels(code, kernels))


def set_to(source: str, kernel: str, **values: int) -> str:
    code = parse_code(source)
    assert code is not None
    (panel,) = find_panels(find_kernels(code, (kernel,)))
    full = {k.name: k.value for k in panel.knobs if k.value is not None} | values
    return splice(code, panel.edits(full))


@pytest.mark.parametrize("name", CASES)
def test_finds_the_parameters_of_a_launch(name: str) -> None:
    (panel,) = panels(CASES[name].source, CASES[name].kernel)
    assert panel.values() == KNOBS[name]


def test_a_literal_in_the_grid_follows_the_tile_it_counts() -> None:
    source = set_to(CASES["matmul_two_axes"].source, "tiled_kernel", TM=64, TN=128, TK=16)
    assert "[(triton.cdiv(M, 64), triton.cdiv(N, 128))]" in source
    assert "TM=64, TN=128, TK=16" in source
    swiglu = set_to(CASES["swiglu"].source, "swiglu_kernel", BLOCK=1024)
    assert "triton.cdiv(n_elements, 1024)" in swiglu
    assert "BLOCK=1024" in swiglu


def test_a_module_constant_is_the_one_place_that_changes() -> None:
    before = CASES["scaled_add"].source
    after = set_to(before, "scaled_add_kernel", SIZE=512)
    assert after == before.replace("BLOCK = 128", "BLOCK = 512")


HOST = """import triton
import triton.language as tl

@triton.jit
def kernel(x_ptr, n, BLOCK: tl.constexpr, HEAD: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    h = tl.arange(0, HEAD)
    tl.store(x_ptr + i, tl.sum(h), mask=i < n)

def entry(x):
    n = x.numel()
    {setup}
    kernel[{grid}](x, n, {block}, HEAD=64)
"""


def host(grid: str, block: str = "BLOCK=256", setup: str = "pass") -> dict[str, int | None]:
    return {
        name: value
        for panel in panels(HOST.format(grid=grid, block=block, setup=setup), "kernel")
        for name, value in panel.values().items()
    }


def test_turns_no_tile_whose_grid_it_cannot_move() -> None:
    """Each would leave programs out or run too many; HEAD is part of what the kernel means, and never turned."""
    assert host("(triton.cdiv(n, 256),)") == {"BLOCK": 256, "num_warps": 4}
    assert host("((n + 255) // 256,)") == {"BLOCK": 256, "num_warps": 4}
    assert host("(n // 256,)") == {"num_warps": 4}
    assert host("(64,)") == {"num_warps": 4}
    assert host("(blocks(n),)") == {"num_warps": 4}
    assert host("(triton.cdiv(n, 256),)", setup="assert n % 256 == 0") == {"num_warps": 4}
    assert host("(triton.cdiv(n, b),)", "BLOCK=b", "b = 256") == {"BLOCK": 256, "num_warps": 4}
    assert host("(triton.cdiv(n, b),)", "BLOCK=b", "b = 256\n    b = 128") == {"num_warps": 4}
    assert host("lambda m: (triton.cdiv(n, m['BLOCK']),)") == {"BLOCK": 256, "num_warps": 4}


def test_a_guard_that_a_rule_wrote_follows_the_tile() -> None:
    rule = rule_named("drop-redundant-mask")
    assert rule is not None
    made = apply_rule(rule, CASES["swiglu"].source, "swiglu_kernel", {"bounds": "all"})
    assert isinstance(made, Rewritten)
    source = set_to(made.source, "swiglu_kernel", BLOCK=1024)
    assert "n_elements % 1024 == 0" in source
    assert "256" not in source


def test_one_configuration_takes_the_place_of_autotuning() -> None:
    source = set_to(CASES["matmul_autotuned"].source, "matmul_kernel", BLOCK_M=128, num_warps=8)
    call = next(
        n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "triton.autotune"
    )
    assert ast.unparse(call.keywords[0].value) == (
        "[triton.Config({'BLOCK_M': 128, 'BLOCK_N': 64, 'BLOCK_K': 32, 'GROUP_M': 4}, num_warps=8, num_stages=3)]"
    )


def take(proposer: Tune, situation: Situation, count: int) -> list[Proposal]:
    return list(itertools.islice(proposer.propose(situation), count))


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_proposes_the_same(name: str, situation: Make) -> None:
    first, second = Tune(3), Tune(3)
    one, two = take(first, situation(name), 40), take(second, situation(name), 40)
    assert one == two
    assert len({p.source for p in one}) == len(one) > 0
    assert all(p.source != CASES[name].source and p.summary for p in one)
    assert all(p.recipe[-1].rule == "launch" and p.proposer == "tune" for p in one)


def test_walks_from_the_best_and_starts_again_where_it_was_dropped(situation: Make) -> None:
    tune = Tune(0)
    begun = take(tune, situation("matmul"), 3)
    best = judged(begun[1], "c1", 2.0)
    tune.tell(best)
    rest = take(tune, situation("matmul", (best,)), 60)
    assert not {p.source for p in begun} & {p.source for p in rest}
    assert all(p.parents == ("c1",) for p in rest[:5])
    assert any("num_warps" in p.summary for p in rest)


def test_a_step_after_a_step_is_one_step_of_the_recipe(situation: Make) -> None:
    tune = Tune(0)
    (first,) = take(tune, situation("matmul"), 1)
    best = judged(first, "c1", 2.0)
    second = take(tune, situation("matmul", (best,)), 30)[-1]
    assert len(second.recipe) == 1
    assert dict(second.recipe[0].parameters) != dict(first.recipe[0].parameters)


def test_every_point_respects_the_limits(situation: Make) -> None:
    for proposal in take(Tune(1), situation("matmul"), 200):
        (panel,) = panels(proposal.source, "matmul_kernel")
        v = {name: value or 0 for name, value in panel.values().items()}
        elements = v["BLOCK_M"] * v["BLOCK_N"]
        assert all(value & (value - 1) == 0 for name, value in v.items() if name != "num_stages")
        assert elements <= 256 * 32 * v["num_warps"]
        assert (v["num_stages"] - 1) * (v["BLOCK_M"] + v["BLOCK_N"]) * v["BLOCK_K"] * 2 <= 232448


@pytest.mark.timeout(600)
def test_what_tune_makes_computes_the_same_and_compiles(
    situation: Make,
    interpret: Callable[[list[dict[str, str]]], dict[str, Any]],
    compile_all: Callable[[list[dict[str, str]]], dict[str, Any]],
) -> None:
    jobs = []
    for name, case in CASES.items():
        base = "" if name == "matmul_autotuned" else case.source
        for number, proposal in enumerate(take(Tune(5), situation(name), 4)):
            jobs.append({"id": f"{name}|{number}", "case": name, "base": base, "source": proposal.source})
    results = interpret(jobs)
    assert not {key: r for key, r in results.items() if r.get("worst", 1.0) > 2e-3}
    compiled = compile_all([job for job in jobs if job["id"].endswith("|0")])
    assert not {key: r["error"] for key, r in compiled.items() if "error" in r}


@pytest.mark.parametrize("name", CASES)
def test_what_tune_makes_of_what_rules_made_is_python(name: str) -> None:
    """Rules write parenthesised conditions as arguments; a keyword added behind them belongs inside the call."""
    case = CASES[name]
    for rule in rules():
        for settings in rule.settings or ({},):
            made = apply_rule(rule, case.source, case.kernel, settings)
            if isinstance(made, Rewritten):
                for values in ({"num_warps": 8}, {"num_warps": 2}):
                    ast.parse(set_to(made.source, case.kernel, **values))
