"""Run a CUDA task whose launches no plan can hold: as its ``launches`` generator goes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..plan import Argument
from .cuda_launch import CudaFile, driven, kernel_launch
from .kernels import Kernels


def cuda_runner(source: str, binary: Path, launches: Callable[..., Any]) -> Callable[..., Any]:
    """``f(**inputs)``, which makes the launches of ``source``, compiled to ``binary``, and returns what the generator
    returns. It raises ``SignatureError``, ``LaunchPlanError``, ``DriverError`` and StepError.
    """
    file, kernels = CudaFile.of(source, binary.read_bytes()), Kernels(binary.parent)

    def launch(yielded: Any) -> None:
        tensors: dict[int, torch.Tensor] = {}

        def pointer(tensor: torch.Tensor) -> Argument:
            tensors[len(tensors)] = tensor
            return Argument(memory=len(tensors) - 1)

        kernels.launch(kernel_launch(file, yielded, pointer), tensors, None)

    return lambda **inputs: driven(launches(**inputs), launch)
