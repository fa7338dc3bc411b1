"""What a launch did, counted while it runs; and the budget that ends it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .errors import TooLong

_LOOK_AT_THE_CLOCK_EVERY = 16


@dataclass(slots=True)
class Work:
    """Totals over all programs of a launch; only programs that got to an operation count for it.

    ``bytes_*``: masked-on elements only, each program's own (no cache is modelled). ``dot_flops``: 2·M·N·K a product.
    ``float_operations``, ``special_operations`` (exp, sqrt, division, …) and ``integer_operations``: one an element, by
    the tensors' own shapes, whatever the interpreter saved by computing equal elements once.
    """

    bytes_loaded: int = 0
    bytes_stored: int = 0
    atomics: int = 0
    dot_flops: int = 0
    float_operations: int = 0
    special_operations: int = 0
    integer_operations: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """``elements``: operations × elements × programs. ``seconds``: of processor time, from the start of the launch."""

    elements: int = 10**12
    seconds: float = 60.0


class Spending:
    """How much of a budget is left. Raises TooLong."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._left = budget.elements
        self._deadline = time.process_time() + budget.seconds
        self._until_look = 0

    def spend(self, elements: int) -> None:
        self._left -= elements
        self._until_look -= 1
        if self._left < 0:
            raise TooLong(f"the launch does more than {self._budget.elements} element operations")
        if self._until_look < 0:
            self._until_look = _LOOK_AT_THE_CLOCK_EVERY
            if time.process_time() > self._deadline:
                raise TooLong(f"the launch takes longer than {self._budget.seconds:g} s in the interpreter")
