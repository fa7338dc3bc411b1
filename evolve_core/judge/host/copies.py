"""Copies of inputs, for calls that may change them: nothing that a kernel can see of their layout is lost."""

from __future__ import annotations

from typing import Any

import torch


def clone_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """A copy whose tensors share no memory with ``inputs``."""
    return {name: clone(value) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


def clone(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides and the same alignment of its first element."""
    storage = tensor.untyped_storage().clone()
    copy = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return copy.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
