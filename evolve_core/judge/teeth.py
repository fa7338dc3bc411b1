"""Does the acceptance rule tell right from wrong on this task? Decided once, before any candidate, of mutants.

A mutant that passes is a kind of wrong kernel that the task would let through: then no verdict on it would mean
anything. One that coincides with the right answer is no mutant of this function, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from evolve_core.judge.correctness import (
    RMS_FACTOR,
    Accepted,
    epsilon,
    exact_outputs,
    judge_check,
)
from evolve_core.judge.observation import Check, Outcome, OutputCheck, parse_output

OWN = "your kernel"
"""The evaluation that must pass: the user's own kernel. (As in judge/host/teeth.py, like the names below.)"""
PRECISIONS = ("inputs in fp16", "inputs in tf32")
NO_EPS = "eps dropped"
NEXT_STEP = {
    "zeros": "draw inputs whose outputs are not all nearly zero",
    "constant mean": "draw inputs that differ from element to element, so that the outputs do",
    "times 1.005": "return a wider type or more elements from the entry, or draw inputs on which your own kernel is "
    "less far from reference()",
    "input passed through": "draw inputs that the kernel changes",
    "two rows swapped": "draw inputs whose rows differ, so that the outputs' rows do",
    "last 1 % dropped": "draw inputs whose last elements matter as much as the first, such as random ones",
    "inputs in fp16": "draw values that fp16 cannot hold exactly (torch.randn), or return a wider type",
    "inputs in tf32": "draw values that tf32 cannot hold exactly (torch.randn), or return a wider type",
    NO_EPS: "add a workload, or a draw of domain(), with values so small or so alike that the eps matters",
}
"""Mutant → what to change in the task when it passes."""
_WHY_NONE = {
    "constant mean": "outputs are integers",
    "times 1.005": "outputs are integers",
    "input passed through": "no input has the shape and type of an output",
    "last 1 % dropped": "reference() takes no other inputs than these",
    "inputs in fp16": "no input is wider than fp16",
    "inputs in tf32": "no input is fp32",
    NO_EPS: "no eps can be told in the task",
}
_UNTOLD = 2.0**-40
"""As ``SAME`` in judge/host/mutants.py, which only the host may import."""


class State(StrEnum):
    CAUGHT = "caught"
    MISSED = "missed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was seen of one mutant (or, with ``moved`` 0, one honest evaluation) on one workload.

    ``moved`` is how far it is from the right answer before rounding, relative to the answer's largest value.
    """

    name: str
    moved: float
    check: Check


@dataclass(frozen=True, slots=True)
class SeenTeeth:
    """What the host saw. ``inputs``: how far the truth moves when each is perturbed (None: not to be told);
    ``hidden``: by mutant and output, how far the mutant is from the right answer on perturbed inputs.
    """

    mutants: tuple[Figure, ...]
    honest: tuple[Figure, ...]
    inputs: Mapping[str, float | None]
    hidden: Mapping[tuple[str, str], float]
    stand_in: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Tooth:
    """What became of one mutant. ``check``: the one that caught it, or that it passed and should not have."""

    mutant: str
    output: str
    state: State
    reason: str
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Teeth:
    """``ignored``: inputs that never matter. ``doubted``: an fp32 evaluation as written that would be rejected.
    ``stand_in``: reference() in fp32 was taken for the user's own kernel. ``why_not``: what could not be looked at.
    """

    teeth: tuple[Tooth, ...] = ()
    exact: frozenset[str] = frozenset()
    """Outputs of which the user's own kernel gives every bit."""
    ignored: tuple[str, ...] = ()
    doubted: str = ""
    stand_in: bool = False
    why_not: str = ""

    @property
    def missed(self) -> tuple[Tooth, ...]:
        return tuple(tooth for tooth in self.teeth if tooth.state is State.MISSED)


def decide(seen: SeenTeeth) -> Teeth:
    """What the rule of correctness.py says of every mutant."""
    own = [figure.check for figure in seen.honest if figure.name == OWN]
    exact = exact_outputs(own)
    teeth = [_tooth(name, output, figures, seen.hidden, exact) for (name, output), figures in _by_mutant(seen)]
    made = {tooth.mutant for tooth in teeth}
    teeth += [Tooth(name, "", State.LEFT_OUT, why) for name, why in _WHY_NONE.items() if teeth and name not in made]
    return Teeth(
        teeth=tuple(teeth),
        exact=exact,
        ignored=tuple(name for name, moved in seen.inputs.items() if moved is not None and moved <= _UNTOLD),
        doubted=_doubted(seen.honest, exact),
        stand_in=seen.stand_in,
        why_not=seen.why_not,
    )


