"""Wrong outputs that need no candidate: made of what a user's own kernel gave, and of reference() on changed inputs.

Each is what a faulty kernel would give. Whether the acceptance rule notices is for the runner to say; here they are
only made. The coarse ones are those of any harness's review (all zeros, a factor, a part left out); of a poorer type
for the inputs a GPU's own are taken, fp16 and tf32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .copies import clone
from .errors import StepError
from .precision import in_tf32

Named = list[tuple[str, Any]]
Ask = Callable[[dict[str, Any]], Named]
"""reference() on other inputs, in wider types. Raises StepError where it does not take them."""

FACTOR = 1.005
LOST_SHARE = 0.01
SAME = 2.0**-40
"""Relative. fp64 evaluations of one function in two orders differ by less, its arguments rounded to tf32 by more."""

ZEROS = "zeros"
CONSTANT_MEAN = "constant mean"
SCALED = f"times {FACTOR}"
PASSED_THROUGH = "input passed through"
ROWS_SWAPPED = "two rows swapped"
TAIL_DROPPED = "last 1 % dropped"
FP16 = "inputs in fp16"
TF32 = "inputs in tf32"
NO_EPS = "eps dropped"


@dataclass(frozen=True)
class Scene:
    """One workload: its inputs, the truth in wide types, and what the user's own kernel gave.

    Tensors alone. What asks reference() is None where the task has none; ``in_fp32`` gives its outputs in the precision
    that kernels compute in, rounded to the types of ``native``.
    """

    inputs: dict[str, Any]
    truth: Named
    native: Named
    ask: Ask | None = None
    ask_without_eps: Ask | None = None
    in_fp32: Ask | None = None


@dataclass(frozen=True)
class Mutant:
    """``outputs`` are those that it changes, by name, in the types of the user's own kernel's.

    ``moved`` is the largest change relative to the largest value of that output, before anything was rounded: 0 where
    nobody could tell the mutant from the right answer.
    """

    name: str
    outputs: Named
    moved: float


def mutants_of(scene: Scene) -> Iterator[Mutant]:
    """All mutants that can be made on this workload."""
    for name, value in scene.native:
        if value.numel():
            yield from _of_output(scene, name, value)
    if scene.ask is not None:
        yield from _without_tail(scene, scene.ask)
        yield from _in_poorer_types(scene, scene.ask)
    if scene.ask_without_eps is not None:
        yield from _asked(scene, NO_EPS, scene.ask_without_eps, scene.inputs)


def distance(changed: torch.Tensor, right: torch.Tensor) -> float:
    """The largest difference relative to the largest finite value of ``right``; infinite where finiteness differs."""
    ours, theirs = _wide(changed), _wide(right)
    finite = torch.isfinite(theirs)
    if bool((torch.isfinite(ours) != finite).any()):
        return float("inf")
    if not bool(finite.any()):
        return 0.0
    top, most = float(theirs[finite].abs().max()), float((ours - theirs)[finite].abs().max())
    if most == 0.0:
        return 0.0
    return most / top if top else float("inf")


def far_from(found: Named, right: Named) -> float:
    """The largest ``distance`` of any output; infinite where there are others, or of other shapes."""
    ours, theirs = ([torch.as_tensor(value) for _, value in named] for named in (found, right))
    if [value.shape for value in ours] != [value.shape for value in theirs]:
        return float("inf")
    return max(map(distance, ours, theirs), default=0.0)


# -- made of the outputs ---------------------------------------------------------------------------------------------


def _of_output(scene: Scene, name: str, value: torch.Tensor) -> Iterator[Mutant]:
    changed = {ZEROS: torch.zeros_like(_wide(value)), ROWS_SWAPPED: rows_swapped(value)}
    if value.dtype.is_floating_point or value.dtype.is_complex:
        changed[CONSTANT_MEAN] = torch.full_like(_wide(value), _mean(value))
        changed[SCALED] = _wide(value) * FACTOR
    if (given := _same_kind(value, scene.inputs)) is not None:
        changed[PASSED_THROUGH] = given
    for mutant, wrong in changed.items():
        yield Mutant(mutant, [(name, _like(value, wrong))], distance(wrong, value))


def rows_swapped(value: torch.Tensor) -> torch.Tensor:
    """The first row and the first that differs from it have changed places; a row is along the first axis with two."""
    axis = next((i for i, size in enumerate(value.shape) if size > 1), None)
    if axis is None:
        return value
    rows = value.movedim(axis, 0)
    flat = _wide(rows).reshape(rows.shape[0], -1)
    different = (torch.ne(flat, flat[0]) & ~(flat.isnan() & flat[0].isnan())).any(dim=1).nonzero()
    if not len(different):
        return value
    order = torch.arange(rows.shape[0], device=value.device)
    other = int(different[0])
    order[0], order[other] = other, 0
    return value.index_select(axis, order)


def _mean(value: torch.Tensor) -> Any:
    wide = _wide(value)
    finite = wide[torch.isfinite(wide)]
    return finite.mean().item() if finite.numel() else 0.0


def _same_kind(value: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor | None:
    fitting = (
        given
        for given in inputs.values()
        if isinstance(given, torch.Tensor) and given.shape == value.shape and given.dtype == value.dtype
    )
    return next(fitting, None)


# -- made of reference() on changed inputs ---------------------------------------------------------------------------


def _without_tail(scene: Scene, ask: Ask) -> Iterator[Mutant]:
    """The last hundredth of every input left out along axes of one length, for each length: one is what is reduced.

    Where it makes no difference to what is left (as to a causal attention), the last hundredth is zero instead.
    """
    made = [mutant for size in _lengths(scene.inputs) for mutant in _shortened(scene, ask, size)]
    if any(mutant.moved > SAME for mutant in made):
        yield from made
        return
    cut = {name: _tail_zeroed(value) for name, value in _data(scene.inputs).items()}
    yield from _asked(scene, TAIL_DROPPED, ask, {**scene.inputs, **cut})


def _shortened(scene: Scene, ask: Ask, size: int) -> Iterator[Mutant]:
    kept = size - _lost(size)
    yield from _asked(scene, TAIL_DROPPED, ask, {n: _narrowed(value, size, kept) for n, value in scene.inputs.items()})


def _lengths(inputs: dict[str, Any]) -> list[int]:
    """Of the axes of the data, the longest first."""
    return sorted({size for value in _data(inputs).values() for size in value.shape if size > 1}, reverse=True)


def _data(inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The floating-point tensors; all of them where there are none. Integers beside those are mostly indices."""
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    floating = {name: value for name, value in tensors.items() if value.dtype.is_floating_point}
    return floating or tensors


