"""Host code on tensors without contents that claim to be on a GPU, also where torch was built without CUDA.

FakeTensorMode does nearly all of it. What it does not: indexing and ``.cuda()`` ask the CUDA runtime for a device guard
before any mode is consulted, which a CPU build of torch refuses. Those are answered here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .errors import StepError

NEEDS_CONTENTS = "the entry reads its tensors' contents on the host: its launches are unknown before it runs"
_READS = (torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.numpy)

_MANY = 4096
"""Iterating over more elements than this means reading them; FakeTensorMode would take minutes to pretend."""


class ShapesOnly(TorchFunctionMode):
    """Enter it inside a FakeTensorMode, in a child that ends with its step."""

    def __enter__(self) -> Any:
        # It asks no mode, and a tensor without contents cannot change its class. Whether the real one may is not
        # asked here.
        torch.Tensor.as_subclass = lambda tensor, cls: tensor
        return super().__enter__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            return _indexed(args[0], args[1])
        if func is torch.Tensor.__setitem__:
            return None
        if func is torch.Tensor.cuda:
            return args[0]
        if func in _READS or (func is torch.Tensor.unbind and args[0].numel() > _MANY):
            raise StepError("needs-contents", NEEDS_CONTENTS)
        return func(*args, **(kwargs or {}))


def _indexed(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """What indexing gives, found on a CPU stand-in: a view by its strides, or a fresh tensor for index tensors."""
    stand_in = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
    parts = index if isinstance(index, tuple) else (index,)
    moved = tuple(_on_cpu(part) for part in parts)
    found = torch.Tensor.__getitem__(stand_in, moved if isinstance(index, tuple) else moved[0])
    if any(isinstance(part, (torch.Tensor, list)) for part in parts):
        return torch.empty_strided(found.size(), found.stride(), dtype=tensor.dtype, device=tensor.device)
    return tensor.as_strided(found.size(), found.stride(), tensor.storage_offset() + found.storage_offset())


def _on_cpu(part: Any) -> Any:
    if isinstance(part, torch.Tensor) and part.device.type != "cpu":
        return torch.empty_strided(part.size(), part.stride(), dtype=part.dtype, device="cpu")
    return part
