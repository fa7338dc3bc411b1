"""Host code on tensors without contents that claim to be on a GPU, also where torch was built without CUDA.

FakeTensorMode does nearly all of it. What it does not: indexing, ``.cuda()``, ``.contiguous()``, copies and some more
ask the CUDA runtime for a device guard before any mode is consulted, which a CPU build of torch refuses. Those are
answered here, by the same call on stand-ins that claim to be on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .errors import StepError
from .tracing import PlanTrace

NEEDS_CONTENTS = "the host code reads its tensors' contents on the host: its launches are unknown before it runs"
CONTENTS_ASKED_FOR = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)
"""What an operator raises whose result depends on its arguments' contents."""
_READS = (
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.__int__,
    torch.Tensor.__float__,
    torch.Tensor.__bool__,
    torch.Tensor.__index__,
)
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


_NEED_DEVICE = (
    "its data is not allocated yet",
    "Cannot access data pointer of Tensor",
    "no CUDA-capable device is detected",
)


def needs_device(error: BaseException) -> bool:
    """Whether it was raised because compiled code, an extension's, asked a tensor without contents for its memory, or
    CUDA itself for a stream.
    """
    return any(words in str(error) for words in _NEED_DEVICE)


_MANY = 4096
"""Iterating over more elements than this means reading them; FakeTensorMode would take minutes to pretend."""


class ShapesOnly(TorchFunctionMode):
    """Enter it inside a FakeTensorMode, in a child that ends with its step.

    ``trace`` sees what is answered here, too.
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
        given = kwargs or {}
        if func in _READS or (func is torch.Tensor.unbind and args[0].numel() > _MANY):
            raise StepError("needs-contents", NEEDS_CONTENTS)
        if func is torch.Tensor.cuda:
            func, args = torch.Tensor.to, (args[0], "cuda")
        before = self._trace.length
        try:
            return func(*args, **given)
        except RuntimeError as refused:
            if not lacks_cuda(refused):
                raise
        self._trace.forget_since(before)
        with self._trace.pretending():
            return self._on_stand_ins(func, args, given)

    def _on_stand_ins(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What ``func`` gives, found on CPU tensors that stand for the same memory."""
        originals: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def stand_in(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.device.type != "cpu":
                other = self._trace.twin(value, "cpu")
                originals[id(other)] = (value, other)
                return other
            return "cpu" if _is_gpu(value) else value

        def back(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if any(value is one for one in on_host):
                return self._trace.uploaded(value)
            return originals[id(value)][0] if id(value) in originals else self._trace.twin(value, "cuda")

        on_host = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.is_cpu]
        moved_args, moved_kwargs = tree_map(stand_in, (args, kwargs))
        return tree_map(back, func(*moved_args, **moved_kwargs))


class ShapesOnGpu(TorchFunctionMode):
    """For importing a module: its tensors on a GPU have no contents, and all others are real.

    The fake mode must be the one under which the entry runs later, because tensors of two of them do not mix.
    """

    def __init__(self, fake: FakeTensorMode, trace: PlanTrace) -> None:
        super().__init__()
        self._fake, self._trace, self._shapes = fake, trace, ShapesOnly(trace)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.Tensor.cuda:
            func, args = torch.Tensor.to, (args[0], "cuda")
        if not any(isinstance(value, FakeTensor) or _is_gpu(value) for value in tree_leaves((args, given))):
            return func(*args, **given)
        with self._fake, self._trace, self._shapes:
            return func(*args, **given)


def _is_gpu(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.partition(":")[0] == "cuda"
