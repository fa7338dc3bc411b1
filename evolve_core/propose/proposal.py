"""What every proposer is given and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from evolve_core.judge.verdict import Verdict
from evolve_core.task.model import Task


@dataclass(frozen=True, slots=True)
class Step:
    """One change on the way from the user's source to a candidate: enough to replay it on another kernel.

    ``proposer`` is the proposer's name (``tune``, ``rewrite``, ``transplant``, ``model``), ``rule`` what it applied
    (a rewrite rule's name, ``launch`` for tune, a model's name), ``parameters`` its settings as (name, value) text.
    """

    proposer: str
    rule: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A whole candidate file. ``summary`` is one line for people ("BLOCK_M 64 → 128, num_warps 4 → 8").

    ``recipe`` lists every step since the user's source, the parents' included.
    """

    source: str
    summary: str
    recipe: tuple[Step, ...]
    parents: tuple[str, ...] = ()

    @property
    def proposer(self) -> str:
        return self.recipe[-1].proposer


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with its verdict, as proposers see it. ``candidate_id`` "" is the user's own source."""

    candidate_id: str
    proposal: Proposal
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Situation:
    """What a proposer may know when it is asked: the task, the user's file, and everything judged so far.

    ``elite`` holds correct candidates, best first; the user's own source is always among them.
    """

    task: Task
    source: str
    target: str
    elite: tuple[Judged, ...]
    judged: tuple[Judged, ...] = field(default=())


class Proposer(Protocol):
    """Asked for candidates until the budget is spent; told every verdict, its own and others'.

    ``propose`` yields as many proposals as it has right now, best first, and returns when it has none; the loop asks
    again after it has told something new. Duplicates are the loop's business (it drops them by normalised source).
    """

    @property
    def name(self) -> str: ...

    def propose(self, situation: Situation) -> Iterator[Proposal]: ...

    def tell(self, judged: Judged) -> None: ...
