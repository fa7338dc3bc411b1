"""How long a child may go on before it is ended as one that does not end by itself."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

_BLOCKED_FACTOR = 4.0
"""What computes may take this many times its processor time on the clock: a busy machine has others to serve, and a
child that sleeps must end too."""

_OWN_S = 30.0
"""Of processor time; and on the clock, what there is at least: a wrong "timeout" on their own kernel misleads."""


@dataclass(frozen=True)
class Patience:
    """``processor_s`` is what the child and its descendants may compute; None where the clock alone counts."""

    wall_s: float
    processor_s: float | None = None

    @classmethod
    def computing(cls, processor_s: float, wall_left_s: float = math.inf) -> Patience:
        """For somebody's kernel in Triton's interpreter: how busy the machine is must not decide whether it ends."""
        return cls(min(_BLOCKED_FACTOR * processor_s, wall_left_s), processor_s)

    @classmethod
    def of_own(cls, deadline: float) -> Patience:
        """For the user's own kernel there. ``deadline``: of the request, on the monotonic clock.

        It is ended by then where that leaves it any time: its client is told the line.
        """
        return cls.computing(_OWN_S, max(_OWN_S, deadline - time.monotonic()))

    @property
    def backstop_s(self) -> int:
        """Of processor time: when the kernel ends any one process of the child, should the zygote not have done so."""
        most_s = self.wall_s if self.processor_s is None else min(self.wall_s, self.processor_s)
        return int(2 * most_s) + 2
