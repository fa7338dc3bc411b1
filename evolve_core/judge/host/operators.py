"""Which of torch's operators a call used, and on how much: what the library did, as opposed to kernels.

Composite operators show as what they are made of (``torch.einsum`` as ``aten::bmm``), whatever name they were called
by. Triton kernels do not show at all. The record is kept in the process that makes the call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RecordedOperators(TorchDispatchMode):
    """Enter it around a call. ``elements``: by operator, the tensor elements handed to it in all of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[str, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # No compiled code runs under it. Torch would import torch._dynamo to see to that: seconds in a fresh process.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        leaves = tree_leaves((args, given))
        handed = sum(leaf.numel() for leaf in leaves if isinstance(leaf, torch.Tensor))
        name = func._schema.name
        self.elements[name] = self.elements.get(name, 0) + handed
        return func(*args, **given)
