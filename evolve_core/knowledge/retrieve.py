"""Which insights may hold for a kernel, and in what order they are worth trying.

Similarity is a weighted Jaccard index: the weight of the features that both kernels have, over the weight of those
that either has. Jaccard rather than cosine, because features are present or absent, and because a feature that only
one side has must count against the match: cosine calls a two-line kernel close to any large one that contains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import accumulate

from evolve_core.knowledge.model import Insight, Suggestion
from evolve_core.propose.proposal import Step

# Judgement, not measurement: how much a group says about which transformations can help. How the work is laid
# out decides most; how many loads there are decides little.
WEIGHTS = {
    "kind": 1.5,
    "shape": 1.5,
    "op": 1.0,
    "reduce": 1.0,
    "rank": 0.5,
    "loops": 0.5,
    "access": 0.25,
    "cast": 0.25,
    "loads": 0.25,
    "stores": 0.25,
}
_HEAVY_OPS = {"op:dot": 2.0, "op:dot_scaled": 2.0, "op:atomic": 2.0, "op:tensor-core": 2.0}

THRESHOLD = 0.5
"""Below this similarity nothing is suggested: less than half of what describes the two kernels is shared."""

LIKE = 0.1
"""Two fits that differ by less than this are alike, and then a measurement goes before an estimate."""

WITHDRAWN_BELOW = 0.3
"""An insight is withdrawn when its success rate falls below this: four failures against the founding success."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    insight: Insight
    similarity: float
    fit: float
    score: float


def similarity(one: Iterable[str], other: Iterable[str]) -> float:
    """Weighted Jaccard index of two feature sets, in 0…1. Two empty sets are not alike: nothing is known of either."""
    left, right = set(one), set(other)
    union = sum(map(_weight, left | right))
    return sum(map(_weight, left & right)) / union if union else 0.0


def _weight(feature: str) -> float:
    return _HEAVY_OPS.get(feature, WEIGHTS.get(feature.partition(":")[0], 0.5))


def success_rate(insight: Insight) -> float:
    """Posterior mean under a Beta(1, 1) prior, (s + 1) / (s + f + 2): one success alone is not certainty."""
    return (insight.successes + 1) / (insight.successes + insight.failures + 2)


def target_match(wanted: str, seen: str) -> float:
    """How far evidence on one architecture carries to another, in 0…1. Judgement, not measurement.

    The same architecture 1, its neighbour generation 0.7, the same vendor 0.5, another vendor 0.25.
    """
    if _base(wanted) == _base(seen):
        return 1.0
    one, other = _generation(wanted), _generation(seen)
    if one is None or other is None or one[0] != other[0]:
        return 0.25
    return 0.7 if abs(one[1] - other[1]) <= 1 else 0.5


def _base(target: str) -> str:
    """``sm_90a`` and ``sm_100f`` are the architecture itself with its own instructions enabled."""
    return re.sub(r"^(sm_\d+)[af]$", r"\1", target)


def _generation(target: str) -> tuple[str, int] | None:
    """("sm", 9) for sm_90; ("gfx", 9) for gfx942: the last two digits of either are the variant within it."""
    if match := re.fullmatch(r"sm_(\d+)\d[af]?", target):
        return "sm", int(match[1])
    if match := re.fullmatch(r"gfx(\d+)[0-9a-f]{2}", target):
        return "gfx", int(match[1])
    return None


def retrieve(insights: Iterable[Insight], features: Sequence[str], target: str) -> Iterator[Suggestion]:
    """The insights that may hold for a kernel with these features, most promising first; all of one language.

    The order is by similarity × target match × success rate, except that an estimated insight never stands before a
    measured one whose fit (similarity × target match) is like its own.
    """
    ranked = [r for insight in insights for r in _rank(insight, features, target)]
    ranked.sort(key=lambda r: (-r.score, -r.insight.ratio, r.insight.insight_id))
    for each in _measured_first(ranked):
        yield Suggestion(each.insight, each.similarity, _because(features, each.insight, target))


def _rank(insight: Insight, features: Sequence[str], target: str) -> list[_Ranked]:
    alike = similarity(features, insight.scope.features)
    rate = success_rate(insight)
    if alike < THRESHOLD or rate < WITHDRAWN_BELOW:
        return []
    fit = alike * target_match(target, insight.scope.target)
    return [_Ranked(insight, alike, fit, fit * rate)]


def _measured_first(ranked: Sequence[_Ranked]) -> Iterator[_Ranked]:
    """Both kinds in the order of their scores, an estimate held back until no measurement like it is still to come."""
    measured = [r for r in ranked if not r.insight.estimated]
    # The best fit among the measured ones from each place on.
    best_to_come = [*[*accumulate((r.fit for r in reversed(measured)), max)][::-1], -1.0]
    held_back = sorted(((-r.fit, place, r) for place, r in enumerate(ranked) if r.insight.estimated), reverse=True)
    free: list[tuple[int, _Ranked]] = []
    places = {id(r): place for place, r in enumerate(ranked)}
    for at in range(len(measured) + 1):
        while held_back and -held_back[-1][0] > best_to_come[at] + LIKE:
            _, place, estimate = held_back.pop()
            heappush(free, (place, estimate))
        until = places[id(measured[at])] if at < len(measured) else len(ranked)
        while free and free[0][0] < until:
            yield heappop(free)[1]
        if at < len(measured):
            yield measured[at]


def distinct(suggestions: Iterable[Suggestion]) -> Iterator[Suggestion]:
    """Of several suggestions with the same recipe the first."""
    seen = set()
    for suggestion in suggestions:
        recipe = _without_names(suggestion.insight.recipe)
        if recipe not in seen:
            seen.add(recipe)
            yield suggestion


def _without_names(recipe: Iterable[Step]) -> tuple[Step, ...]:
    """The recipe without the name of the kernel that a step was applied to."""
    return tuple(replace(s, parameters=tuple(p for p in s.parameters if p[0] != "kernel")) for s in recipe)


def _because(features: Sequence[str], insight: Insight, target: str) -> str:
    shared = sorted(set(features) & set(insight.scope.features), key=lambda f: (-_weight(f), f))
    telling = [f for f in shared if f.partition(":")[0] in ("shape", "op", "reduce", "rank", "loops")][:4]
    where = (
        "" if target_match(target, insight.scope.target) == 1.0 else f"; seen on {insight.scope.target}, not {target}"
    )
    return "both: " + ", ".join(_words(f) for f in telling or shared[:4]) + where


def _words(feature: str) -> str:
    group, _, value = feature.partition(":")
    match group:
        case "shape":
            return value.replace("-", " ")
        case "reduce":
            return f"{value} reduction"
        case "loops":
            return {"0": "no loop", "1": "one loop"}.get(value, f"{value} loops")
        case "rank":
            return f"{value}-D tiles"
        case _:
            return value
