"""What a launch plan may ask of the driver and of torch: found out before they are asked.

Standard library alone, like planreading.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from .plan import ITEM_BYTES, KernelLaunch, LaunchPlan, Operation, Step, View, memories_of, views_of

MAX_STEPS = 256
MAX_BUFFERS = 1024
MAX_ARGUMENTS = 512
MAX_RANK = 64
"""Of a tensor, as in torch's own TensorIterator."""
MAX_VALUES = 4096
"""Numbers that host code writes down for the device."""
MAX_BYTES = 1 << 40
"""Of all new memory together: more than any device has."""
MAX_GRID = (2**31 - 1, 65535, 65535)
"""CUDA C++ programming guide, table "Technical Specifications per Compute Capability"."""
MAX_BLOCK = (1024, 1024, 64)
MAX_THREADS = 1024
"""Of a block: along each axis, and in all; from the same table."""


class BadPlan(ValueError):
    """It is no plan; only a broken or hostile process sends one."""


class PlanRules:
    """Of one plan; its shape has been read, what it says has not been looked at."""

    def __init__(self, plan: LaunchPlan) -> None:
        self._plan = plan
        self._givens = {given.name: given for given in plan.givens}
        self._made: set[int] = set()
        """Buffers that are results of a step, and those of them whose step has been."""
        self._there: set[int] = set()

    def hold(self) -> None:
        """Raises ``BadPlan`` where one is broken."""
        plan = self._plan
        made = [view.memory for step in (*plan.prelude, *plan.steps) for view in _results(step)]
        if len(set(made)) != len(made):
            raise BadPlan("a buffer that two steps make")
        self._made = set(made)
        self._memories()
        for step in plan.prelude:
            self._step(step, kept=True)
        for step in plan.steps:
            self._step(step, kept=False)
        for output in plan.outputs or ():
            if output.view is not None:
                self._inside(output.view)

    def _memories(self) -> None:
        new_bytes = 0
        for number, memory in enumerate(self._plan.memories):
            if memory.given:
                given = self._givens.get(memory.given)
                if given is None or given.dtype != memory.dtype or len(given.shape) != len(given.stride):
                    raise BadPlan("an input that the entry does not have")
                if memory.values is not None or memory.kept or number in self._made:
                    raise BadPlan(f"the input {memory.given} is made by the plan")
                continue
            new_bytes += memory.count * ITEM_BYTES[memory.dtype]
            if memory.values is not None and (len(memory.values) != memory.count or number in self._made):
                raise BadPlan("a buffer with other numbers than it has room for")
        if new_bytes > MAX_BYTES:
            raise BadPlan(f"{new_bytes >> 30} GiB of memory")

    def _step(self, step: Step, *, kept: bool) -> None:
        results = {view.memory for view in _results(step)}
        for memory in memories_of(step):
            if memory >= len(self._plan.memories):
                raise BadPlan("a buffer that the plan does not have")
            if memory in self._made - self._there - results:
                raise BadPlan("a buffer that is used before it is made")
            if kept and not self._plan.memories[memory].kept:
                raise BadPlan("memory of a call is used before the call")
        for memory in results:
            if self._plan.memories[memory].kept != kept:
                raise BadPlan("a call makes memory that is kept")
        if isinstance(step, KernelLaunch):
            self._launch(step)
        if isinstance(step, Operation):
            self._fresh(step, results)
        self._there |= results
        for view in views_of(step):
            self._inside(view)

    def _launch(self, step: KernelLaunch) -> None:
        if any(not 0 < size <= most for size, most in zip(step.grid, MAX_GRID, strict=True)):
            raise BadPlan(f"{step.function} is launched with the grid {step.grid}")
        x, y, z = step.block
        if (
            any(not 0 < size <= most for size, most in zip(step.block, MAX_BLOCK, strict=True))
            or x * y * z > MAX_THREADS
        ):
            raise BadPlan(f"{step.function} is launched with blocks of {step.block} threads")
        for one in step.arguments:
            if one.memory is not None and one.offset > self._bytes(one.memory):
                raise BadPlan(f"{step.function} is given a pointer outside its buffer")

    def _fresh(self, step: Operation, results: set[int]) -> None:
        if any(view.memory in results for view in step.read) or any(view.offset for view in step.made):
            raise BadPlan(f"{step.operator} gives what is no new memory")

    def _inside(self, view: View) -> None:
        """Whether every element of the view lies in its buffer."""
        if view.memory >= len(self._plan.memories):
            raise BadPlan("a buffer that the plan does not have")
        item = ITEM_BYTES[view.dtype]
        if view.offset + view.span * item > self._bytes(view.memory):
            raise BadPlan("a tensor outside its buffer")

    def _bytes(self, memory: int) -> int:
        """Of the buffer; of an input, from its first element to its last."""
        described = self._plan.memories[memory]
        if not described.given:
            return described.count * ITEM_BYTES[described.dtype]
        given = self._givens[described.given]
        return View(memory, 0, given.dtype, given.shape, given.stride).span * ITEM_BYTES[given.dtype]


def _results(step: Step) -> Iterable[View]:
    return step.made if isinstance(step, Operation) else ()
