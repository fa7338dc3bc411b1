"""A plan carried out once on plain driver memory, in a process that NVIDIA's compute-sanitizer watches.

Each tensor is an allocation of its own of exactly its bytes, which the sanitizer knows the bounds of: torch's allocator
would hide an access past a tensor inside a larger block. There is no torch here, because a process takes seconds to
import it; so a plan must consist of launches, plain fills and plain copies. Nobody's Python runs.
"""

from __future__ import annotations

import ctypes
import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StepError
from ..plan import (
    ITEM_BYTES,
    Argument,
    Copy,
    Fill,
    KernelLaunch,
    LaunchPlan,
    Operation,
    Step,
    View,
)
from ..planreading import plan_from
from .arguments import scalar
from .driver import Driver, DriverError
from .functions import Functions

JOB, INPUTS, REPORT = "job.json", "inputs.bin", "report.json"
MOST_BYTES = 256 << 20
"""Of inputs, and of new memory: other processes get ready on the device meanwhile, and must find room."""
_PATTERN = 0xFF
"""In fresh memory: NaN in every floating-point type."""
_SCALARS = {
    "bool": "u8", "uint8": "u8", "int8": "i8", "int16": "i16", "uint16": "u16", "int32": "i32", "uint32": "u32",
    "int64": "i64", "uint64": "u64", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64",
}  # fmt: skip
"""Whose bits an element has, by torch's name of its type. Those of eight bits are left out."""


def why_not(plan: LaunchPlan) -> str:
    """Why ``plan`` cannot be carried out without torch; "" where it can."""
    operators = sorted({step.operator for step in _steps(plan) if isinstance(step, Operation)})
    if operators:
        return f"its plan has torch operators ({operators[0]})"
    written = {one.dtype for one in plan.memories if one.values is not None}
    if not written <= _SCALARS.keys() or not all(_is_plain(step) for step in _steps(plan)):
        return "its plan has a fill or a copy that only torch can make"
    needed = sum(one.count * ITEM_BYTES[one.dtype] for one in plan.memories if not one.given)
    needed += sum(_scratch_bytes(step) for step in _steps(plan) if isinstance(step, KernelLaunch))
    return f"its plan needs {needed >> 20} MiB of memory" if needed > MOST_BYTES else ""


def write_job(folder: Path, plan: Mapping[str, Any], binaries: str, inputs: Iterable[tuple[str, bytes]]) -> None:
    """What ``main`` reads. ``inputs``: of each tensor, the bytes from its first element to its last."""
    sizes = []
    with (folder / INPUTS).open("wb") as file:
        for name, content in inputs:
            file.write(content)
            sizes.append([name, len(content)])
    (folder / JOB).write_text(json.dumps({"plan": plan, "binaries": binaries, "inputs": sizes}))


def main(job: str, report: str, seconds: str) -> int:
    """Carry out the job in the folder ``job``; in the folder ``report``, say where its tensors lie and how it ended.

    After ``seconds`` the kernel ends this process, should nobody else have.
    """
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    said: dict[str, Any] = {}
    try:
        driver = Driver()
        driver.use_first_device()
        call = _Call(Path(job), driver)
        said["allocations"] = call.allocations
        _write(Path(report), said)
        call.carry_out()
    except (DriverError, StepError, OSError) as failed:
        _write(Path(report), {**said, "failed": str(failed)})
        return 1
    _write(Path(report), {**said, "finished": True})
    return 0


def _write(folder: Path, said: dict[str, Any]) -> None:
    (folder / REPORT).write_text(json.dumps(said))


