"""Take an account of one workload at its real size: a plan and TTIR, carried out in a process that runs nobody's code.

Both come from a child that ran a candidate (lowering.py), and are read as data. Of each launch only a sample of
programs runs. Memory is of real size and zero, in pages that nobody has until somebody writes; integer inputs are drawn
where the task draws them, because addresses are made of them. torch's operators of the plan are carried out on that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..buffers import read_values, shaped_inputs
from ..carrying import Carrier
from ..errors import StepError
from ..plan import ITEM_BYTES, KernelLaunch, LaunchPlan
from ..planreading import plan_from
from ..ttir.errors import TtirError
from ..ttir.findings import Finding, Kind
from ..ttir.ir import Module
from ..ttir.launch import BufferArgument, LaunchArgument, run_launch
from ..ttir.memory import Memory
from ..ttir.parser import parse
from ..ttir.work import Budget
from ..ttirlaunches import TtirLaunches
from .counting import CountedLaunch
from .records import work_of

PROGRAMS = 4
"""Drawn in the inside of each grid, beside its first and its last."""


class LazyRoom:
    """Fresh memory is zero, and there only where it is used."""

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return _zeros(dtype, [count], [1])

    def scratch(self, bytes_: int) -> torch.Tensor:
        raise StepError("crash", "the plan asks for scratch, which only compiled kernels have")

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        return result


@dataclass
class _Account:
    """``run`` is how TtirLaunches runs the launches of ``plan``."""

    plan: LaunchPlan
    seed: int
    work: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        step: KernelLaunch,
        module: Module,
        arguments: Sequence[LaunchArgument],
        memory: Memory,
        budget: Budget,
    ) -> tuple[Finding, ...]:
        counted = CountedLaunch(step.function, step.grid, self._extents(step, arguments), PROGRAMS, self.seed)
        report = run_launch(
            module, step.function, step.grid, arguments, memory, budget, programs=counted.programs, watcher=counted
        )
        strays = [_stray(step.function, one) for one in report.findings if one.kind is Kind.OUT_OF_BOUNDS]
        self.work.append(work_of(counted.record, len(self.work), strays[:1]))
        return report.findings

    def _extents(self, step: KernelLaunch, arguments: Sequence[LaunchArgument]) -> dict[str, float]:
        """Distinct bytes behind each pointer, by the number of its buffer."""
        found: dict[str, float] = {}
        for described, given in zip(step.arguments, arguments, strict=True):
            if described.memory is not None and isinstance(given, BufferArgument):
                found[str(given.buffer.number)] = self._extent(described.memory)
        return found

    def _extent(self, number: int) -> float:
        """An axis of stride 0 repeats what is there once."""
        described = self.plan.memories[number]
        for given in self.plan.givens:
            if given.name == described.given:
                sizes = [size for size, step in zip(given.shape, given.stride, strict=True) if step]
                return float(np.prod(sizes, dtype=float) * ITEM_BYTES[given.dtype])
        return float(described.count * ITEM_BYTES[described.dtype])


def account_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"work": [WorkProfile without workload]}``, one for each launch of a first call; or ``{"why_not": text}``.

    ``entries`` and ``integers`` are of the workload, ``seed`` draws the programs, ``seconds`` of processor time are
    what all launches together may take.
    """
    torch.set_num_threads(1)
    until = time.process_time() + float(payload["seconds"])
    try:
        plan = plan_from(payload["plan"])
        modules: Mapping[str, Module] = {name: parse(text) for name, text in payload["kernels"].items()}
        account = _Account(plan, int(payload["seed"]))
        launches = TtirLaunches(plan, modules, until, account.run)
        carrier = Carrier(plan, "cpu", launches.launch)
        inputs = _inputs(payload)
        if not carrier.fits(inputs):
            raise StepError("crash", "the plan was made for other inputs than these")
        carrier.prepared(inputs, LazyRoom())()
    except TtirError as error:
        return {"why_not": str(error)[:2000]}
    except (StepError, RuntimeError, ValueError, TypeError, IndexError, MemoryError) as error:
        # An operator that cannot be called with what the plan gives it raises whatever torch likes.
        return {"why_not": f"{type(error).__name__}: {error}"[:2000]}
    return {"work": account.work}


def _inputs(payload: dict[str, Any]) -> dict[str, Any]:
    inputs = shaped_inputs(payload["entries"], _zeros)
    if given := payload.get("integers"):
        inputs.update(dict(read_values(Path(given["file"]), given["header"], trusted=True)))
    return inputs


def _zeros(dtype: torch.dtype, shape: list[int], stride: list[int]) -> torch.Tensor:
    if not all(shape):
        return torch.empty(shape, dtype=dtype)
    span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    # calloc of much is pages that are not there yet: torch.zeros would write them.
    whole = torch.from_numpy(np.zeros(span * torch.empty(0, dtype=dtype).element_size(), np.uint8))
    return whole.view(dtype).as_strided(shape, stride)


def _stray(kernel: str, finding: Finding) -> dict[str, Any]:
    return {
        "kernel": kernel,
        "line": finding.line,
        "tensor": finding.buffer or "?",
        "access": finding.message.partition(" ")[0],
        "message": finding.message,
    }
