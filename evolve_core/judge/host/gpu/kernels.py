"""Compiled kernels among torch's tensors: in its context, and on its current stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..plan import KernelLaunch
from .driver import Driver
from .functions import Functions


class Kernels(Functions):
    def __init__(self, binaries: Path) -> None:
        super().__init__(binaries, _in_torchs_context)

    def launch(self, step: KernelLaunch, tensors: Mapping[int, torch.Tensor], scratch: torch.Tensor | None) -> None:
        """``tensors`` are the plan's memories. Raises StepError, DriverError."""
        own = scratch.data_ptr() if scratch is not None else 0
        stream = torch.cuda.current_stream().cuda_stream
        self.launch_at(step, lambda memory: tensors[memory].data_ptr(), own, stream)


def _in_torchs_context() -> Driver:
    torch.cuda.current_stream()  # makes it the current one, before the driver loads into it
    return Driver()