class _Call:
    """One call of the job's plan. ``allocations``: (address, bytes, what is there)."""

    def __init__(self, folder: Path, driver: Driver) -> None:
        job = json.loads((folder / JOB).read_text())
        self._driver = driver
        self._plan = plan_from(job["plan"])
        self._functions = Functions(Path(job["binaries"]), lambda: driver)
        self.allocations: list[tuple[int, int, str]] = []
        self._addresses = self._laid_out(_contents(folder, job["inputs"]))
        self._scratch = [self._scratch_of(step) for step in _steps(self._plan)]

    def carry_out(self) -> None:
        for step, scratch in zip(_steps(self._plan), self._scratch, strict=True):
            if isinstance(step, KernelLaunch):
                self._functions.launch_at(step, self._addresses.__getitem__, scratch, 0)
            elif isinstance(step, Fill):
                self._put(self._at(step.view), _encoded(step.view.dtype, [step.value]) * step.view.span)
            elif isinstance(step, Copy):
                size = ctypes.c_size_t(step.source.span * ITEM_BYTES[step.source.dtype])
                source, target = ctypes.c_uint64(self._at(step.source)), ctypes.c_uint64(self._at(step.target))
                self._driver.call("cuMemcpyDtoD_v2", target, source, size)
        self._driver.call("cuCtxSynchronize")

    def _laid_out(self, inputs: Mapping[str, bytes]) -> dict[int, int]:
        """The plan's buffers, by number. An input's address is as far past an alignment as the plan was promised."""
        shifts = {given.name: given.shift for given in self._plan.givens}
        addresses: dict[int, int] = {}
        for number, memory in enumerate(self._plan.memories):
            if memory.given:
                shift, content = shifts[memory.given], inputs[memory.given]
                addresses[number] = self._new(shift + len(content), memory.given) + shift
                self._put(addresses[number], content)
            else:
                addresses[number] = self._new(memory.count * ITEM_BYTES[memory.dtype], self._name(number))
                if memory.values is not None:
                    self._put(addresses[number], _encoded(memory.dtype, memory.values))
        return addresses

    def _scratch_of(self, step: Step) -> int:
        bytes_ = _scratch_bytes(step) if isinstance(step, KernelLaunch) else 0
        return self._new(bytes_, "its scratch") if bytes_ else 0

    def _name(self, number: int) -> str:
        views = {one.view.memory: one.name for one in self._plan.outputs or () if one.view is not None}
        return views.get(number, "memory of the call's own")

    def _new(self, bytes_: int, what: str) -> int:
        address = ctypes.c_uint64()
        size = ctypes.c_size_t(max(bytes_, 1))
        self._driver.call("cuMemAlloc_v2", ctypes.byref(address), size)
        self._driver.call("cuMemsetD8_v2", address, ctypes.c_ubyte(_PATTERN), size)
        self.allocations.append((address.value, bytes_, what))
        return address.value

    def _put(self, address: int, content: bytes) -> None:
        if content:
            size = ctypes.c_size_t(len(content))
            self._driver.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_char_p(content), size)

    def _at(self, view: View) -> int:
        return self._addresses[view.memory] + view.offset


def _steps(plan: LaunchPlan) -> tuple[Step, ...]:
    return (*plan.prelude, *plan.steps)


def _scratch_bytes(step: KernelLaunch) -> int:
    return step.grid[0] * step.grid[1] * step.grid[2] * step.scratch_bytes


def _is_plain(step: Step) -> bool:
    """Whether it is nothing but bytes side by side."""
    if isinstance(step, Fill):
        return not step.view.span or (step.view.is_dense and step.view.dtype in _SCALARS)
    if isinstance(step, Copy):
        source, target = step.source, step.target
        same = (source.dtype, source.shape, source.stride) == (target.dtype, target.shape, target.stride)
        return not source.span or (same and source.is_dense)
    return True


def _contents(folder: Path, sizes: Iterable[tuple[str, int]]) -> dict[str, bytes]:
    with (folder / INPUTS).open("rb") as file:
        return {name: file.read(size) for name, size in sizes}


def _encoded(dtype: str, values: Sequence[float | int]) -> bytes:
    return b"".join(bytes(scalar(Argument(scalar=_SCALARS[dtype], value=value))) for value in values)
