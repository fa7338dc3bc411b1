"""Lets host code launch its kernels as ever, and runs each launch as TTIR in the interpreter under test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from triton.runtime.jit import JITFunction

from evolve_core.judge.host.stub_driver import install_stub_driver, pretended_cuda
from evolve_core.judge.host.ttir.ir import Module
from evolve_core.judge.host.ttir.launch import BufferArgument, LaunchReport, run_launch
from evolve_core.judge.host.ttir.memory import Memory
from evolve_core.judge.host.ttir.parser import parse
from evolve_core.judge.host.ttir.plan import operations_of
from evolve_core.judge.host.ttir.slicing import address_slice

TARGET = "sm_90"
_AS_INTEGERS = {torch.bfloat16: torch.int16, torch.bool: torch.uint8}
_UNSIGNED = {torch.bfloat16: np.uint16}


def storage_of(tensor: torch.Tensor) -> np.ndarray:
    """All elements of the tensor's storage as they lie in memory: shared, not copied."""
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    kind = _AS_INTEGERS.get(
        tensor.dtype, torch.uint8 if tensor.dtype.is_floating_point and tensor.itemsize == 1 else None
    )
    flat = (whole if kind is None else whole.view(kind)).numpy()
    return flat.view(_UNSIGNED.get(tensor.dtype, flat.dtype))


class Launches:
    """Reports of the launches so far, and the processor seconds spent in them without compiling."""

    def __init__(self) -> None:
        self.reports: list[LaunchReport] = []
        self.texts: list[str] = []
        self.seconds = 0.0
        self.sliced = False
        """Whether every launch also runs as its address slice, on memory of its own."""
        self.uncovered: list[str] = []
        """Buffers of which a launch writes something else than its slice says."""
        self._parsed: dict[str, Any] = {}

    def run(self, compiled: Any, name: str, grid: tuple[int, ...], values: dict[str, Any]) -> None:
        text = compiled.asm["ttir"]
        self.texts.append(text)
        start = time.process_time()
        module = self._parsed.setdefault(text, None) or parse(text)
        self._parsed[text] = module
        memory, buffers, arguments = Memory(), {}, []
        for parameter, kind in compiled.src.signature.items():
            value = values[parameter]
            if kind == "constexpr":
                continue
            if isinstance(value, torch.Tensor):
                place = value.untyped_storage().data_ptr()
                if place not in buffers:
                    buffers[place] = memory.add(parameter, storage_of(value))
                arguments.append(BufferArgument(buffers[place], value.storage_offset() * value.itemsize))
            else:
                arguments.append(value)
        if self.sliced:
            self.uncovered += different_places(module, name, grid, arguments, memory)
        self.reports.append(run_launch(module, name, grid, arguments, memory))
        self.seconds += time.process_time() - start


def _is_atomic(module: Module) -> bool:
    operations = [one for function in module.functions.values() for one in operations_of(function.body)]
    return any("atomic" in one.name or "reduce" in one.name for one in operations)


def different_places(
    module: Module, name: str, grid: tuple[int, ...], arguments: list[Any], memory: Memory
) -> list[str]:
    """Names of the buffers of which the kernel and its address slice write different elements.

    What an atomic operation writes counts where it changes something.
    """
    whole, slice_ = Memory(), Memory()
    for buffer in memory.buffers:
        storage = buffer.raw.view(np.dtype(f"u{buffer.unit}"))
        whole.add(buffer.name, storage.copy(), initialised=False)
        slice_.add(buffer.name, storage.copy())
    for other, text in ((whole, module), (slice_, address_slice(module))):
        there = [
            BufferArgument(other.buffers[one.buffer.number], one.offset_bytes)
            if isinstance(one, BufferArgument)
            else one
            for one in arguments
        ]
        run_launch(text, name, grid, there, other)
    found = []
    for before, full, covered in zip(memory.buffers, whole.buffers, slice_.buffers, strict=True):
        changed = (before.raw != full.raw).reshape(-1, before.unit).any(axis=1)
        written = full.initialised | changed
        owned = covered.owners[:-1] >= 0
        if (written & ~owned).any() or (not _is_atomic(module) and (owned & ~written).any()):
            found.append(before.name)
    return found


@contextmanager
def launches_as_ttir() -> Iterator[Launches]:
    """Tensors are on the CPU. Only in a process of its own: the driver stays replaced."""
    install_stub_driver(TARGET)
    launches, plain = Launches(), JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        compiled = plain(self, *args, grid=grid, warmup=True, **options)
        known = {name: value for name, value in options.items() if name in self.signature.parameters}
        bound = self.signature.bind(*args, **known)
        bound.apply_defaults()
        size = grid(dict(bound.arguments)) if callable(grid) else grid
        launches.run(compiled, self.__name__, tuple(size), dict(bound.arguments))
        return compiled

    JITFunction.run = run
    try:
        with pretended_cuda(TARGET):
            yield launches
    finally:
        JITFunction.run = plain
