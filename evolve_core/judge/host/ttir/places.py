"""MLIR's ``loc(…)`` from tokens; what they mean is in ``locations``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import BadIr
from .ir import Location
from .lexer import Token
from .locations import At, Place, Within

if TYPE_CHECKING:
    from .cursor import Cursor


def read_place(cursor: Cursor) -> Place:
    """What stands in the parentheses of ``loc(…)``. Raises BadIr."""
    cursor.enter()
    token = cursor.take()
    place: Place = None
    if token.kind == "alias":
        place = token.text
    elif token.text == "callsite":
        place = _call_site(cursor)
    elif token.text == "fused":
        if cursor.here.text == "<":
            cursor.angles()
        place = Within(_places(cursor, "[", "]"))
    elif token.kind == "string" and cursor.accept(":"):
        place = _in_file(cursor, token)
    elif token.kind == "string":
        place = Within(_places(cursor, "(", ")")) if cursor.here.text == "(" else None
    elif token.text != "unknown":
        raise BadIr(f"{token.text[:40]!r} is no location", token.line)
    cursor.leave()
    return place


def _call_site(cursor: Cursor) -> Place:
    cursor.demand("(")
    callee = read_place(cursor)
    cursor.demand("at")
    caller = read_place(cursor)
    cursor.demand(")")
    return Within((callee, caller))


def _in_file(cursor: Cursor, name: Token) -> Place:
    """``"file":line:column``, maybe with the end of a range after it."""
    line = _whole(cursor)
    cursor.demand(":")
    column = _whole(cursor)
    if cursor.accept("to"):
        while cursor.here.text != ")":
            cursor.take()
    return At(Location(name.text[1:-1], line, column))


def _places(cursor: Cursor, opening: str, closing: str) -> tuple[Place, ...]:
    cursor.demand(opening)
    found: list[Place] = []
    while not cursor.accept(closing):
        found.append(read_place(cursor))
        cursor.accept(",")
    return tuple(found)


def _whole(cursor: Cursor) -> int:
    text = cursor.demand_kind("number")
    if not text.isdigit() or len(text) > 10:
        raise cursor.bad("expected a line or a column")
    return int(text)
