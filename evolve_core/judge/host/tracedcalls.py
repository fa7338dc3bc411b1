"""A call of one of torch's operators, as a mode sees it, in the words of a launch plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from .buffers import dtype_name
from .history import Untraceable
from .plan import Operand, OperandKind, View
from .planrules import MAX_VALUES

_UNSAID = {"layout": (None, torch.strided), "pin_memory": (None, False)}
"""Arguments with the values at which a plan need not mention them."""


class TracedCall:
    """A call of an operator that was made."""

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        schema = func._schema
        self.name = f"{schema.name}.{schema.overload_name or 'default'}"
        self.args, self.kwargs, self.result = args, kwargs, result
        self.given = [*zip([one.name for one in schema.arguments], args, strict=False), *kwargs.items()]
        writes = {one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write}
        self.changed = _tensors([value for name, value in self.given if name in writes])
        self.results = tuple(result) if isinstance(result, (tuple, list)) else (result,)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What was handed to it."""
        return _tensors((self.args, self.kwargs))

    @property
    def made(self) -> list[torch.Tensor]:
        """What it gave."""
        return _tensors(self.result)


def _tensors(values: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, torch.Tensor)]


def operand_of(name: str, value: Any, view: Callable[[Any], View]) -> Operand | None:
    """An argument as a plan says it; None where it need not be said. Raises Untraceable."""
    if value in _UNSAID.get(name, ()):
        return None
    if isinstance(value, torch.Tensor):
        return Operand(name, OperandKind.TENSOR, (view(value),))
    if isinstance(value, (list, tuple)) and any(isinstance(one, torch.Tensor) for one in value):
        views = tuple(None if one is None else view(one) for one in value)
        return Operand(name, OperandKind.TENSORS, views)
    if isinstance(value, torch.dtype):
        return Operand(name, OperandKind.DTYPE, value=dtype_name(value))
    if isinstance(value, torch.device):
        return Operand(name, OperandKind.DEVICE)
    plain = tuple(value) if isinstance(value, (list, tuple)) else value
    parts = plain if isinstance(plain, tuple) else (plain,)
    if not all(one is None or isinstance(one, (bool, int, float, str)) for one in parts):
        raise Untraceable(f"its host code hands {name} = {str(value)[:40]} to an operator")
    return Operand(name, OperandKind.PLAIN, value=plain)


def contents(tensor: torch.Tensor) -> tuple[float | int, ...] | None:
    """What is in the memory of a real tensor; None for one without contents."""
    if type(tensor) is not torch.Tensor:
        return None
    with _disable_current_modes():
        whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        if whole.numel() > MAX_VALUES:
            raise Untraceable(f"it takes {whole.numel()} numbers from the CPU to the device")
        return tuple(whole.tolist())
