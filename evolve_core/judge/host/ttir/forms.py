"""The operations whose printed form is their own: constants, structured control flow, branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import BadIr
from .ir import I1, NOTHING, Literal, Operation, Region, Scalar, Successor, Type, size_of
from .typetext import SCALARS

if TYPE_CHECKING:
    from .operations import Parser

_MARKS = ("[", "]", ",")


def constant(parser: Parser, name: str, line: int, results: tuple[str, ...]) -> Operation:
    """``dense<0.0> : tensor<…>``, ``1 : i32``, ``true``."""
    cursor = parser.cursor
    if cursor.here.text == "{":
        cursor.attributes()
    if cursor.here.text == "dense":
        cursor.take()
        literal = _dense(parser, line)
    else:
        literal = Literal((cursor.take().text,))
    kind: Type = I1
    if cursor.accept(":"):
        kind = cursor.type()
    elif literal.texts not in (("true",), ("false",)):
        raise BadIr("a constant without a type", line)
    if len(results) != 1 or (literal.data is None and len(literal.texts) not in (1, size_of(kind))):
        raise BadIr(f"a constant of {len(literal.texts)} elements for {kind}", line)
    return Operation(name, results, (kind,), (), (), line, cursor.location(), (), {"value": literal})


def _dense(parser: Parser, line: int) -> Literal:
    inside = parser.cursor.angles()
    if len(inside) == 1 and inside[0].kind == "string":
        text = inside[0].text[1:-1]
        if not text.startswith("0x"):
            raise BadIr("a dense constant of text", line)
        try:
            return Literal(data=bytes.fromhex(text[2:]))
        except ValueError:
            raise BadIr("a dense constant of odd digits", line) from None
    return Literal(tuple(token.text for token in inside if token.text not in _MARKS))


def _assignments(parser: Parser) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``(%a = %x, %b = %y)``: the names in the region, and what they start as."""
    cursor = parser.cursor
    inside: list[str] = []
    given: list[str] = []
    cursor.demand("(")
    while not cursor.accept(")"):
        inside.append(cursor.demand_kind("value"))
        cursor.location()
        cursor.demand("=")
        given.append(cursor.demand_kind("value"))
        if cursor.here.text != ")":
            cursor.demand(",")
    return tuple(inside), tuple(given)


def for_loop(parser: Parser, name: str, line: int, results: tuple[str, ...]) -> Operation:
    """``%r = scf.for %i = %from to %to step %by iter_args(%a = %x) -> (T) : i32 { … }``."""
    cursor = parser.cursor
    unsigned = cursor.accept("unsigned")
    index = cursor.demand_kind("value")
    cursor.location()
    cursor.demand("=")
    start = cursor.demand_kind("value")
    cursor.demand("to")
    stop = cursor.demand_kind("value")
    cursor.demand("step")
    step = cursor.demand_kind("value")
    inside: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    carried: tuple[Type, ...] = ()
    if cursor.accept("iter_args"):
        inside, given = _assignments(parser)
        cursor.demand("->")
        carried = cursor.types()
    counter: Type = cursor.type() if cursor.accept(":") else Scalar("index")
    if not isinstance(counter, Scalar) or counter.name not in SCALARS or counter.name[0] != "i":
        raise BadIr(f"a loop over {counter}", line)
    operands = (start, stop, step, *given)
    types = (counter, counter, counter, *carried)
    _expect(len(results) == len(carried) == len(inside), name, line)
    parser.scopes.check(operands, types, line)
    body = parser.region(((index, counter), *zip(inside, carried, strict=True)))
    _ends(body, "scf.yield", carried, line)
    words = ("unsigned",) if unsigned else ()
    return _finished(parser, name, line, results, carried, operands, types, (body,), words)


def if_else(parser: Parser, name: str, line: int, results: tuple[str, ...]) -> Operation:
    """``%r = scf.if %c -> (T) { … } else { … }``."""
    cursor = parser.cursor
    condition = cursor.demand_kind("value")
    made = cursor.types() if cursor.accept("->") else ()
    parser.scopes.check((condition,), (I1,), line)
    _expect(len(results) == len(made), name, line)
    regions = [parser.region()]
    if cursor.accept("else"):
        regions.append(parser.region())
    elif made:
        raise BadIr("an scf.if with results has no else", line)
    for region in regions:
        _ends(region, "scf.yield", made, line)
    return _finished(parser, name, line, results, made, (condition,), (I1,), tuple(regions))


