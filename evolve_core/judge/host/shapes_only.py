"""Host code on tensors without contents that claim to be on a GPU, also where torch was built without CUDA.

FakeTensorMode does nearly all of it. What it does not: indexing, ``.cuda()``, ``.contiguous()``, copies and some more
ask the CUDA runtime for a device guard before any mode is consulted, which a CPU build of torch refuses. Those are
answered here, by the same call on stand-ins that claim to be on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .errors import StepError
from .tracing import Addresses, PlanTrace

NEEDS_CONTENTS = "the entry reads its tensors' contents on the host: its launches are unknown before it runs"
_READS = (
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.__int__,
    torch.Tensor.__float__,
    torch.Tensor.__bool__,
    torch.Tensor.__index__,
)
_COPYING = (
    torch.Tensor.contiguous,
    torch.Tensor.clone,
    torch.Tensor.copy_,
    torch.Tensor.to,
    torch.Tensor.float,
    torch.Tensor.half,
    torch.Tensor.bfloat16,
    torch.Tensor.double,
)
"""What gives the same values in other memory, in another type or order."""
_REFUSALS = (
    "not linked with support for",
    "from the 'CUDA' backend",
    "not compiled with CUDA",
    "No CUDA GPUs are available",
    "Found no NVIDIA driver",
)


def lacks_cuda(error: BaseException) -> bool:
    """Whether it was raised because this torch, or this process, has no CUDA: nothing that the host code did wrong."""
    return any(words in str(error) for words in _REFUSALS)


_MANY = 4096
"""Iterating over more elements than this means reading them; FakeTensorMode would take minutes to pretend."""


class ShapesOnly(TorchFunctionMode):
    """Enter it inside a FakeTensorMode, in a child that ends with its step.

    ``trace`` is told of what is answered here.
    """

    def __init__(self, trace: PlanTrace) -> None:
        super().__init__()
        self._trace = trace

    def __enter__(self) -> Any:
        # It asks no mode, and a tensor without contents cannot change its class. Whether the real one may is not
        # asked here.
        def as_subclass(tensor: torch.Tensor, cls: type) -> torch.Tensor:
            if cls is not torch.Tensor:
                self._trace.cannot_follow(f"its host code makes a {cls.__name__} of a tensor")
            return tensor

        torch.Tensor.as_subclass = as_subclass
        return super().__enter__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            return self._indexed(args[0], args[1])
        if func is torch.Tensor.__setitem__:
            self._trace.cannot_follow("its host code writes into a tensor by index")
            return None
        if func is torch.Tensor.cuda:
            return args[0]
        if func in _READS or (func is torch.Tensor.unbind and args[0].numel() > _MANY):
            raise StepError("needs-contents", NEEDS_CONTENTS)
        try:
            return func(*args, **(kwargs or {}))
        except RuntimeError as refused:
            if not lacks_cuda(refused):
                raise
            result = _on_stand_ins(func, args, kwargs or {})
            self._tell(func, args, result)
            return result

    def _tell(self, func: Any, args: Any, result: Any) -> None:
        if func is torch.Tensor.copy_ and isinstance(args[1], torch.Tensor):
            self._trace.copied(args[1], args[0])
        elif func in _COPYING and func is not torch.Tensor.copy_:
            if result is not args[0]:
                self._trace.copied(args[0], result)
        else:
            self._trace.cannot_follow(f"its host code computes with {getattr(func, '__name__', func)}")

    def _indexed(self, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        """What indexing gives, found on a CPU stand-in: a view by its strides, or a fresh tensor for index tensors."""
        stand_in = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
        parts = index if isinstance(index, tuple) else (index,)
        moved = tuple(_on_cpu(part) for part in parts)
        found = torch.Tensor.__getitem__(stand_in, moved if isinstance(index, tuple) else moved[0])
        if any(isinstance(part, (torch.Tensor, list)) for part in parts):
            self._trace.cannot_follow("its host code picks elements by an index tensor")
            return torch.empty_strided(found.size(), found.stride(), dtype=tensor.dtype, device=tensor.device)
        return tensor.as_strided(found.size(), found.stride(), tensor.storage_offset() + found.storage_offset())


class ShapesOnGpu(TorchFunctionMode):
    """For importing a module: its tensors on a GPU have no contents, and all others are real.

    The fake mode must be the one under which the entry runs later, because tensors of two of them do not mix.
    """

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self._fake = fake
        # What a module makes while it is imported is in nobody's plan.
        self._shapes = ShapesOnly(PlanTrace({}, Addresses()))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.Tensor.cuda:
            func, args = torch.Tensor.to, (args[0], "cuda")
        if not any(isinstance(value, FakeTensor) or _is_gpu(value) for value in tree_leaves((args, given))):
            return func(*args, **given)
        with self._fake, self._shapes:
            return func(*args, **given)


def _on_stand_ins(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What ``func`` gives, found on CPU tensors of the same shapes and strides."""
    originals: dict[int, torch.Tensor] = {}

    def stand_in(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            other = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="cpu")
            originals[id(other)] = value
            return other
        return "cpu" if _is_gpu(value) else value

    moved_args, moved_kwargs = tree_map(stand_in, (args, kwargs))
    result = func(*moved_args, **moved_kwargs)

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in originals:
            return originals[id(value)]
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="cuda")

    return tree_map(back, result)


def _is_gpu(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.partition(":")[0] == "cuda"


def _on_cpu(part: Any) -> Any:
    if isinstance(part, torch.Tensor) and part.device.type != "cpu":
        return torch.empty_strided(part.size(), part.stride(), dtype=part.dtype, device="cpu")
    return part
