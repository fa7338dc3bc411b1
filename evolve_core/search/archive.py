"""What a search has seen so far: who was proposed, who was judged, who is best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict
from evolve_core.propose.proposal import Judged, Proposal, Situation
from evolve_core.task.model import Task

ELITE_SIZE = 8
"""How many correct candidates proposers build on. Enough for variety, few enough that each gets descendants."""


def as_written(source: str) -> Judged:
    """The user's own source as the first member of the elite: correct by definition of the task, ratio 1."""
    verdict = Verdict(Correctness.CORRECT, Speed.SAME, Trust.HOST_CODE, Stage.SCREENING, "as written", ratio=1.0)
    return Judged("", Proposal(source, "as written", ()), verdict)


@dataclass
class Archive:
    """Grows by ``admit`` (before judging) and ``record`` (after).

    ``digest`` maps a file's text to the hash of its normalised source: texts with equal digests are one candidate.
    """

    task: Task
    source: str
    target: str
    digest: Callable[[str], str]
    _seen: set[str] = field(default_factory=set)
    _judged: list[Judged] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seen.add(self.digest(self.source))

    def admit(self, proposal: Proposal) -> bool:
        """Say whether the proposal is new, and remember it."""
        digest = self.digest(proposal.source)
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def record(self, judged: Judged) -> None:
        self._judged.append(judged)

    def replace(self, judged: Judged) -> None:
        """A candidate was judged again: the later verdict counts."""
        self._judged = [judged if j.candidate_id == judged.candidate_id else j for j in self._judged]

    @property
    def judged(self) -> tuple[Judged, ...]:
        return tuple(self._judged)

    def ranking(self) -> list[Judged]:
        """Correct candidates with a ratio, best first; the earlier one wins a tie."""
        correct = [j for j in self._judged if j.verdict.correctness is Correctness.CORRECT and j.verdict.ratio]
        return sorted(correct, key=lambda j: -(j.verdict.ratio or 0.0))

    def situation(self) -> Situation:
        ranked = [*self.ranking(), as_written(self.source)]
        ranked.sort(key=lambda j: -(j.verdict.ratio or 0.0))
        own = next(j for j in ranked if not j.candidate_id)
        elite = ranked[:ELITE_SIZE]
        if own not in elite:
            elite[-1] = own
        return Situation(self.task, self.source, self.target, tuple(elite), self.judged)