def _by_mutant(seen: SeenTeeth) -> Iterable[tuple[tuple[str, str], list[Figure]]]:
    """Figures by mutant and, where it changes one output of several, that output."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in seen.mutants:
        outputs = ", ".join(output.name for output in figure.check.outputs)
        groups.setdefault((figure.name, outputs), []).append(figure)
    return groups.items()


def _tooth(
    name: str, output: str, figures: Sequence[Figure], hidden: Mapping[tuple[str, str], float], exact: frozenset[str]
) -> Tooth:
    for figure in figures:
        judged = judge_check(figure.check, exact)
        if not isinstance(judged, Accepted):
            return Tooth(name, output, State.CAUGHT, judged.reason, figure.check)
    telling = [figure for figure in figures if figure.moved > _resolution(figure.check)]
    if not telling:
        return _coinciding(name, output, figures, hidden)
    worst = max(telling, key=lambda figure: figure.moved)
    if name in (*PRECISIONS, NO_EPS) and all(_as_good(figure.check) for figure in telling):
        return Tooth(name, output, State.LEFT_OUT, "no more precision is asked for", worst.check)
    return Tooth(name, output, State.MISSED, _figures_in_words(worst.check), worst.check)


def _coinciding(name: str, output: str, figures: Sequence[Figure], hidden: Mapping[tuple[str, str], float]) -> Tooth:
    """Right on all workloads: of this function, or of the values that the task draws?"""
    resolution = max(_resolution(figure.check) for figure in figures)
    elsewhere = max((hidden.get((name, one), 0.0) for one in output.split(", ")), default=0.0)
    if elsewhere > resolution:
        return Tooth(name, output, State.MISSED, "it is right on every workload, and wrong on other values")
    return Tooth(name, output, State.LEFT_OUT, "it is right for this function, or too near to tell in its type")


def _resolution(check: Check) -> float:
    """What of a relative change the outputs' types can show: half an eps."""
    return max([_UNTOLD, *(epsilon(output) / 2 for output in check.outputs)])


def _as_good(check: Check) -> bool:
    """Whether the user's own kernel is about as far from the truth: then the precision is what they asked for."""
    return all(
        output.rms_error is not None
        and output.native_rms is not None
        and output.rms_error <= RMS_FACTOR * output.native_rms
        for output in check.outputs
    )


def _figures_in_words(check: Check) -> str:
    worst = max(check.outputs, key=lambda output: output.max_error or 0.0)
    return (
        f"on {check.label} {worst.name} is off by {worst.max_error or 0.0:.2g}, values being up to "
        f"{worst.max_abs_truth or 0.0:.2g} and your own kernel off by {worst.native_max or 0.0:.2g}"
    )


def _doubted(honest: Sequence[Figure], exact: frozenset[str]) -> str:
    """The first honest evaluation that would be rejected, and why; "" where all would be accepted."""
    for figure in honest:
        judged = judge_check(figure.check, exact)
        if not isinstance(judged, Accepted):
            return f"{figure.name} would be rejected on {figure.check.label}: {judged.reason}"
    return ""


# -- in words --------------------------------------------------------------------------------------------------------


def refusal(teeth: Teeth) -> str:
    """Why no verdict on this task would mean anything, and what to change in it; "" where nothing is missing."""
    if not teeth.missed:
        return ""
    first = teeth.missed[0]
    others = sorted({tooth.mutant for tooth in teeth.missed if tooth.mutant != first.mutant})
    also = f", as would {', '.join(others)}" if others else ""
    return (
        f"unverified: this tolerance has no teeth. A wrong kernel would pass ({first.mutant} in {first.output}{also}): "
        f"{first.reason}. Next: {NEXT_STEP[first.mutant]}."
    )


def warnings(teeth: Teeth) -> tuple[str, ...]:
    """What the user should know though candidates can be judged."""
    said = [
        f"input {name} never moves reference(), so that a candidate could ignore it: draw values of it that matter, "
        "or leave it out of workloads()"
        for name in teeth.ignored
    ]
    if teeth.doubted:
        said.append(f"{teeth.doubted}; so will be a candidate that computes what reference() says, as it says it")
    if teeth.why_not:
        said.append(f"whether the tolerance has teeth could not be looked at in full: {teeth.why_not}")
    return tuple(said)


# -- the host's answer ------------------------------------------------------------------------------------------------


def parse_teeth(data: Mapping[str, Any]) -> SeenTeeth:
    """Raises KeyError, TypeError or ValueError where the host sent something else."""
    workloads = {str(one["id"]): one for one in data["workloads"]}
    figures = [(str(one["kind"]), _figure(one, workloads)) for one in data["figures"]]
    return SeenTeeth(
        mutants=tuple(figure for kind, figure in figures if kind == "mutant"),
        honest=tuple(figure for kind, figure in figures if kind == "honest"),
        inputs={str(one["name"]): None if one["moved"] is None else float(one["moved"]) for one in data["inputs"]},
        hidden={(str(one["name"]), str(one["output"])): float(one["moved"]) for one in data["hidden"]},
        stand_in=bool(data["stand_in"]),
        why_not=str(data["why_not"]),
    )


def _figure(data: Mapping[str, Any], workloads: Mapping[str, Mapping[str, Any]]) -> Figure:
    workload = workloads[str(data["workload"])]
    return Figure(str(data["name"]), float(data["moved"]), check_on(workload, parse_outputs(data["outputs"])))


def parse_outputs(data: Sequence[Mapping[str, Any]]) -> tuple[OutputCheck, ...]:
    return tuple(parse_output(one) for one in data)


def check_on(workload: Mapping[str, Any], outputs: tuple[OutputCheck, ...]) -> Check:
    """``workload``: ``{id, label, seed, recipe}``."""
    return Check(
        workload=str(workload["id"]),
        seed=int(workload["seed"]),
        poison="",
        outcome=Outcome.COMPARED,
        message="",
        inputs_changed=(),
        outputs=outputs,
        out_of_bounds=(),
        label=str(workload["label"]),
        recipe=dict(workload["recipe"]),
    )
