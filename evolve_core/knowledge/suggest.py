"""What the knowledge base would try on the kernels of a file. Reads text alone: nothing of the user's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from evolve_core.knowledge.excerpt import compose, host_functions, kernel_text, normalised
from evolve_core.knowledge.features import features_of
from evolve_core.knowledge.model import Insight, Suggestion
from evolve_core.knowledge.redact import redact
from evolve_core.knowledge.retrieve import distinct, retrieve
from evolve_core.knowledge.store import KnowledgeStore
from evolve_core.source.model import Kernel, Language
from evolve_core.source.parse import parse


@dataclass(frozen=True, slots=True)
class KernelSuggestions:
    """The suggestions for one kernel of the file, most promising first. ``kernel`` is its qualified name."""

    kernel: str
    suggestions: tuple[Suggestion, ...]


def suggest(
    store: KnowledgeStore, source_text: str, language: Language, target: str, limit: int = 3
) -> tuple[KernelSuggestions, ...]:
    """Up to ``limit`` suggestions for every kernel of ``source_text``, in file order; kernels without any are left out.

    A kernel that already is what an insight leads to does not get it. Errors: ``KnowledgeUnavailable``.
    """
    kernels = parse(source_text, language).kernels
    insights = store.all(language) if kernels else ()
    if not insights:
        return ()
    is_reached = _reached_by(source_text, language, kernels)
    found = []
    for kernel in kernels:
        features = features_of(kernel_text(source_text, kernel), language)
        ranked = (s for s in retrieve(insights, features, target) if not is_reached(kernel, s.insight))
        suggestions = tuple(islice(distinct(ranked), max(limit, 0)))
        if suggestions:
            found.append(KernelSuggestions(kernel.qualified_name, suggestions))
    return tuple(found)


def _reached_by(source_text: str, language: Language, kernels: Sequence[Kernel]) -> Callable[[Kernel, Insight], bool]:
    """Whether a kernel already is what an insight leads to. Most files never need to know: all of it is lazy."""

    @cache
    def functions() -> dict[str, tuple[int, str]]:
        return host_functions(source_text, language)

    @cache
    def present(kernel: Kernel) -> frozenset[str]:
        # A run changes all kernels that an entry reaches: the insight holds this kernel alone, or with those beside it.
        beside = [k for k in kernels if k == kernel or set(k.hosts) & set(kernel.hosts)]
        texts = (compose(source_text, group, functions()) for group in ([kernel], beside))
        return frozenset(normalised(redact(text), language) for text in texts)

    @cache
    def end(insight: Insight) -> str:
        return normalised(insight.after, language)

    return lambda kernel, insight: end(insight) in present(kernel)


def suggestions_json(found: Sequence[KernelSuggestions]) -> list[dict[str, Any]]:
    """What ``kb suggest FILE --json`` prints: one object per kernel and suggestion, in order."""
    return [_suggestion_json(each.kernel, s) for each in found for s in each.suggestions]


def _suggestion_json(kernel: str, suggestion: Suggestion) -> dict[str, Any]:
    insight: Insight = suggestion.insight
    return {
        "kernel": kernel,
        "insight_id": insight.insight_id,
        "claim": insight.claim,
        "ratio": insight.ratio,
        "ratio_low": insight.ratio_low,
        "ratio_high": insight.ratio_high,
        "estimated": insight.estimated,
        "similarity": round(suggestion.similarity, 3),
        "because": suggestion.because,
        "target": insight.scope.target,
        "device": insight.scope.device,
        "toolchain": insight.scope.toolchain,
        "recipe": [{"proposer": s.proposer, "rule": s.rule, "parameters": dict(s.parameters)} for s in insight.recipe],
        "successes": insight.successes,
        "failures": insight.failures,
        "evidence_sha256": insight.evidence_sha256,
    }
