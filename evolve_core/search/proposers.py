"""Which proposers a run asks: those named in its spec, language models where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evolve_core.errors import UsageError
from evolve_core.journal.model import RunSpec
from evolve_core.knowledge.model import Suggestion
from evolve_core.models.registry import providers_from
from evolve_core.propose.factory import UnknownProposerError, make_proposers
from evolve_core.propose.model.proposer import ModelProposer
from evolve_core.propose.proposal import Proposer
from evolve_core.source.model import Language

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Panel:
    """A run's proposers. ``models`` is the one among them whose answers come late, None without language models."""

    proposers: tuple[Proposer, ...]
    models: ModelProposer | None

    def pending(self) -> int:
        """Conversations that may still lead to a candidate."""
        return self.models.pending if self.models else 0

    def spent_dollars(self) -> float:
        return self.models.usage.cost_usd if self.models else 0.0

    def close(self) -> None:
        if self.models:
            self.models.close()


def check_proposers(names: Sequence[str]) -> None:
    """Raises UsageError where a name is no proposer's."""
    try:
        make_proposers([name for name in names if name != MODEL], seed=0)
    except UnknownProposerError as error:
        raise UsageError(f"{error}, {MODEL}.") from None


def panel_for(
    spec: RunSpec,
    language: Language,
    suggestions: tuple[Suggestion, ...],
    models: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Panel:
    """Make the proposers of a run. ``say`` gets one line for each model that cannot be used, and why.

    Keys come from ``environ`` and stay in the providers. Raises UsageError for a proposer or a model that is unknown.
    """
    try:
        proposers = make_proposers([name for name in spec.proposers if name != MODEL], spec.seed, suggestions)
    except UnknownProposerError as error:
        raise UsageError(f"{error}, {MODEL}.") from None
    if MODEL not in spec.proposers or not models:
        return Panel(tuple(proposers), None)
    providers, notices = providers_from(models, environ)
    for notice in notices:
        say(notice)
    if not providers:
        return Panel(tuple(proposers), None)
    asked = ModelProposer(providers, language, spec.seed, dollars=spec.budget_dollars, say=say)
    return Panel((*proposers, asked), asked)
