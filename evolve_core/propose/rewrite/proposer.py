"""The proposer ``rewrite``: source rules on the best candidates, one at a time, then on top of each other."""

from __future__ import annotations

import random
from collections.abc import Iterator

from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.propose.rewrite.registry import rules
from evolve_core.propose.rewrite.rule import Rewritten, Rule, Settings, apply_rule

ELITES_REWRITTEN = 6
SETTINGS_AT_FIRST = 1


class Rewrite:
    """Every rule with its likeliest settings on every elite, then the other settings. Elites carry earlier rules, so

    combinations come by themselves. Ties are broken by the seed; the same verdicts give the same proposals.
    """

    name = "rewrite"

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._tried: set[tuple[str, str, str, tuple[tuple[str, str], ...]]] = set()
        self._seen: set[str] = set()

    def propose(self, situation: Situation) -> Iterator[Proposal]:
        """Best elite first; a rule's first settings before anyone's second, and blind combinations last."""
        elites = situation.elite[:ELITES_REWRITTEN]
        self._seen |= {j.proposal.source for j in elites}
        for depth in range(max(len(rule.settings) for rule in rules())):
            for elite in elites:
                yield from self._round(elite, situation, depth)
        yield from self._pairs(situation)

    def tell(self, judged: Judged) -> None:
        self._seen.add(judged.proposal.source)

    def _round(self, elite: Judged, situation: Situation, depth: int) -> Iterator[Proposal]:
        for kernel in situation.task.kernels:
            for rule in rules():
                if depth < len(rule.settings):
                    made = self._apply(elite.proposal, kernel, rule, rule.settings[depth])
                    if made is not None:
                        yield _with_parent(made, elite)

    def _pairs(self, situation: Situation) -> Iterator[Proposal]:
        """Two rules at once on the user's own source: a pair may pay where neither rule alone does."""
        for elite in (j for j in situation.elite if not j.candidate_id):
            for kernel in situation.task.kernels:
                pairs = [(a, b) for a in rules() for b in rules() if a is not b]
                self._rng.shuffle(pairs)
                for first, second in pairs:
                    yield from self._pair(elite, kernel, first, second)

    def _pair(self, elite: Judged, kernel: str, first: Rule, second: Rule) -> Iterator[Proposal]:
        once = _applied(elite.proposal, kernel, first, first.settings[0])
        if once is not None:
            twice = self._apply(once, kernel, second, second.settings[0])
            if twice is not None:
                yield _with_parent(Proposal(twice.source, f"{once.summary}; {twice.summary}", twice.recipe), elite)

    def _apply(self, base: Proposal, kernel: str, rule: Rule, settings: Settings) -> Proposal | None:
        key = (base.source, kernel, rule.name, tuple(settings.items()))
        if key in self._tried:
            return None
        self._tried.add(key)
        made = _applied(base, kernel, rule, settings)
        if made is None or made.source in self._seen:
            return None
        self._seen.add(made.source)
        return made


def _applied(base: Proposal, kernel: str, rule: Rule, settings: Settings) -> Proposal | None:
    made = apply_rule(rule, base.source, kernel, settings)
    if not isinstance(made, Rewritten):
        return None
    step = Step("rewrite", rule.name, (("kernel", kernel), *settings.items()))
    return Proposal(made.source, f"{rule.name}: {made.summary}", (*base.recipe, step))


def _with_parent(made: Proposal, elite: Judged) -> Proposal:
    parents = (elite.candidate_id,) if elite.candidate_id else ()
    return Proposal(made.source, made.summary, made.recipe, parents)