def while_loop(parser: Parser, name: str, line: int, results: tuple[str, ...]) -> Operation:
    """``%r = scf.while (%a = %x) : (T) -> (U) { … scf.condition(%c) … } do { ^bb0(%b: U): … scf.yield … }``."""
    cursor = parser.cursor
    inside, given = _assignments(parser) if cursor.here.text == "(" else ((), ())
    cursor.demand(":")
    carried = cursor.types()
    cursor.demand("->")
    made = cursor.types()
    _expect(len(inside) == len(carried) and len(results) == len(made), name, line)
    parser.scopes.check(given, carried, line)
    before = parser.region(tuple(zip(inside, carried, strict=True)))
    cursor.demand("do")
    after = parser.region()
    _ends(before, "scf.condition", (I1, *made), line)
    _ends(after, "scf.yield", carried, line)
    _expect(tuple(kind for _, kind in after.blocks[0].arguments) == made, name, line)
    return _finished(parser, name, line, results, made, given, carried, (before, after))


def _finished(
    parser: Parser,
    name: str,
    line: int,
    results: tuple[str, ...],
    result_types: tuple[Type, ...],
    operands: tuple[str, ...],
    operand_types: tuple[Type, ...],
    regions: tuple[Region, ...],
    words: tuple[str, ...] = (),
) -> Operation:
    cursor = parser.cursor
    attributes = cursor.attributes() if cursor.accept("attributes") or cursor.here.text == "{" else NOTHING
    place = cursor.location()
    return Operation(name, results, result_types, operands, operand_types, line, place, words, attributes, regions)


def _expect(holds: bool, name: str, line: int) -> None:
    if not holds:
        raise BadIr(f"the operands, results and types of {name} do not fit each other", line)


def _ends(region: Region, terminator: str, types: tuple[Type, ...], line: int) -> None:
    """A region of structured control flow is one block, whose end hands over values of these types."""
    if len(region.blocks) != 1:
        raise BadIr("structured control flow with several blocks", line)
    operations = region.blocks[0].operations
    last = operations[-1] if operations else None
    # A loop or a branch without results may leave its empty yield out.
    if last is None or last.name not in ("scf.yield", "scf.condition"):
        if types:
            raise BadIr(f"a region without its {terminator}", line)
    elif last.name != terminator or last.operand_types != types:
        raise BadIr(f"a region hands over {len(last.operand_types)} values that its operation does not take", line)


def successors(parser: Parser, name: str, line: int, results: tuple[str, ...]) -> Operation:
    """``cf.br ^bb1(%a : T)`` and ``cf.cond_br %c, ^bb1, ^bb2(%a : T)``."""
    cursor = parser.cursor
    _expect(not results, name, line)
    operands: tuple[str, ...] = ()
    types: tuple[Type, ...] = ()
    if name == "cf.cond_br":
        operands, types = (cursor.demand_kind("value"),), (I1,)
        parser.scopes.check(operands, types, line)
        if cursor.here.text == "weights":
            cursor.take()
            cursor.demand("(")
            while not cursor.accept(")"):
                cursor.take()
        cursor.demand(",")
    targets = [_successor(parser, line)]
    if name == "cf.cond_br":
        cursor.demand(",")
        targets.append(_successor(parser, line))
    if cursor.here.text == "{":
        cursor.attributes()
    return Operation(name, (), (), operands, types, line, cursor.location(), successors=tuple(targets))


def _successor(parser: Parser, line: int) -> Successor:
    cursor = parser.cursor
    label = cursor.demand_kind("label")
    given: list[str] = []
    if cursor.accept("("):
        while cursor.here.kind == "value":
            given.append(cursor.take().text)
            cursor.accept(",")
        cursor.demand(":")
        types = [cursor.type()]
        while cursor.accept(","):
            types.append(cursor.type())
        cursor.demand(")")
        parser.scopes.check(tuple(given), tuple(types), line)
    return Successor(label, tuple(given))
