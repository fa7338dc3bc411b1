"""From a winner to an insight: a claim a person can read, its scope, and the hash of the evidence behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import PurePath

from evolve_core.journal.model import CandidateRecord, RunSpec
from evolve_core.judge.verdict import Verdict
from evolve_core.knowledge.codec import with_id
from evolve_core.knowledge.excerpt import excerpt, kernel_text
from evolve_core.knowledge.features import features_of, shape_words
from evolve_core.knowledge.model import Insight, Scope
from evolve_core.knowledge.redact import redact
from evolve_core.propose.proposal import Step
from evolve_core.source.model import Language
from evolve_core.source.parse import parse

_TOOLCHAIN = ("triton", "torch", "cuda", "nvcc", "ptxas", "driver", "rocm")
_CUDA_SUFFIXES = (".cu", ".cuh")


class NotAWinner(ValueError):
    """Only a correct and faster candidate founds an insight."""

    def __init__(self, candidate: CandidateRecord) -> None:
        super().__init__(
            f"Candidate {candidate.candidate_id} is no winner, so no insight can be founded on it: "
            f"{candidate.verdict.reason if candidate.verdict else 'it has not been judged'}"
        )


def insight_from_winner(spec: RunSpec, winner: CandidateRecord, created_at: datetime | None = None) -> Insight:
    """The insight behind a winner of a run; its id is that of its content. Errors: ``NotAWinner``.

    Only the kernels and the functions that launch them are kept, without keys and absolute paths.
    """
    verdict = winner.verdict
    if verdict is None or not verdict.is_winner or verdict.ratio is None:
        raise NotAWinner(winner)
    language = Language.CUDA if PurePath(spec.source_file).suffix in _CUDA_SUFFIXES else Language.TRITON
    estimated = any(w.estimated for w in verdict.workloads) or verdict.speed.value == "estimated"
    features = _features(spec, language)
    environment = dict(verdict.environment)
    # Where a step was taken from is not a step: replaying needs the steps alone.
    recipe = tuple(_clean(step) for step in winner.recipe if step.proposer != "transplant")
    device = "" if estimated else environment.get("device", "")
    insight = Insight(
        insight_id="",
        claim=_claim(recipe, verdict, estimated, features, device or spec.target),
        scope=Scope(language.value, features, spec.target, device, _toolchain(environment)),
        recipe=recipe,
        ratio=verdict.ratio,
        ratio_low=verdict.interval.low if verdict.interval else None,
        ratio_high=verdict.interval.high if verdict.interval else None,
        estimated=estimated,
        kernel=spec.kernels[0],
        before=redact(excerpt(spec.base_source, language, spec.kernels)),
        after=redact(excerpt(winner.source, language, spec.kernels)),
        evidence_sha256=evidence_sha256(spec.base_source, winner.source, verdict),
        created_at=created_at or datetime.now(UTC),
    )
    return with_id(insight)


def evidence_sha256(base_source: str, source: str, verdict: Verdict) -> str:
    """Hash of both sources and the whole verdict: what the journal must still hold for the claim to be checked."""
    evidence = {"base": base_source, "candidate": source, "verdict": asdict(verdict)}
    return hashlib.sha256(json.dumps(evidence, sort_keys=True, default=str).encode("utf-8")).hexdigest()


def _features(spec: RunSpec, language: Language) -> tuple[str, ...]:
    kernel = parse(spec.base_source, language).kernel(spec.kernels[0])
    return features_of(kernel_text(spec.base_source, kernel), language) if kernel else ()


def _toolchain(environment: dict[str, str]) -> str:
    return ", ".join(f"{name} {environment[name]}" for name in _TOOLCHAIN if environment.get(name))


def _clean(step: Step) -> Step:
    return Step(step.proposer, step.rule, tuple((name, redact(value)) for name, value in step.parameters))


def _claim(recipe: Sequence[Step], verdict: Verdict, estimated: bool, features: tuple[str, ...], where: str) -> str:
    change = _joined([step_words(step) for step in recipe]) or "a rewrite"
    return f"{change}: {ratio_words(verdict, estimated)} on {shape_words(features)} ({where})"


def step_words(step: Step) -> str:
    """A step in words: the rule's name for rewrites, the settings for parameters, the model's name for a model."""
    if step.proposer == "model":
        return f"a rewrite by {step.rule}"
    settings = ", ".join(f"{name} {redact(value)}" for name, value in step.parameters if name != "kernel")
    rule = step.rule.replace("_", " ").replace("-", " ")
    if step.proposer == "tune":
        return settings or rule
    return f"{rule} ({settings})" if settings else rule


def ratio_words(verdict: Verdict, estimated: bool) -> str:
    """ "1.40× estimated" or "1.38× (1.35–1.41) measured"; the two words are never exchanged."""
    interval = f" ({verdict.interval.low:.2f}–{verdict.interval.high:.2f})" if verdict.interval else ""
    return f"{verdict.ratio:.2f}×{interval} {'estimated' if estimated else 'measured'}"


def _joined(words: list[str]) -> str:
    """The last four steps, each once: an older one was overtaken, or is one of many."""
    distinct = list(dict.fromkeys(words))[-4:]
    return distinct[0] if len(distinct) == 1 else ", ".join(distinct[:-1]) + " and " + distinct[-1] if distinct else ""
