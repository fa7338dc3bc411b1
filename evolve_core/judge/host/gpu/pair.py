"""A conductor and a bench: two children of a process that has not touched CUDA, and the lines between them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from .channel import Channel
from .slots import Slot

DIE_S = 5.0
"""How long a process may take to end that was killed, or that has nothing left to do."""


class Child(Protocol):
    """A forked child of the host."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout_s: float) -> int | None:
        """Exit code (negative: the signal), or None while it lives."""

    def kill(self) -> None: ...


Fork = Callable[[Callable[[], None], str, float, "tuple[int, ...]"], Child]
Main = Callable[[socket.socket, Slot, Slot], None]
"""What a bench does with its line to the conductor, its inbox and its outbox."""
Conducting = Callable[[socket.socket, socket.socket, Slot, Slot], None]
"""What a conductor does with its line to the bench, its line to the parent, the bench's inbox and its outbox."""


class Pair:
    """Both processes from fork to death. ``report`` is the line to the conductor."""

    def __init__(self, fork: Fork, name: str, patience_s: float, bench: Main, conducting: Conducting) -> None:
        """``patience_s`` seconds later the kernel ends both, should nobody else have."""
        self._slots = to_bench, from_bench = Slot(), Slot()
        near, far = socket.socketpair()
        report, end = socket.socketpair()
        self._ends = (near, far, end, report)
        self._children: list[Child] = []
        self.report = Channel(report)
        try:
            self._children.append(
                fork(lambda: bench(far, to_bench, from_bench), f"bench-{name}", patience_s, (far.fileno(),))
            )
            self._children.append(
                fork(
                    lambda: conducting(near, end, to_bench, from_bench),
                    f"conductor-{name}",
                    patience_s,
                    (near.fileno(), end.fileno()),
                )
            )
        except BaseException:
            self.close()
            raise
        for one in (near, far, end):
            one.close()

    @property
    def bench(self) -> Child:
        return self._children[0]

    @property
    def conductor(self) -> Child:
        return self._children[1]

    def close(self) -> None:
        """End both and free what lay between them."""
        for child in self._children:
            if child.wait(0.0) is None:
                child.kill()
                child.wait(DIE_S)
        for end in self._ends:
            end.close()
        for slot in self._slots:
            slot.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
