"""Recipes replayed on another text: what a transplant does, and what a suggestion shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evolve_core.propose.kernel_code import find_kernels
from evolve_core.propose.knobs import Panel, find_panels
from evolve_core.propose.proposal import Step
from evolve_core.propose.rewrite.registry import rule_named
from evolve_core.propose.rewrite.rule import Rewritten, apply_rule
from evolve_core.propose.space import domain
from evolve_core.propose.syntax import parse_code, splice


def replay(recipe: Sequence[Step], source: str, kernels: Sequence[str]) -> str | None:
    """``source`` with the recipe's steps applied to ``kernels``, where they apply; None where none of them does.

    A rewrite is replayed by its rule's name, a choice of launch parameters by the parameters' names, or, where those
    differ, by what they are for (a tile's edge for a tile's edge) as long as that leaves no choice. Steps of a language
    model cannot be replayed and are passed over. A kernel that a step does not fit stays as it is.
    """
    text = source
    for step in recipe:
        for kernel in kernels:
            text = _replayed(step, text, kernel)
    return text if text != source else None


def _replayed(step: Step, source: str, kernel: str) -> str:
    parameters = {name: value for name, value in step.parameters if name != "kernel"}
    if step.proposer == "tune":
        return _tuned(parameters, source, kernel)
    rule = rule_named(step.rule) if step.proposer == "rewrite" else None
    made = apply_rule(rule, source, kernel, parameters) if rule is not None else None
    return made.source if isinstance(made, Rewritten) else source


def _tuned(parameters: Mapping[str, str], source: str, kernel: str) -> str:
    code = parse_code(source)
    if code is None:
        return source
    for panel in find_panels(find_kernels(code, (kernel,))):
        point = _point(panel, parameters)
        if point:
            full = {k.name: k.value for k in panel.knobs if k.value is not None} | point
            return splice(code, panel.edits(full))
    return source


def _point(panel: Panel, parameters: Mapping[str, str]) -> dict[str, int]:
    """The values that this panel can take: by name, then the only knob left for the only value left."""
    numbers = {name: int(value) for name, value in parameters.items() if value.isdecimal()}
    point = {
        k.name: numbers.pop(k.name) for k in panel.knobs if k.name in numbers and numbers[k.name] in domain(panel, k)
    }
    tiles = [k for k in panel.knobs if k.name not in point and k.role in ("tile", "loop tile")]
    rest = [v for name, v in numbers.items() if name not in ("num_warps", "num_stages") and "num_stages" not in name]
    if len(tiles) == 1 and len(rest) == 1 and rest[0] in domain(panel, tiles[0]):
        point[tiles[0].name] = rest[0]
    return point
