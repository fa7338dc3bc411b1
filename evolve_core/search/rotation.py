"""Asks the proposers in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from evolve_core.propose.proposal import Judged, Proposal, Proposer, Situation


class Rotation:
    """Every proposer gets its turn, so that none can starve another.

    A proposer that has run dry is asked again after a verdict was told to it. A new best candidate makes all of
    them start over from the situation of that moment; what they offer again is dropped by the archive.
    """

    def __init__(self, proposers: Sequence[Proposer]) -> None:
        self._proposers = list(proposers)
        self._offers: dict[str, Iterator[Proposal]] = {}
        self._dry: set[str] = set()
        self._turn = 0

    def ask(self, situation: Callable[[], Situation]) -> Proposal | None:
        """Return the next proposal, None where no proposer has one right now."""
        for _ in range(len(self._proposers)):
            proposer = self._proposers[self._turn % len(self._proposers)]
            self._turn += 1
            if proposer.name in self._dry:
                continue
            offers = self._offers.get(proposer.name)
            if offers is None:
                offers = self._offers[proposer.name] = proposer.propose(situation())
            proposal = next(offers, None)
            if proposal is not None:
                return proposal
            del self._offers[proposer.name]
            self._dry.add(proposer.name)
        return None

    def retry(self, name: str) -> None:
        """A proposer whose ideas come late may have some now."""
        self._dry.discard(name)

    def tell(self, judged: Judged, *, is_best: bool) -> None:
        for proposer in self._proposers:
            proposer.tell(judged)
        self._dry.clear()
        if is_best:
            self._offers.clear()
