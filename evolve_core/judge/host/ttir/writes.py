"""Which of a kernel's arguments may be written through: buffers behind others cannot race, and need no watching."""

from __future__ import annotations

from collections import defaultdict

from .ir import Descriptor, Function, Module, Operation, Pointer, Type, element_of
from .plan import operations_of

_WRITES = frozenset(
    (
        "tt.store",
        "tt.atomic_store",
        "tt.atomic_rmw",
        "tt.atomic_cas",
        "tt.descriptor_store",
        "tt.descriptor_reduce",
        "tt.descriptor_scatter",
    )
)
_UNKNOWN = "?"
_Name = tuple[str, str]
"""A function and a value in it."""


def _points(kind: Type) -> bool:
    return isinstance(element_of(kind), Pointer | Descriptor)


class _Flow:
    """For every pointer, the values that it may be made of."""

    def __init__(self, module: Module) -> None:
        self.sources: dict[_Name, set[_Name]] = defaultdict(set)
        self.written: list[_Name] = []
        self._module = module
        for function in module.functions.values():
            self._follow(function)

    def _follow(self, function: Function) -> None:
        blocks = {block.label: block for block in function.body.blocks}
        for operation in operations_of(function.body):
            if operation.name in _WRITES and operation.operands:
                self.written.append((function.name, operation.operands[0]))
            if operation.name in ("tt.int_to_ptr", "tt.load", "tt.atomic_rmw", "tt.atomic_cas"):
                for name, kind in zip(operation.results, operation.result_types, strict=True):
                    if _points(kind):
                        self.sources[function.name, name].add((_UNKNOWN, ""))
            elif operation.name.startswith("scf."):
                self._follow_structured(function, operation)
            elif operation.name == "tt.call":
                self._follow_call(function, operation)
            else:
                self._all(function, operation.results, operation.operands)
            for successor in operation.successors:
                target = blocks.get(successor.label)
                inside = [name for name, _ in target.arguments] if target is not None else []
                self._each(function, inside, successor.operands)

    def _follow_structured(self, function: Function, operation: Operation) -> None:
        """What a loop or a branch hands from where to where, place by place."""
        ends = [
            block.operations[-1].operands if block.operations else ()
            for region in operation.regions
            for block in region.blocks
        ]
        inside = [[name for name, _ in block.arguments] for region in operation.regions for block in region.blocks]
        if operation.name == "scf.for":
            for given in (operation.operands[3:], ends[0]):
                self._each(function, inside[0][1:], given)
                self._each(function, list(operation.results), given)
        elif operation.name == "scf.while":
            for given in (operation.operands, ends[1]):
                self._each(function, inside[0], given)
            for names in (inside[1], list(operation.results)):
                self._each(function, names, ends[0][1:])
        else:
            for given in ends:
                self._each(function, list(operation.results), given)

    def _follow_call(self, function: Function, operation: Operation) -> None:
        callee = self._module.functions.get(operation.words[0] if operation.words else "")
        if callee is None:
            return
        for argument, operand in zip(callee.arguments, operation.operands, strict=False):
            self.sources[callee.name, argument.name].add((function.name, operand))
        for inner in operations_of(callee.body):
            if inner.name == "tt.return":
                for result, operand in zip(operation.results, inner.operands, strict=False):
                    self.sources[function.name, result].add((callee.name, operand))

    def _all(self, function: Function, results: tuple[str, ...], operands: tuple[str, ...]) -> None:
        for result in results:
            self.sources[function.name, result].update((function.name, operand) for operand in operands)

    def _each(self, function: Function, inside: list[str], operands: tuple[str, ...]) -> None:
        for name, operand in zip(inside, operands, strict=False):
            self.sources[function.name, name].add((function.name, operand))


def written_arguments(module: Module, kernel: Function) -> frozenset[int] | None:
    """Positions of the kernel's arguments that it, or what it calls, may write through; None where that is unknown.

    An integer that an address is made of counts like a pointer, so the answer errs towards too many.
    """
    flow = _Flow(module)
    waiting, seen = list(flow.written), set(flow.written)
    while waiting:
        current = waiting.pop()
        if current[0] == _UNKNOWN:
            return None
        for source in flow.sources.get(current, ()):
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return frozenset(
        place
        for place, argument in enumerate(kernel.arguments)
        if (kernel.name, argument.name) in seen and _points(argument.type)
    )
