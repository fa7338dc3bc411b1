"""The proposer ``tune``: other values for what the launch of a kernel lets one choose."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from evolve_core.propose.kernel_code import find_kernels
from evolve_core.propose.knobs import Panel, find_panels
from evolve_core.propose.proposal import Judged, Proposal, Situation, Step
from evolve_core.propose.space import Point, current, neighbours, random_point, starts
from evolve_core.propose.syntax import Code, parse_code, splice

ELITES_SEARCHED = 4
NEIGHBOURS_PER_ASK = 10
RANDOM_PER_ASK = 3


class Tune:
    """Starts from known-good points of each kernel's kind, then walks from the best candidates, a knob or two a step.

    Works on the text of any elite, so that what a rewrite introduced (rows per program, pipeline stages) is tuned too.
    The same seed and the same verdicts give the same proposals.
    """

    name = "tune"

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._seen: set[str] = set()
        self._opened: set[str] = set()

    def propose(self, situation: Situation) -> Iterator[Proposal]:
        """Starting points for text whose knobs were never turned, then steps from the elites, then random points."""
        elites = situation.elite[:ELITES_SEARCHED]
        self._seen |= {j.proposal.source for j in elites}
        for elite in elites:
            yield from self._open(elite, situation)
        for elite in elites:
            yield from self._walk(elite, situation)

    def tell(self, judged: Judged) -> None:
        self._seen.add(judged.proposal.source)

    def _open(self, elite: Judged, situation: Situation) -> Iterator[Proposal]:
        for code, panel in _panels(elite, situation):
            shape = _without_values(code, panel)
            if shape in self._opened:
                continue
            for point in starts(panel, situation.target):
                yield from self._made(elite, code, panel, point)
            # Only now: whoever asks may drop this iterator half-way and start a new one.
            self._opened.add(shape)

    def _walk(self, elite: Judged, situation: Situation) -> Iterator[Proposal]:
        for code, panel in _panels(elite, situation):
            made = 0
            for point in neighbours(panel, current(panel), situation.target, self._rng):
                for proposal in self._made(elite, code, panel, point):
                    made += 1
                    yield proposal
                if made >= NEIGHBOURS_PER_ASK:
                    break
            for _ in range(RANDOM_PER_ASK):
                drawn = random_point(panel, situation.target, self._rng)
                if drawn is not None:
                    yield from self._made(elite, code, panel, drawn)

    def _made(self, elite: Judged, code: Code, panel: Panel, point: Point) -> Iterator[Proposal]:
        source = splice(code, panel.edits(point))
        if source in self._seen:
            return
        self._seen.add(source)
        step = launch_step(panel, point)
        parents = (elite.candidate_id,) if elite.candidate_id else ()
        recipe = _joined(elite.proposal.recipe, step)
        yield Proposal(source, _summary(panel, point), recipe, parents)


def _panels(elite: Judged, situation: Situation) -> Iterator[tuple[Code, Panel]]:
    code = parse_code(elite.proposal.source)
    if code is not None:
        for panel in find_panels(find_kernels(code, situation.task.kernels)):
            yield code, panel


def _without_values(code: Code, panel: Panel) -> str:
    """The text with every knob of the panel blanked: equal for candidates that differ in the knobs alone."""
    if panel.config is not None:
        return splice(code, panel.edits({k.name: 0 for k in panel.knobs}))
    return splice(code, panel.edits({k.name: -1 for k in panel.knobs}))


def launch_step(panel: Panel, point: Mapping[str, int]) -> Step:
    changed = [(k.name, str(point[k.name])) for k in panel.knobs if k.name in point and point[k.name] != k.value]
    return Step("tune", "launch", (("kernel", panel.kernel), *changed))


def _joined(recipe: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """A choice right after a choice for the same kernel replaces it, value by value."""
    if recipe and recipe[-1].proposer == "tune" and recipe[-1].parameters[:1] == step.parameters[:1]:
        merged = dict(recipe[-1].parameters) | dict(step.parameters)
        return (*recipe[:-1], Step("tune", "launch", tuple(merged.items())))
    return (*recipe, step)


def _summary(panel: Panel, point: Point) -> str:
    changes = [
        f"{k.name} {'computed' if k.value is None else k.value} → {point[k.name]}"
        for k in panel.knobs
        if k.name in point and point[k.name] != k.value
    ]
    if panel.config is not None:
        return f"{panel.kernel}: one configuration instead of autotuning: " + ", ".join(
            f"{name} {value}" for name, value in point.items()
        )
    return ", ".join(changes)
