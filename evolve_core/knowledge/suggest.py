"""What the knowledge base would try on the kernels of a file. Reads text alone: nothing of the user's runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolve_core.knowledge.excerpt import excerpt, kernel_text, normalised
from evolve_core.knowledge.features import features_of
from evolve_core.knowledge.model import Insight, Suggestion
from evolve_core.knowledge.redact import redact
from evolve_core.knowledge.retrieve import retrieve
from evolve_core.knowledge.store import KnowledgeStore
from evolve_core.source.model import Language
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
    found = []
    for kernel in kernels:
        present = _present(source_text, language, kernel.qualified_name)
        applicable = [i for i in insights if normalised(i.after, language) != present]
        features = features_of(kernel_text(source_text, kernel), language)
        suggestions = retrieve(applicable, features, language.value, target, limit)
        if suggestions:
            found.append(KernelSuggestions(kernel.qualified_name, suggestions))
    return tuple(found)


def _present(source_text: str, language: Language, kernel: str) -> str:
    """The kernel as an insight would have stored it, so that the two can be compared."""
    return normalised(redact(excerpt(source_text, language, [kernel])), language)


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
