"""The proposers rewrite and transplant, and replay: order, determinism, recipes that lead to the same text again."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from corpus_cases import CASES
from proposing import judged

from evolve_core.knowledge.model import Insight, Scope, Suggestion
from evolve_core.propose.factory import UnknownProposerError, make_proposers
from evolve_core.propose.proposal import Proposal, Situation, Step
from evolve_core.propose.replay import replay
from evolve_core.propose.rewrite.proposer import Rewrite
from evolve_core.propose.transplant import Transplant

Make = Callable[..., Situation]


def take(proposer: Rewrite | Transplant, situation: Situation, count: int) -> list[Proposal]:
    return list(itertools.islice(proposer.propose(situation), count))


def signature(source: str, name: str) -> str:
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == name)
    return ast.unparse(next(functions).args)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_proposes_the_same_and_keeps_the_entry(name: str, situation: Make) -> None:
    one, two = (take(Rewrite(9), situation(name), 200) for _ in range(2))
    assert one == two
    assert len({p.source for p in one}) == len(one) > 0
    case = CASES[name]
    for proposal in one:
        assert signature(proposal.source, case.entry) == signature(case.source, case.entry)
        before = signature(case.source, case.kernel)
        assert signature(proposal.source, case.kernel).startswith(before)


def test_nothing_is_offered_twice_when_asked_again(situation: Make) -> None:
    rewrite = Rewrite(0)
    first = take(rewrite, situation("layernorm"), 5)
    rest = take(rewrite, situation("layernorm"), 500)
    assert not {p.source for p in first} & {p.source for p in rest}
    assert take(rewrite, situation("layernorm"), 1) == []


def test_rules_go_on_top_of_the_best_candidate(situation: Make) -> None:
    rewrite = Rewrite(0)
    (first,) = take(rewrite, situation("layernorm"), 1)
    assert first.recipe[-1].rule == "single-pass"
    best = judged(first, "c7", 1.4)
    rewrite.tell(best)
    following = take(rewrite, situation("layernorm", (best,)), 3)
    assert all(p.parents == ("c7",) and p.recipe[0] == first.recipe[0] and len(p.recipe) == 2 for p in following)


def test_pairs_are_offered_where_no_rule_alone_has_paid(situation: Make) -> None:
    rules_used = {tuple(s.rule for s in p.recipe) for p in take(Rewrite(0), situation("softmax"), 500)}
    assert {len(rules) for rules in rules_used} == {1, 2}
    assert ("rows-per-program",) in rules_used


@pytest.mark.parametrize("name", ["layernorm", "softmax", "matmul", "swiglu"])
def test_a_recipe_leads_to_the_same_text_again(name: str, situation: Make) -> None:
    case = CASES[name]
    proposers = make_proposers(("tune", "rewrite"), 4)
    for proposer in proposers:
        for proposal in itertools.islice(proposer.propose(situation(name)), 25):
            assert replay(proposal.recipe, case.source, (case.kernel,)) == proposal.source


def test_a_recipe_is_replayed_on_another_kernel_by_what_its_parameters_are_for() -> None:
    recipe = (Step("tune", "launch", (("kernel", "other"), ("BLOCK", "1024"), ("num_warps", "8"))),)
    source = replay(recipe, CASES["scaled_add"].source, ("scaled_add_kernel",))
    assert source is not None
    assert "BLOCK = 1024" in source
    assert "num_warps=8" in source


def test_what_does_not_fit_leaves_nothing() -> None:
    swiglu = CASES["swiglu"].source
    kernels = ("swiglu_kernel",)
    assert replay((Step("rewrite", "single-pass", (("limit", "8192"), ("num_warps", "8"))),), swiglu, kernels) is None
    assert replay((Step("rewrite", "of-another-version"),), swiglu, kernels) is None
    assert replay((Step("model", "some-model"),), swiglu, kernels) is None
    assert replay((Step("tune", "launch", (("BLOCK", "1000"),)),), swiglu, kernels) is None
    assert replay((Step("tune", "launch", (("BLOCK", "many"),)),), "def broken(:", kernels) is None


def test_a_recipe_that_lost_its_parameters_takes_the_rule_s_first() -> None:
    case = CASES["softmax"]
    bare, full = (
        replay((Step("rewrite", "rows-per-program", parameters),), case.source, (case.kernel,))
        for parameters in ((), (("rows", "4"), ("of a later version", "yes")))
    )
    assert bare == full is not None


def test_no_text_out_of_a_recipe_reaches_the_source() -> None:
    """Recipes come from a knowledge base that others write to."""
    for value in ("4); import os", "4 + 4", "²", "-4", ""):
        step = Step("rewrite", "rows-per-program", (("rows", value),))
        assert replay((step,), CASES["softmax"].source, ("softmax_kernel",)) is None


def suggestion(name: str, similarity: float, *recipe: Step) -> Suggestion:
    scope = Scope("triton", (), "sm_90", "", "")
    insight = Insight(
        name, f"claim of {name}", scope, recipe, 1.5, None, None, True, "there", "", "", "", datetime.now(UTC)
    )
    return Suggestion(insight, similarity, "both are row kernels")


def test_transplants_the_most_similar_first_and_passes_over_the_rest(situation: Make) -> None:
    warps = Step("tune", "launch", (("kernel", "there"), ("num_warps", "8")))
    rows = Step("rewrite", "rows-per-program", (("kernel", "there"), ("rows", "4")))
    order = Step("rewrite", "l2-program-order", (("kernel", "there"), ("group", "8")))
    transplant = Transplant(
        [suggestion("a", 0.2, warps), suggestion("b", 0.9, rows, warps), suggestion("c", 0.8, order)]
    )
    made = take(transplant, situation("softmax"), 10)
    assert [p.recipe[-1] for p in made] == [Step("transplant", "b"), Step("transplant", "a")]
    assert "ROWS=4" in made[0].source
    assert "num_warps=8" in made[0].source
    assert made[0].proposer == "transplant"
    assert take(transplant, situation("softmax"), 10) == []


def test_the_factory_knows_its_names() -> None:
    assert [p.name for p in make_proposers(("tune", "rewrite", "transplant"), 0)] == ["tune", "rewrite", "transplant"]
    with pytest.raises(UnknownProposerError, match="there are tune, rewrite, transplant"):
        make_proposers(("luck",), 0)
