"""Proposers by name."""

from __future__ import annotations

from collections.abc import Sequence

from evolve_core.knowledge.model import Suggestion
from evolve_core.propose.proposal import Proposer
from evolve_core.propose.rewrite.proposer import Rewrite
from evolve_core.propose.transplant import Transplant
from evolve_core.propose.tune import Tune

NAMES = ("tune", "rewrite", "transplant")


class UnknownProposerError(ValueError):
    """A proposer was asked for that does not exist; the message lists those that do."""


def make_proposers(names: Sequence[str], seed: int, suggestions: Sequence[Suggestion] = ()) -> list[Proposer]:
    """The named proposers that need no language model, in the order asked for. Equal seeds give equal searches."""
    made: list[Proposer] = []
    for name in names:
        match name:
            case "tune":
                made.append(Tune(seed))
            case "rewrite":
                made.append(Rewrite(seed))
            case "transplant":
                made.append(Transplant(suggestions))
            case _:
                raise UnknownProposerError(f"no proposer is called {name!r}; there are {', '.join(NAMES)}")
    return made
