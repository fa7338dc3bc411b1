"""What is right: reference() on wide inputs, brought together with what the user's own kernel gave on the same ones."""

from __future__ import annotations

from typing import Any

import torch

from .buffers import flatten_outputs
from .compare import is_numeric, is_too_long
from .errors import Place, StepError
from .tasks import TaskModule

Named = list[tuple[str, Any]]


def matched(truth: Named, native: Named, reference: Place) -> Named:
    """``truth`` under the names of ``native``, the outputs of the user's own kernel.

    Raises StepError ``task-error`` at ``reference`` where the two are no outputs of one function: another number of
    them, another shape, or None (or a string, a dtype) on one side only; or an integer that no tensor holds.
    """
    if len(truth) != len(native):
        raise reference.error(
            f"reference() gives {len(truth)} output(s), the entry {len(native)}{_nones(native)}; return as many from "
            "reference(), in the same order, and None where the entry gives None"
        )
    for (_, ours), (name, theirs) in zip(truth, native, strict=True):
        _refuse_long("reference()", name, ours, reference)
        _refuse_long("the entry", name, theirs, reference)
        if is_numeric(ours) != is_numeric(theirs) or (not is_numeric(ours) and ours != theirs):
            raise reference.error(
                f"reference() gives {_shown(ours)} for {name}, the entry gives {_shown(theirs)}; return the same kind "
                "of value from reference()"
            )
        if is_numeric(ours) and torch.as_tensor(ours).shape != torch.as_tensor(theirs).shape:
            raise reference.error(
                f"reference() gives shape {list(torch.as_tensor(ours).shape)} for {name}, the entry gives "
                f"{list(torch.as_tensor(theirs).shape)}; return the entry's shape from reference()"
            )
    return [(name, ours) for (name, _), (_, ours) in zip(native, truth, strict=True)]


def _refuse_long(who: str, name: str, value: Any, reference: Place) -> None:
    if is_too_long(value):
        raise reference.error(
            f"{who} gives an integer of {value.bit_length()} bits for {name}, and those of up to 63 bits and a "
            "sign can be compared; return it as a float, a string or in parts"
        )


def _nones(named: Named) -> str:
    names = [name for name, value in named if value is None]
    return f" ({', '.join(names)}: None)" if names else ""


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if is_numeric(value) else repr(value)


def reference_truth(task: TaskModule, inputs: dict[str, Any], names: list[str] | None) -> Named:
    """reference() on the inputs in fp64 where it allows that, else fp32, else as they are."""
    for wide in (torch.float64, torch.float32):
        raised_inputs = {name: _widened(value, wide) for name, value in inputs.items()}
        try:
            return reference_on(task, raised_inputs, names)
        except StepError:
            continue
    return reference_on(task, {name: cloned(value) for name, value in inputs.items()}, names)


_STEADY = 1e-6
"""Two results of reference() in fp64 that differ by less, of the largest value, do so by the order of their sums."""


def refuse_unsteady(task: TaskModule, inputs: dict[str, Any]) -> None:
    """Raises StepError ``task-error`` where reference() gives other results for the same inputs when called again.
    Where it raises, there is nothing to say yet.
    """
    tensors = [name for name, value in inputs.items() if isinstance(value, torch.Tensor)]
    try:
        first, second = (reference_truth(task, inputs, tensors) for _ in range(2))
    except StepError:
        return
    moved = [name for (name, one), (_, other) in zip(first, second, strict=False) if not _alike(one, other)]
    if moved or len(first) != len(second):
        what = ", ".join(moved) or "another number of outputs"
        raise task.where("reference").error(
            f"reference() gives other results ({what}) when it is called again on the same inputs, so nothing can be "
            "held against it; draw what is random in workloads() and hand it over as an input"
        )


def _alike(one: Any, other: Any) -> bool:
    if not (is_numeric(one) and is_numeric(other)) or is_too_long(one) or is_too_long(other):
        return bool(one == other)
    a, b = torch.as_tensor(one), torch.as_tensor(other)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    # Narrow types know neither NaN nor a maximum.
    a, b = (one if one.is_complex() else one.to(torch.float64) for one in (a, b))
    largest = a.abs().nan_to_num(0.0, 0.0, 0.0).max().item() if a.numel() else 0.0
    return torch.allclose(a, b, rtol=0.0, atol=_STEADY * largest, equal_nan=True)


def reference_on(task: TaskModule, inputs: dict[str, Any], names: list[str] | None) -> Named:
    """reference() on these very inputs, which it may change. ``names``: those that are the outputs, None: none is."""
    with torch.no_grad():
        result = task.call("reference", **inputs)
    if result is None and names is not None:
        return [(name, inputs[name]) for name in names]
    return flatten_outputs(result, inputs)


def _widened(value: Any, wide: torch.dtype) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype.is_floating_point and value.element_size() < torch.empty(0, dtype=wide).element_size():
        return value.to(wide)
    return value.clone()


def cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
