"""What the stores' addresses need, marked backwards over the values of a module's functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .errors import Unsupported
from .ir import TERMINATORS, Block, Function, Module, Operation, Region, element_of
from .plan import IGNORED, operations_of

_AFTER_VALUE = {"tt.store": 2, "tt.atomic_rmw": 2, "tt.atomic_cas": 3}
"""Of what writes through pointers: the place of its mask. The pointers come first."""
_THROUGH_DESCRIPTORS = ("tt.descriptor_store", "tt.descriptor_reduce")
"""Their value comes last."""
WRITES = frozenset((*_AFTER_VALUE, *_THROUGH_DESCRIPTORS))
_ATOMIC = frozenset(("tt.atomic_rmw", "tt.atomic_cas"))
_HARMLESS = frozenset((*IGNORED, *TERMINATORS, "tt.assert", "llvm.intr.assume", "tt.call"))
"""Without results, and yet no writes of their own."""


_Part = TypeVar("_Part")


class Needs:
    """Grows until nothing is added: ``values`` of each function that are needed, and the operations ``kept``.

    ``run``: atomic operations that are carried out, because something needs what they give, as with a lock.
    """

    def __init__(self, module: Module) -> None:
        self.values: set[tuple[str, str]] = set()
        self.kept: set[int] = set()
        self.run: set[int] = set()
        self._writing: set[str] = set()
        """Functions that write, or call one that does."""
        self._returning: set[str] = set()
        """Functions of which some result is needed."""
        size = -1
        while size != self._size:
            size = self._size
            for function in module.functions.values():
                _Marker(self, function).mark()

    @property
    def _size(self) -> int:
        marked = (self.values, self.kept, self.run)
        return sum(len(one) for one in marked) + len(self._writing) + len(self._returning)

    def is_writing(self, callee: str) -> bool:
        return callee in self._writing

    def is_returning(self, function: str) -> bool:
        return function in self._returning

    def writing(self, function: str) -> None:
        self._writing.add(function)

    def returning(self, function: str) -> None:
        self._returning.add(function)


class _Marker:
    """One pass over one function, from its end."""

    def __init__(self, needs: Needs, function: Function) -> None:
        self._needs, self._name, self._body = needs, function.name, function.body
        self._blocks = {block.label: block for block in function.body.blocks}

    def mark(self) -> None:
        if self._blocks_in(self._body):
            self._needs.writing(self._name)

    def _blocks_in(self, region: Region) -> bool:
        """Marks all of them, from the end; whether something inside writes."""
        writes = False
        for block in reversed(region.blocks):
            for one in reversed(block.operations):
                writes |= self._operation(one)
        return writes

    def _operation(self, operation: Operation) -> bool:
        writes = self._writes(operation)
        wanted = any(self._needed(name) for name in operation.results)
        if operation.name in TERMINATORS:
            self._end(operation)
        elif writes or wanted:
            self._needs.kept.add(id(operation))
            self._ask(operation, wanted=wanted)
        return writes

    def _writes(self, operation: Operation) -> bool:
        name = operation.name
        if name in WRITES:
            return True
        if name == "tt.call":
            return self._needs.is_writing(_callee(operation))
        if name.startswith("scf.") and operation.regions:
            return sum(map(self._blocks_in, operation.regions)) > 0
        if not operation.results and name not in _HARMLESS:
            raise Unsupported(name, "may write, which is not followed", operation.text_line)
        return False

    def _ask(self, operation: Operation, *, wanted: bool) -> None:
        name = operation.name
        if name in WRITES:
            self._ask_write(operation, wanted=wanted)
        elif name == "scf.for":
            self._ask_for(operation)
        elif name == "scf.if":
            self._need(operation.operands)
            for region in operation.regions:
                self._handed(operation.results, _end_of(region.blocks[0]))
        elif name == "scf.while":
            self._ask_while(operation)
        else:
            self._need(operation.operands)
            self._need(one for region in operation.regions for inner in operations_of(region) for one in inner.operands)
            if name == "tt.call" and wanted:
                self._needs.returning(_callee(operation))

    def _ask_write(self, operation: Operation, *, wanted: bool) -> None:
        # Whoever takes a lock waits for the one who gives it back: all on integers are carried out, or none.
        on_integers = str(element_of(operation.operand_types[1])).startswith("i")
        if operation.name in _ATOMIC and (wanted or (self._needs.run and on_integers)):
            self._needs.run.add(id(operation))
            self._need(operation.operands)
        else:
            self._need(places_in(operation, operation.operands))

    def _ask_for(self, operation: Operation) -> None:
        body = operation.regions[0].blocks[0]
        inside = [name for name, _ in body.arguments[1:]]
        self._need(operation.operands[:3])
        self._alike(operation.results, inside)
        self._handed(inside, operation.operands[3:])
        self._handed(inside, _end_of(body))

    def _ask_while(self, operation: Operation) -> None:
        before, after = (region.blocks[0] for region in operation.regions)
        condition = _end_of(before)
        onward, carried = ([name for name, _ in block.arguments] for block in (after, before))
        self._need(condition[:1])
        self._alike(operation.results, onward)
        self._handed(onward, condition[1:])
        self._handed(carried, operation.operands)
        self._handed(carried, _end_of(after))

    def _end(self, operation: Operation) -> None:
        returns = operation.name == "tt.return" and self._needs.is_returning(self._name)
        if operation.successors or returns:
            self._need(operation.operands)
        for successor in operation.successors:
            target = self._blocks.get(successor.label)
            if target is not None:
                self._handed([name for name, _ in target.arguments], successor.operands)

    def _needed(self, name: str) -> bool:
        return (self._name, name) in self._needs.values

    def _need(self, names: Iterable[str]) -> None:
        self._needs.values.update((self._name, name) for name in names)

    def _handed(self, inside: Iterable[str], given: Iterable[str]) -> None:
        """What is handed over to a needed name is needed."""
        self._need([one for name, one in zip(inside, given, strict=False) if self._needed(name)])

    def _alike(self, results: Iterable[str], inside: Iterable[str]) -> None:
        """Names of one place: both are needed where one is."""
        for pair in zip(results, inside, strict=True):
            if any(self._needed(name) for name in pair):
                self._need(pair)


def _callee(operation: Operation) -> str:
    return operation.words[0] if operation.words else ""


def _end_of(block: Block) -> tuple[str, ...]:
    return block.operations[-1].operands if block.operations else ()


def places_in(operation: Operation, parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """Of the operands of what writes, or of their types: those that say where."""
    if operation.name in _THROUGH_DESCRIPTORS:
        return parts[:-1]
    return (parts[0], *parts[_AFTER_VALUE[operation.name] :])