def _lost(size: int) -> int:
    return max(1, round(size * LOST_SHARE))


def _narrowed(value: Any, size: int, kept: int) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value[tuple(slice(kept) if length == size else slice(None) for length in value.shape)]


def _tail_zeroed(value: torch.Tensor) -> torch.Tensor:
    cut = value.clone()
    if cut.dim() and cut.numel():
        axis = max(range(cut.dim()), key=lambda i: cut.shape[i])
        cut.narrow(axis, cut.shape[axis] - _lost(cut.shape[axis]), _lost(cut.shape[axis])).zero_()
    return cut


def _in_poorer_types(scene: Scene, ask: Ask) -> Iterator[Mutant]:
    for name, rounded in ((FP16, _in_fp16), (TF32, in_tf32)):
        changed = {key: rounded(value) for key, value in scene.inputs.items()}
        if any(changed[key] is not value for key, value in scene.inputs.items()):
            yield from _asked(scene, name, ask, changed)


def _in_fp16(value: Any) -> Any:
    wider = isinstance(value, torch.Tensor) and value.dtype in (torch.float32, torch.float64)
    return value.half().to(value.dtype) if wider else value


def _asked(scene: Scene, mutant: str, ask: Ask, inputs: dict[str, Any]) -> Iterator[Mutant]:
    """What reference() makes of ``inputs``, where it takes them and still gives outputs of the right shapes."""
    try:
        found = ask(inputs)
    except StepError:
        return
    if len(found) != len(scene.truth):
        return
    outputs, moved = [], 0.0
    for (name, wrong), (_, right), (_, native) in zip(found, scene.truth, scene.native, strict=True):
        if not native.numel():
            continue
        filled = _filled(torch.as_tensor(wrong), torch.as_tensor(right))
        if filled is None:
            return
        outputs.append((name, _like(native, filled)))
        moved = max(moved, distance(filled, torch.as_tensor(right)))
    if outputs:
        yield Mutant(mutant, outputs, moved)


def _filled(short: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """``short``, and beyond its end the right values. None where it is no shortened ``right``."""
    if short.shape == right.shape:
        return short
    if short.dim() != right.dim() or any(a > b for a, b in zip(short.shape, right.shape, strict=True)):
        return None
    whole = right.clone()
    whole[tuple(slice(size) for size in short.shape)] = short.to(right.dtype)
    return whole


def _like(native: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``values`` rounded to the type of ``native``, laid out as it is."""
    rounded = values.to(native.dtype)
    return rounded if 0 in native.stride() else clone(native).copy_(rounded)


def _wide(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.complex128 if value.is_complex() else torch.float64)
