"""A workload's inputs on their way between processes: tensors through a slot, everything else in the message."""

from __future__ import annotations

from typing import Any

import torch

from ..compare import bits
from .slots import Slot

PLAIN = (bool, int, float, str, type(None))
_DTYPE = "torch.dtype"


class UnsupportedInput(Exception):
    """An input is neither a tensor nor a plain value."""


def pack(inputs: dict[str, Any], slot: Slot) -> dict[str, Any]:
    """Write the tensors of ``inputs`` into ``slot``; returns ``{names, layout, values}`` for the message."""
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    values = {name: _plain(name, value) for name, value in inputs.items() if name not in tensors}
    return {"names": list(tensors), "layout": slot.write(list(tensors.values())), "values": values}


def unpack_values(values: dict[str, Any]) -> dict[str, Any]:
    """The plain values of a message, dtypes restored."""
    return {name: getattr(torch, value[_DTYPE]) if isinstance(value, dict) else value for name, value in values.items()}


def describe(inputs: dict[str, Any]) -> str:
    """The inputs in a line, "x=float16[4096,1024] eps=1e-05"."""
    parts = []
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            dtype = str(value.dtype).removeprefix("torch.")
            parts.append(f"{name}={dtype}[{','.join(map(str, value.shape))}]")
        else:
            parts.append(f"{name}={value!r}")
    return " ".join(parts)


def same_bytes(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Bitwise equality of two tensors' values, NaN payloads and signed zeros included."""
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(bits(left), bits(right))


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, PLAIN):
        return value
    raise UnsupportedInput(
        f"input {name} is a {type(value).__name__}; workloads on the GPU hold tensors, numbers, strings, dtypes, None"
    )
