"""What every right kernel has to do on given inputs: a lower bound, and none where nothing can be shown.

An element of an input has to be read where the truth depends on it, and that is what derivatives of the reference say.
They say it of too few elements (relu's negative inputs have none), never of too many, which is what a floor needs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from ..buffers import flatten_outputs
from ..errors import StepError
from ..tasks import TaskModule
from .job import Named

_COUNTS_ABOVE = 1e-6
"""Of the largest contribution gradient × value: what is below may be rounding where the true derivative is zero."""
_FLOPS_KINDS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8")


def least_work(task: TaskModule, inputs: dict[str, Any]) -> dict[str, Any]:
    """``{read_bytes, flops: {type: n}}``. The operations are the task's own word: what its ``least_flops(**inputs)``
    gives, or none. Raises StepError where that gives something else.
    """
    return {"read_bytes": read_bytes(task, inputs), "flops": _flops(task, inputs)}


def written_bytes(outputs: Named, aliased: Collection[str]) -> int:
    """Bytes of the outputs that lie in memory of their own, each memory once."""
    own = {
        tensor.untyped_storage().data_ptr(): tensor.numel() * tensor.element_size()
        for name, tensor in outputs
        if isinstance(tensor, torch.Tensor) and name not in aliased and tensor.is_contiguous()
    }
    return sum(own.values())


def read_bytes(task: TaskModule, inputs: dict[str, Any]) -> int:
    """Bytes of the inputs that reference() depends on at these values; 0 where it cannot be differentiated."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items() if _has_gradient(value)}
    if not leaves or not task.has_reference:
        return 0
    try:
        outputs = flatten_outputs(task.call("reference", **{**inputs, **leaves}), inputs)
        # Random weights: a plain sum of a softmax has no derivative at all.
        parts = [(out * torch.randn_like(out)).sum() for _, out in outputs if getattr(out, "requires_grad", False)]
        if not parts:
            return 0
        gradients = torch.autograd.grad(parts, list(leaves.values()), allow_unused=True)
    except (StepError, RuntimeError):
        # Written in place, not differentiable, or too large to be: then nothing is known.
        return 0
    shares = {
        name: (gradient * leaf.detach()).abs()
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
        if gradient is not None
    }
    largest = max((float(share.max()) for share in shares.values()), default=0.0)
    read: dict[int, int] = {}
    for name, share in shares.items():
        # Inputs may share memory, which is then read once.
        memory = inputs[name].untyped_storage().data_ptr()
        counted = int((share > _COUNTS_ABOVE * largest).sum()) * inputs[name].element_size()
        read[memory] = max(read.get(memory, 0), counted)
    return sum(read.values())


def _has_gradient(value: Any) -> bool:
    """Tensors with gaps or with elements that share memory are left out: their elements are not bytes of their own."""
    is_floating = isinstance(value, torch.Tensor) and value.dtype.is_floating_point
    return is_floating and value.is_contiguous() and value.numel() > 0


def _flops(task: TaskModule, inputs: dict[str, Any]) -> dict[str, float]:
    if not callable(getattr(task.module, "least_flops", None)):
        return {}
    said = task.call("least_flops", **inputs)
    if not isinstance(said, dict) or not set(said) <= set(_FLOPS_KINDS):
        kinds = ", ".join(_FLOPS_KINDS)
        raise StepError(
            "task-error",
            f"{task.file.name}: least_flops() must return {{type: operations}} with types among {kinds}",
            str(task.file),
        )
    return {kind: float(count) for kind, count in said.items()}
