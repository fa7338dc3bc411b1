"""Features, similarity, ranking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.knowledge.features import features_of, shape_words
from evolve_core.knowledge.model import Insight
from evolve_core.knowledge.retrieve import THRESHOLD, distinct, retrieve, similarity, success_rate, target_match
from evolve_core.propose.proposal import Step
from evolve_core.source.model import Language

Make = Callable[..., Insight]
EXAMPLES = Path(__file__).parents[3] / "examples"
FEATURES = st.sets(st.sampled_from(["shape:a", "shape:b", "op:dot", "op:exp", "loops:1", "cast:float32"]))


def example(name: str) -> tuple[str, ...]:
    text = (EXAMPLES / f"{name}.py").read_text()
    start = text.index("@triton.jit")
    return features_of(text[start : text.index("\n\n\ndef ", start)], Language.TRITON)


def test_features_of_a_row_softmax() -> None:
    assert example("softmax") == (
        "access:masked",
        "kind:reduction",
        "loads:1",
        "loops:0",
        "op:exp",
        "rank:1",
        "reduce:max",
        "reduce:sum",
        "shape:row-reduction",
        "stores:1",
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("softmax", "a row reduction"),
        ("layernorm", "a looped row reduction"),
        ("matmul", "a tiled matrix product"),
        ("swiglu", "an elementwise kernel"),
    ],
)
def test_the_kind_of_kernel_in_words(name: str, words: str) -> None:
    assert shape_words(example(name)) == words


def test_names_do_not_matter() -> None:
    text = "@triton.jit\ndef k(x, B: tl.constexpr):\n    tl.store(x, tl.exp(tl.load(x, mask=x < B)))\n"
    renamed = text.replace("def k", "def other").replace("x", "pointer").replace("epointerp", "exp").replace("B", "N")
    assert features_of(renamed, Language.TRITON) == features_of(text, Language.TRITON)


@pytest.mark.parametrize(
    "call", ["tl.math.exp2(x)", "libdevice.exp2(x)", "exp2(x)", "tl.exp2(x)", "tl.extra.cuda.libdevice.exp2(x)"]
)
def test_one_operation_by_many_names(call: str) -> None:
    assert "op:exp2" in features_of(f"def k(x):\n    y = {call}\n", Language.TRITON)


def test_broken_code_still_says_what_it_can() -> None:
    text = (EXAMPLES / "softmax.py").read_text()
    broken = text[text.index("@triton.jit") : text.index("\n\n\ndef ")].replace("tl.sum(numerator, axis=0)", "tl.sum((")
    assert features_of(broken, Language.TRITON) == example("softmax")


@given(st.text())
def test_any_text_has_features_and_never_raises(text: str) -> None:
    for language in Language:
        assert any(f.startswith("shape:") for f in features_of(text, language))


def test_features_of_a_cuda_reduction() -> None:
    text = """
    __global__ void row_sum(const float* __restrict__ a, float* out, int cols) {
        // atomicAdd is mentioned here only
        float total = 0.f;
        for (int i = threadIdx.x; i < cols; i += blockDim.x) total += __expf(a[i]);
        for (int o = 16; o; o >>= 1) total += __shfl_down_sync(~0u, total, o);
        if (threadIdx.x == 0) out[blockIdx.x] = total;
    }"""
    assert features_of(text, Language.CUDA) == (
        "access:restrict",
        "kind:reduction",
        "loops:2",
        "op:exp",
        "op:shuffle",
        "rank:1",
        "shape:row-reduction",
    )


@given(FEATURES, FEATURES)
def test_similarity_is_a_similarity(one: set[str], other: set[str]) -> None:
    assert 0.0 <= similarity(one, other) <= 1.0
    assert similarity(one, other) == similarity(other, one)
    assert (similarity(one, other) == 1.0) == (one == other and bool(one))


def test_related_kernels_are_alike_and_unrelated_ones_are_not() -> None:
    names = ["softmax", "layernorm", "matmul", "swiglu"]
    unrelated = [(a, b) for a in names for b in names if a < b and {a, b} != {"softmax", "layernorm"}]
    assert all(similarity(example(a), example(b)) < THRESHOLD for a, b in unrelated)
    more_passes = (*example("softmax"), "op:log")
    assert similarity(example("softmax"), more_passes) > THRESHOLD


@pytest.mark.parametrize(
    ("wanted", "seen", "match"),
    [
        ("sm_90", "sm_90", 1.0),
        ("sm_90", "sm_90a", 1.0),
        ("sm_80", "sm_89", 0.7),
        ("sm_90", "sm_100", 0.7),
        ("sm_90", "sm_70", 0.5),
        ("gfx942", "gfx950", 0.7),
        ("gfx942", "gfx1100", 0.5),
        ("sm_90", "gfx942", 0.25),
        ("sm_90", "something", 0.25),
    ],
)
def test_target_match(wanted: str, seen: str, match: float) -> None:
    assert target_match(wanted, seen) == target_match(seen, wanted) == match


def test_one_success_is_not_certainty(make_insight: Make) -> None:
    few, many = make_insight(), make_insight(successes=30)
    assert success_rate(few) < success_rate(many) < 1.0


def rank(*insights: Insight, features: tuple[str, ...]) -> list[str]:
    return [s.insight.claim for s in distinct(retrieve(insights, features, "sm_90"))]


def test_the_order_is_similarity_target_and_success(make_insight: Make) -> None:
    features = make_insight().scope.features
    good = make_insight(claim="good", recipe=_recipe("good"), successes=9)
    failing = make_insight(claim="failing", recipe=_recipe("failing"), successes=3, failures=4)
    elsewhere = make_insight(claim="elsewhere", recipe=_recipe("elsewhere"), successes=9, target="gfx942")
    unlike = make_insight(
        claim="unlike", recipe=_recipe("unlike"), successes=9, features=(*features, "op:log", "op:pow")
    )
    assert rank(elsewhere, failing, unlike, good, features=features) == ["good", "unlike", "failing", "elsewhere"]


def test_what_stopped_reproducing_is_withdrawn(make_insight: Make) -> None:
    features = make_insight().scope.features
    assert rank(make_insight(failures=3), features=features) != []
    assert rank(make_insight(failures=4), features=features) == []


def test_another_kind_of_kernel_gets_nothing(make_insight: Make) -> None:
    assert rank(make_insight(), features=example("matmul")) == []


@given(data=st.data())
def test_an_estimate_never_stands_before_a_like_measurement(data: st.DataObject) -> None:
    features = ("shape:a", "op:exp", "op:log", "op:pow", "op:sin", "op:cos", "loops:1", "loads:1")
    insights = [_drawn(data, features, number) for number in range(data.draw(st.integers(2, 7)))]
    found = list(retrieve(insights, features, "sm_90"))
    assert {s.insight.claim for s in found} == {i.claim for i in insights}
    for place, ahead in enumerate(found):
        for behind in found[place + 1 :]:
            if ahead.insight.estimated and not behind.insight.estimated:
                assert ahead.similarity > behind.similarity + 0.1 - 1e-9


def _drawn(data: st.DataObject, features: tuple[str, ...], number: int) -> Insight:
    from datetime import UTC, datetime

    from evolve_core.knowledge.model import Scope

    kept = features[: data.draw(st.integers(5, len(features)))]
    scope = Scope("triton", kept, "sm_90", "", "")
    return Insight(
        insight_id=str(number),
        claim=str(number),
        scope=scope,
        recipe=_recipe(str(number)),
        ratio=data.draw(st.floats(1.01, 9)),
        ratio_low=None,
        ratio_high=None,
        estimated=data.draw(st.booleans()),
        kernel="k",
        before="",
        after="",
        evidence_sha256="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        successes=data.draw(st.integers(1, 20)),
        failures=0,
    )


def test_of_one_recipe_only_the_best_is_kept(make_insight: Make) -> None:
    features = make_insight().scope.features
    steps = make_insight().recipe
    elsewhere = tuple(Step(s.proposer, s.rule, (("kernel", "other"), *s.parameters)) for s in steps)
    measured = make_insight(claim="measured", estimated=False, device="NVIDIA H100", recipe=elsewhere)
    assert rank(make_insight(successes=50), measured, features=features) == ["measured"]


def test_because_says_what_matched_and_where_it_was_seen(make_insight: Make) -> None:
    (found,) = retrieve([make_insight(target="sm_80")], example("softmax"), "sm_90")
    assert found.because == "both: row reduction, exp, max reduction, sum reduction; seen on sm_80, not sm_90"


def _recipe(rule: str) -> tuple[Step, ...]:
    return (Step("rewrite", rule),)
