"""The search's side of the knowledge base: asked first, told at the end. Its failures never fail a run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from evolve_core.journal.model import CandidateRecord, RunSpec
from evolve_core.knowledge.errors import KnowledgeError
from evolve_core.knowledge.insight import insight_from_winner
from evolve_core.knowledge.model import Suggestion
from evolve_core.knowledge.store import Outcome, open_store
from evolve_core.knowledge.suggest import suggest
from evolve_core.propose.proposal import Judged
from evolve_core.search.loop import is_gain
from evolve_core.source.model import Language

SUGGESTIONS_PER_KERNEL = 3


def suggestions_for(spec: RunSpec, language: Language, url: str | None) -> tuple[tuple[Suggestion, ...], str]:
    """What the knowledge base would try on the run's kernels, and a notice for the user ("" if all is well)."""
    try:
        with open_store(url) as store:
            found = suggest(store, spec.base_source, language, spec.target, SUGGESTIONS_PER_KERNEL)
    except KnowledgeError as error:
        return (), f"{error} The search goes on without it."
    return tuple(s for each in found if each.kernel in spec.kernels for s in each.suggestions), ""


def remember_winner(spec: RunSpec, winner: CandidateRecord, url: str | None) -> str:
    """Make the confirmed winner an insight. Return a notice for the user ("" if all is well)."""
    try:
        with open_store(url) as store:
            store.add(insight_from_winner(spec, winner))
    except KnowledgeError as error:
        return f"{error} The winner stays in this workspace's journal, but was not shared."
    return ""


def remember_outcomes(run_id: str, judged: tuple[Judged, ...], url: str | None) -> str:
    """Tell the knowledge base which of its suggestions held here: confirmed, and better than the user's own.

    To be called after confirmation: a screening's ratio proves nothing. A run that is told twice counts once. Return a
    notice for the user ("" if all is well).
    """
    held: dict[str, bool] = {}
    for one in judged:
        if one.proposal.proposer == "transplant":
            insight_id = one.proposal.recipe[-1].rule
            held[insight_id] = held.get(insight_id, False) or is_gain(one.verdict)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    outcomes = [
        Outcome(hashlib.sha256(f"{run_id}:{insight_id}".encode()).hexdigest()[:32], insight_id, good, at)
        for insight_id, good in held.items()
    ]
    try:
        if outcomes:
            with open_store(url) as store:
                store.add_outcomes(outcomes)
    except KnowledgeError as error:
        return str(error)
    return ""
