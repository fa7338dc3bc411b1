"""The proposer ``transplant``: what helped a similar kernel, replayed on this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evolve_core.knowledge.model import Suggestion
from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.propose.replay import replay


class Transplant:
    """Replays each suggestion's recipe on the user's source, most similar first; what does not apply is passed over."""

    name = "transplant"

    def __init__(self, suggestions: Sequence[Suggestion]) -> None:
        self._suggestions = sorted(suggestions, key=lambda s: -s.similarity)
        self._seen: set[str] = set()

    def propose(self, situation: Situation) -> Iterator[Proposal]:
        for suggestion in self._suggestions:
            insight = suggestion.insight
            source = replay(insight.recipe, situation.source, situation.task.kernels)
            if source is None or source in self._seen:
                continue
            self._seen.add(source)
            step = Step("transplant", insight.insight_id)
            yield Proposal(source, f"{insight.claim} (from {insight.kernel})", (*insight.recipe, step))

    def tell(self, judged: Judged) -> None:
        self._seen.add(judged.proposal.source)
