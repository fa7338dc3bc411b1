"""Other inputs than those that the task draws: whether each of them matters, and what the task's own values hide.

An input that never moves the truth could be ignored by a candidate. A mutant that coincides with the right answer on
the task's values, and would not on others, shows that the values hide something; one that coincides there, too, is
none for this function.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from .errors import StepError
from .mutants import Ask, Named, Scene, far_from, mutants_of

_SPREAD = 0.1
_SEED = 7


def perturbed(value: Any) -> list[Any]:
    """Other values of the same kind; empty where there are none: a string, a number that may be a size.

    Floating-point tensors are moved on by one place, and up to a tenth larger or smaller; of booleans every second one
    is turned round.
    """
    if type(value) is float:
        return [value * (1 + _SPREAD) if value else _SPREAD]
    if not isinstance(value, torch.Tensor) or not value.numel():
        return []
    if value.dtype is torch.bool:
        return [value ^ _every_second(value).bool()]
    if value.dtype.is_floating_point or value.dtype.is_complex:
        return [_shaken(_moved_on(value))]
    return _integers(value)


def _integers(value: torch.Tensor) -> list[torch.Tensor]:
    """Moved on by one place; half of them made the largest, because a histogram's order does not matter. So indices
    stay among those that the task draws, unless they are all the same.
    """
    half = -(-value.numel() // 2)
    flat = value.reshape(-1)
    raised = torch.cat([flat.max().expand(half), flat[half:]]).reshape(value.shape)
    others = [other for other in (_moved_on(value), raised) if bool((other != value).any())]
    return others or [value + _every_second(value).to(value.dtype)]


def _moved_on(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1).roll(1).reshape(value.shape)


def _every_second(value: torch.Tensor) -> torch.Tensor:
    """1, 0, 1, 0 … in the shape of ``value``."""
    return ((torch.arange(value.numel(), device=value.device) + 1) % 2).reshape(value.shape)


def _shaken(value: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator(device=value.device).manual_seed(_SEED)
    noise = (torch.rand(value.shape, generator=generator, device=value.device) * 2 - 1) * _SPREAD
    wide = value.to(torch.complex64 if value.is_complex() else torch.float32)
    shaken = wide * (1 + noise)
    return torch.where(wide == 0, noise.abs(), shaken).to(value.dtype)


def moved_by(scene: Scene, ask: Ask, name: str) -> float | None:
    """How far the truth moves, relative to its largest value, when input ``name`` is perturbed; None: not to be told.

    Whether NaN or infinity comes or goes counts as far.
    """
    tried = (_far(scene, ask, {**scene.inputs, name: other}) for other in perturbed(scene.inputs[name]))
    return max((far for far in tried if far is not None), default=None)


def _far(scene: Scene, ask: Ask, inputs: dict[str, Any]) -> float | None:
    try:
        found = ask(inputs)
    except StepError:
        return None
    return far_from(found, scene.truth)


def mutants_on_other_values(scene: Scene) -> dict[tuple[str, str], float]:
    """(mutant, output) → how far it is from the right answer when every input is perturbed; empty: not to be told."""
    if scene.ask is None:
        return {}
    other = _elsewhere(scene, scene.ask)
    if other is None:
        return {}
    found: dict[tuple[str, str], float] = {}
    for mutant in mutants_of(other):
        for name, _ in mutant.outputs:
            found[mutant.name, name] = max(found.get((mutant.name, name), 0.0), mutant.moved)
    return found


def _elsewhere(scene: Scene, ask: Ask) -> Scene | None:
    shaken = {name: others[0] for name, value in scene.inputs.items() if (others := perturbed(value))}
    # Where moved indices do not fit together, floating-point values alone may.
    plain = {name: other for name, other in shaken.items() if isinstance(other, torch.Tensor) and _is_float(other)}
    for changed in (shaken, plain):
        inputs = {**scene.inputs, **changed}
        try:
            truth = ask(inputs)
        except StepError:
            continue
        if len(truth) == len(scene.native):
            return replace(scene, inputs=inputs, truth=truth, native=_rounded(truth, scene.native))
    return None


def _rounded(truth: Named, native: Named) -> Named:
    return [(name, torch.as_tensor(value).to(own.dtype)) for (name, value), (_, own) in zip(truth, native, strict=True)]


def _is_float(value: torch.Tensor) -> bool:
    return value.dtype.is_floating_point
