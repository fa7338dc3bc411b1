"""What all programs of one launch share, and the frame of those that run together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import BadIr, Unsupported
from .findings import Findings
from .formats import Array
from .ir import Module
from .memory import Buffer, Memory
from .races import Order, Shadow
from .values import Held, taken, uniform
from .watching import Watcher
from .work import Spending, Work


@dataclass
class Launch:
    """``written``: numbers of the buffers that some operation may write; None where that is unknown (all, then).

    ``is_sample``: only some programs run, which says nothing about races. ``watcher``: told of what the programs do.
    """

    module: Module
    memory: Memory
    grid: tuple[int, int, int]
    spending: Spending
    findings: Findings
    written: frozenset[int] | None
    order: Order
    is_sample: bool = False
    watcher: Watcher | None = None
    work: Work = field(default_factory=Work)
    _shadows: dict[int, Shadow] = field(default_factory=dict)
    _units: dict[int, int] = field(default_factory=dict)

    def shadow(self, buffer: Buffer, width: int) -> tuple[Shadow, int] | None:
        """The buffer's shadow and how many of its units an access of ``width`` bytes covers.

        None for a buffer that nothing in the launch writes: no read of it can race. None, too, where programs are left
        out.
        """
        if self.is_sample:
            return None
        if self.written is not None and buffer.number not in self.written:
            return None
        unit = self._units.setdefault(buffer.number, buffer.unit)
        shadow = self._shadows.get(buffer.number)
        if shadow is None:
            shadow = self._shadows[buffer.number] = Shadow(max(1, buffer.raw.size // unit), self.order)
        if width < unit:
            shadow.split(unit // width)
            unit = self._units[buffer.number] = width
        return shadow, width // unit


class Frame:
    """The values of a group of programs in one function. ``ids``: their numbers in the grid, x fastest, int64.

    A group that splits makes a child for each part, which takes its share of a value when it first reads it.
    """

    __slots__ = ("_index", "_parent", "_values", "ids", "launch")

    def __init__(self, launch: Launch, ids: Array, parent: Frame | None = None, index: Array | None = None) -> None:
        self.launch = launch
        self.ids = ids
        self._values: dict[str, Held] = {}
        self._parent = parent
        self._index = index

    def part(self, index: Array) -> Frame:
        """The same place in the text for some of the programs; ``index`` are positions in ``ids``."""
        return Frame(self.launch, self.ids[index], self, index)

    def inner(self) -> Frame:
        """For a region that combines elements: of the values around it, it sees those that are equal in all programs.

        Inside, single elements have the axes of the tensors that are combined.
        """
        return Frame(self.launch, self.ids, self)

    def get(self, name: str) -> Held:
        """Raises BadIr where the programs that run never came by the definition."""
        found = self._values.get(name)
        if found is None:
            if self._parent is None:
                raise BadIr(f"{name} is used where it has no value", 0)
            found = self._parent.get(name)
            if self._index is not None:
                found = taken(found, self._index)
            elif not uniform(found):
                raise Unsupported(
                    name, "comes from outside the region that combines two elements, which is not interpreted"
                )
            self._values[name] = found
        return found

    def set(self, name: str, held: Held) -> None:
        self._values[name] = held

    def forget(self, names: tuple[str, ...]) -> None:
        """Nothing reads these any more."""
        for name in names:
            self._values.pop(name, None)

    def lanes(self, data: Array) -> Array:
        """The program of every element of a full array whose first axis is the programs'."""
        shape = (len(self.ids),) + (1,) * (data.ndim - 1)
        return np.broadcast_to(self.ids.reshape(shape), data.shape)
