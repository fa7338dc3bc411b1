"""What the compiler concludes about every value of a function, through loops and branches.

Whatever a loop or a branch hands on starts as unresolved and loses with every look, until a look changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd

from .axes import Known, hinted, joined, nothing, unresolved
from .axisrules import concluded
from .errors import Unsupported
from .ir import Block, Function, Operation, Region, Type

_MOST_LOOKS = 64
"""At one region. Divisors halve, so honest text needs a handful."""
_MOST_OPERATIONS = 1 << 18
"""Looked at in all: an inner loop is looked at again with every look at the outer one."""


def known_values(function: Function, *, with_hints: bool) -> dict[str, Known]:
    """By the names of the values. ``with_hints``: as the compiler sees it; else as if the kernel had told nothing.

    Raises Unsupported for text that contradicts itself, whose loops nest too deep, or whose values do not settle.
    """
    knowing = _Knowing(with_hints)
    for argument in function.arguments:
        plain = nothing(argument.type)
        knowing.values[argument.name] = Known(plain.runs, (argument.divisibility,) * plain.rank, plain.alike)
    try:
        knowing.blocks(function.body)
    except (ValueError, IndexError):
        raise Unsupported(function.name, "has hints on values that cannot be followed") from None
    return knowing.values


class _Knowing:
    def __init__(self, with_hints: bool) -> None:
        self._with_hints = with_hints
        self.values: dict[str, Known] = {}
        self._left = _MOST_OPERATIONS

    # -- blocks ------------------------------------------------------------------------------------------------------

    def blocks(self, region: Region) -> None:
        """A function's body: blocks that branch to each other."""
        places = {block.label: block for block in region.blocks}
        for block in region.blocks[1:]:
            for name, kind in block.arguments:
                self.values[name] = unresolved(kind)
        for _ in range(_MOST_LOOKS):
            before = dict(self.values)
            for block in region.blocks:
                last = self._block(block)
                for successor in last.successors if last else ():
                    target = places.get(successor.label)
                    if target is not None:
                        self._join(target.arguments, self._all(successor.operands))
            if self.values == before:
                return
        raise _unsettled()

    def _block(self, block: Block) -> Operation | None:
        """Its last operation."""
        for operation in block.operations:
            self._operation(operation)
        return block.operations[-1] if block.operations else None

    def _handed_on(self, region: Region) -> list[Known]:
        """What a region of one block ends with."""
        last = self._block(region.blocks[0])
        return self._all(last.operands) if last else []

    def _all(self, names: Iterable[str]) -> list[Known]:
        return [self.values[name] for name in names]

    def _join(self, arguments: Sequence[tuple[str, Type]], given: Sequence[Known]) -> bool:
        """Take over what is handed in; whether that changed anything."""
        changed = False
        for (name, _), known in zip(arguments, given, strict=False):
            before = self.values[name]
            self.values[name] = joined(before, known)
            changed |= self.values[name] != before
        return changed

    # -- operations --------------------------------------------------------------------------------------------------

    def _operation(self, operation: Operation) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too much to look at")
        if operation.name == "scf.for":
            self._for(operation)
        elif operation.name == "scf.if":
            self._if(operation)
        elif operation.name == "scf.while":
            self._while(operation)
        else:
            for region in operation.regions:
                self._inner(region)
            self._plain(operation)

    def _plain(self, operation: Operation) -> None:
        found = concluded(operation, self._all(operation.operands)) if len(operation.results) == 1 else None
        for name, kind in zip(operation.results, operation.result_types, strict=True):
            known = found or nothing(kind)
            self.values[name] = hinted(known, operation) if self._with_hints else known

    def _inner(self, region: Region) -> None:
        """One that combines elements: nothing is known of those."""
        for block in region.blocks:
            self._unknown(block.arguments)
            self._block(block)

    def _unknown(self, arguments: Sequence[tuple[str, Type]]) -> None:
        for name, kind in arguments:
            self.values[name] = nothing(kind)

    def _unresolved(self, arguments: Iterable[tuple[str, Type]]) -> None:
        for name, kind in arguments:
            self.values[name] = unresolved(kind)

    def _results(self, operation: Operation) -> list[tuple[str, Type]]:
        return list(zip(operation.results, operation.result_types, strict=True))

    def _for(self, operation: Operation) -> None:
        (counter, kind), *carried = operation.regions[0].blocks[0].arguments
        start, _, step, *given = self._all(operation.operands)
        ones = nothing(kind)
        self.values[counter] = Known(ones.runs, (gcd(start.divisor[0], step.divisor[0]),), ones.alike)
        self._until_settled(carried, given, operation.regions[0])
        self._unresolved(self._results(operation))
        for handed in (given, self._all(name for name, _ in carried)):
            self._join(self._results(operation), handed)

    def _until_settled(self, carried: Sequence[tuple[str, Type]], given: list[Known], region: Region) -> None:
        self._unresolved(carried)
        self._join(carried, given)
        for _ in range(_MOST_LOOKS):
            if not self._join(carried, self._handed_on(region)):
                return
        raise _unsettled()

    def _if(self, operation: Operation) -> None:
        self._unresolved(self._results(operation))
        for region in operation.regions:
            self._join(self._results(operation), self._handed_on(region))

    def _while(self, operation: Operation) -> None:
        before, after = (region.blocks[0] for region in operation.regions)
        self._unresolved((*before.arguments, *after.arguments, *self._results(operation)))
        self._join(before.arguments, self._all(operation.operands))
        for _ in range(_MOST_LOOKS):
            _, *handed = self._handed_on(operation.regions[0])
            self._join(after.arguments, handed)
            self._join(self._results(operation), handed)
            if not self._join(before.arguments, self._handed_on(operation.regions[1])):
                return
        raise _unsettled()


def _unsettled() -> ValueError:
    return ValueError("what is known still shrinks")
