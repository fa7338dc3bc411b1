"""Host code written for a GPU, run on CPU tensors: ``device="cuda"`` means the CPU, and fresh memory is poisoned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import triton
from torch.overrides import TorchFunctionMode

_ALLOCATE = {
    torch.empty,
    torch.empty_like,
    torch.empty_strided,
    torch.Tensor.new_empty,
    torch.Tensor.new_empty_strided,
}
_POISON_INTEGER = 0x5A
_IS_CUDA = torch.Tensor.is_cuda.__get__
_DEVICE = torch.Tensor.device.__get__
_OURS = tuple(str(Path(file).parent) for file in (__file__, str(triton.__file__), str(torch.__file__)))
"""Who must see the truth about where a tensor is: this package, triton's interpreter, torch."""


class InterpretedHost(TorchFunctionMode):
    """``poison``: what fresh memory holds, ``nan`` or ``zero``. A kernel that reads it gives different outputs."""

    def __init__(self, poison: str) -> None:
        super().__init__()
        self._poison = poison

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # The getters are fresh wrappers on every access: equal, never identical.
        if func in (_IS_CUDA, _DEVICE):
            asked_by_host_code = not sys._getframe(1).f_code.co_filename.startswith(_OURS)
            if asked_by_host_code:
                return True if func == _IS_CUDA else torch.device("cuda", 0)
        if func is torch.Tensor.cuda:
            return args[0]
        if _mentions_cuda(kwargs.get("device")):
            kwargs = {**kwargs, "device": "cpu"}
        if func is torch.Tensor.to:
            args = tuple("cpu" if _mentions_cuda(arg) else arg for arg in args)
        result = func(*args, **kwargs)
        if func in _ALLOCATE:
            self._fill(result)
        return result

    def _fill(self, tensor: torch.Tensor) -> None:
        fill_with_poison(tensor, self._poison)


def fill_with_poison(tensor: torch.Tensor, poison: str) -> None:
    """Overwrite the tensor's whole memory with ``poison``: ``nan`` or ``zero``."""
    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    if poison == "zero":
        whole.zero_()
    elif tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        # All bits set is a NaN in every IEEE format and in the fp8 formats.
        whole.fill_(0xFF)
    else:
        whole.fill_(_POISON_INTEGER)


def _mentions_cuda(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return (isinstance(device, str) and device.startswith("cuda")) or (type(device) is int)
