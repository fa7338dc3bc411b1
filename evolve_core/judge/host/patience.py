"""How long a child may go on before it is ended as one that does not end by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

_BLOCKED_FACTOR = 4.0
"""What computes may take this many times its processor time on the clock: a busy machine has others to serve, and a
child that sleeps must end too."""


@dataclass(frozen=True)
class Patience:
    """``processor_s`` is what the child and its descendants may compute; None where the clock alone counts."""

    wall_s: float
    processor_s: float | None = None

    @classmethod
    def computing(cls, processor_s: float, wall_left_s: float = math.inf) -> Patience:
        """For somebody's kernel in Triton's interpreter: how busy the machine is must not decide whether it ends."""
        return cls(min(_BLOCKED_FACTOR * processor_s, wall_left_s), processor_s)

    @property
    def least_s(self) -> float:
        """No child is ended sooner on the clock, however many processors it computes on."""
        return self.wall_s if self.processor_s is None else min(self.wall_s, self.processor_s)
