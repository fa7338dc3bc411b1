"""What of a kernel its stores' addresses need: a text that writes to the same places, and computes nothing to write.

An operation stays where the address, the mask or the descriptor of a store needs it, or a loop or a branch around a
store does (needs.py). A store becomes ``COVERS``, which marks where it would write; a value that nothing needs becomes
``UNDEFINED`` where a loop or a branch still hands it on (covering.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

from .covering import CARRIED_OUT, COVERS, UNDEFINED
from .ir import TERMINATORS, Block, Function, Module, Operation, Region, Type
from .needs import WRITES, Needs, places_in
from .plan import operations_of

_READS = frozenset(("tt.load", "tt.descriptor_load", "tt.atomic_rmw", "tt.atomic_cas"))


def address_slice(module: Module) -> Module:
    """The same functions with what writes to memory replaced. Raises Unsupported for what may write and is not known
    to.
    """
    needs = Needs(module)
    return Module(MappingProxyType({name: _sliced(function, needs) for name, function in module.functions.items()}))


def reads_memory(sliced: Module) -> bool:
    """Whether some address depends on what memory holds."""
    return any(one.name in _READS for function in sliced.functions.values() for one in operations_of(function.body))


def _sliced(function: Function, needs: Needs) -> Function:
    body = _region(function.body, needs)
    used = {name for one in operations_of(body) for name in _handed_to(one)}
    return replace(function, body=_pruned(body, used))


def _handed_to(operation: Operation) -> Iterator[str]:
    yield from operation.operands
    for successor in operation.successors:
        yield from successor.operands


def _region(region: Region, needs: Needs) -> Region:
    blocks = [
        replace(block, operations=tuple(made for one in block.operations for made in _rebuilt(one, needs)))
        for block in region.blocks
    ]
    return Region(tuple(blocks))


def _rebuilt(operation: Operation, needs: Needs) -> tuple[Operation, ...]:
    if operation.name in TERMINATORS:
        return (operation,)
    if id(operation) not in needs.kept:
        return (_with_name(operation, UNDEFINED, (), ()),) if operation.results else ()
    if operation.name.startswith("scf."):
        return (replace(operation, regions=tuple(_region(one, needs) for one in operation.regions)),)
    if operation.name not in WRITES:
        return (operation,)
    places, types = places_in(operation, operation.operands), places_in(operation, operation.operand_types)
    covering = _with_name(replace(operation, results=(), result_types=()), COVERS, places, types)
    if id(operation) not in needs.run:
        return (covering,)
    return (operation, replace(covering, attributes={CARRIED_OUT: True}))


def _with_name(operation: Operation, name: str, operands: tuple[str, ...], types: tuple[Type, ...]) -> Operation:
    return replace(operation, name=name, operands=operands, operand_types=types, words=(operation.name,), regions=())


def _pruned(region: Region, used: set[str]) -> Region:
    """Without undefined values that nothing is handed."""
    return Region(tuple(replace(block, operations=_used(block, used)) for block in region.blocks))


def _used(block: Block, used: set[str]) -> tuple[Operation, ...]:
    return tuple(
        replace(one, regions=tuple(_pruned(inner, used) for inner in one.regions)) if one.regions else one
        for one in block.operations
        if one.name != UNDEFINED or used.intersection(one.results)
    )
