"""Mutants that every operator gets: the coarse faults of which any tolerance worth its name must catch each one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.mutants.kit import Function, Operator, Tensor


def zeros(out: Tensor) -> Tensor:
    return torch.zeros_like(out)


def constant_mean(out: Tensor) -> Tensor:
    return torch.full_like(out, float(out.float().mean()))


def scaled(out: Tensor) -> Tensor:
    return (out.float() * 1.005).to(out.dtype)


def rows_swapped(out: Tensor) -> Tensor:
    swapped = out.clone()
    if len(out) > 1:
        swapped[[0, 1]] = out[[1, 0]]
    return swapped


def last_row_unwritten(out: Tensor) -> Tensor:
    """What the memory held is taken to be zero, the friendliest value: the judge poisons it with NaN as well."""
    unwritten = out.clone()
    unwritten[-1] = 0
    return unwritten


def last_element_off(out: Tensor) -> Tensor:
    """The last element one part in sixteen too large, or one too large where it is an integer."""
    off = out.clone()
    flat = off.view(-1)
    flat[-1] = flat[-1] * 1.0625 if out.is_floating_point() else flat[-1] + 1
    return off


_ANY: tuple[Callable[[Tensor], Tensor], ...] = (zeros, rows_swapped, last_row_unwritten, last_element_off)
_FLOATING: tuple[Callable[[Tensor], Tensor], ...] = (*_ANY, constant_mean, scaled)
_SCALAR: tuple[Callable[[Tensor], Tensor], ...] = (zeros, scaled)


def teeth_of(operator: Operator, sample: Tensor) -> dict[str, Function]:
    """The coarse mutants of ``operator``, of whose first output ``sample`` is an example."""
    if not operator.teeth:
        return {}
    if sample.dim() == 0:
        chosen = _SCALAR
    else:
        chosen = _FLOATING if sample.is_floating_point() else _ANY
    return {change.__name__.replace("_", " "): _changed(operator.native, change) for change in chosen}


def _changed(native: Function, change: Callable[[Tensor], Tensor]) -> Function:
    def mutant(**inputs: Any) -> Any:
        found = native(**inputs)
        return (change(found[0]), *found[1:]) if isinstance(found, tuple) else change(found)

    return mutant
