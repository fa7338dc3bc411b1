"""Runs an entry in the interpreter with every memory access checked before it happens.

Triton's interpreter dereferences whatever it is given: an address outside a tensor reads garbage, overwrites other
objects, or kills the process. Here the access is refused, and the run ends with the line that made it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import compat
from .access import Access, watched
from .location import current_kernel_line, failure_location
from .memory import ORIGIN, MemoryMap, origins_carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["CheckedRun", "failure_location", "run_checked"]


class OutOfBoundsAccess(BaseException):
    """Ends the run at the access. A BaseException, so that a candidate's ``except Exception`` does not swallow it."""


@dataclass
class CheckedRun:
    """``result`` is what the entry returned, None where a kernel went out of bounds.

    ``out_of_bounds``: at most one ``{kernel, line, tensor, access, message}``, the access at which the run was ended.
    ``launches`` counts kernels that host code launched.
    """

    result: Any
    out_of_bounds: list[dict[str, Any]] = field(default_factory=list)
    launches: int = 0


class _AllPrograms:
    """Runs every program of the grid and remembers the first access outside of the launch's tensors."""

    def __init__(self) -> None:
        self.strays: list[dict[str, Any]] = []
        self.launches = 0
        self._kernel = ""
        self._memory = MemoryMap({})
        self._program = (0, 0, 0)

    def begin_launch(self, launch: compat.Launch) -> None:
        self.launches += 1
        self._kernel = launch.kernel
        self._memory = MemoryMap(launch.arguments)

    def choose_programs(self, grid: compat.Program) -> Sequence[compat.Program]:
        # The order of Triton's interpreter: x outermost.
        return [(x, y, z) for x in range(grid[0]) for y in range(grid[1]) for z in range(grid[2])]

    def run_program(self, program: compat.Program, run: Callable[[], None], pointers: dict[str, Any]) -> None:
        self._program = program
        mark_origins(pointers.items())
        run()

    def enter_loop(self, steps: int) -> None:
        return None

    def next_step(self, loop: None, index: int) -> bool:
        return True

    def leave_loop(self, loop: None, executed: int) -> None:
        return None

    def end_launch(self) -> None:
        pass

    def check(self, access: Access) -> Any:
        inside = self._memory.legal(access.addresses, access.item_bytes, access.origin)
        if inside is None:
            return None
        stray = self._memory.describe(access.addresses, inside, access.item_bytes, access.origin, access.kind)
        self.strays.append(
            stray_record(self._kernel, current_kernel_line(), access.kind, stray.tensor, stray.message, self._program)
        )
        raise OutOfBoundsAccess(stray.message)


class _NoPrograms(_AllPrograms):
    """Every launch succeeds and does nothing."""

    def choose_programs(self, grid: compat.Program) -> Sequence[compat.Program]:
        return []


def mark_origins(pointers: Iterable[tuple[str, Any]]) -> None:
    """Writes on each pointer argument's handle which argument it is."""
    for name, handle in pointers:
        handle.attr[ORIGIN] = frozenset((name,))


def stray_record(
    kernel: str, line: int, access: str, tensor: str, message: str, program: compat.Program
) -> dict[str, Any]:
    """One entry of the protocol's ``out_of_bounds``. ``line`` counts from 1 in the kernel's file."""
    where = ", ".join(str(index) for index in program)
    return {
        "kernel": kernel,
        "line": line,
        "tensor": tensor,
        "access": access,
        "message": f"{message}, in program ({where})",
    }


@contextlib.contextmanager
def _checking(observer: _AllPrograms) -> Iterator[None]:
    with compat.observed(observer, asserts=True), origins_carried(), watched(observer.check):
        yield


def run_checked(entry: Callable[..., Any], inputs: dict[str, Any], *, idle: bool = False) -> CheckedRun:
    """``entry(**inputs)`` on CPU tensors; every load, store and atomic of its kernels stays in its launch's tensors.

    ``idle``: launches do nothing, so that what comes back is the host code's work.

    Whatever else the entry or a kernel raises propagates; ``failure_location`` says where it happened.
    """
    observer = _NoPrograms() if idle else _AllPrograms()
    try:
        with _checking(observer):
            result = entry(**inputs)
    except OutOfBoundsAccess:
        result = None
    # Host code may have caught even a BaseException: what was seen counts, not what came back.
    return CheckedRun(None if observer.strays else result, observer.strays, observer.launches)
