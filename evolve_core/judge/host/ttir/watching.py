"""Who looks on while programs run, one by one, and counts what they do."""

from __future__ import annotations

from typing import Protocol

from .formats import Array
from .ir import Operation
from .memory import Buffer


class EndOfProgram(Exception):
    """A watcher has seen enough of the program that runs; no other program is affected."""


class Watcher(Protocol):
    """Told of every program of a launch. Its methods may raise EndOfProgram, but for the first two."""

    def begin_program(self, number: int) -> bool:
        """Whether this program, by its number in the grid, is to run at all."""

    def end_program(self) -> None:
        """The program that began is over."""

    def operation(self, operation: Operation) -> None:
        """Comes before each operation."""

    def access(self, verb: str, buffer: Buffer, indices: Array, on: Array | None, width: int) -> None:
        """``verb``: ``reads``, ``writes`` or ``updates`` (atomically). Elements of ``width`` bytes by their numbers in
        the buffer, all in bounds where ``on``; None: everywhere. Axes along which all elements are one may be 1 long.
        """

    def enter_loop(self, steps: int | None) -> object:
        """``steps``: how many it will make, None where nobody knows. What it gives comes back in the calls below."""

    def next_step(self, loop: object, index: int) -> bool:
        """Comes before each step. False ends a loop of known length early."""

    def leave_loop(self, loop: object, executed: int) -> None:
        """After a loop of known length."""
