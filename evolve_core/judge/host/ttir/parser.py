"""Reads TTIR as Triton prints it into the types of ``ir``.

The printed form is read, not the whole of MLIR: one operation a line, as MLIR's printer always writes. Operations
that nothing here knows are Unsupported by name, text that is no TTIR is BadIr with its line. Time and memory are linear
in the text, whose length, nesting and number of values are limited (lexer, cursor, scopes).
"""

from __future__ import annotations

from types import MappingProxyType

from .cursor import Cursor
from .errors import BadIr, Unsupported
from .ir import NOTHING, Argument, Function, Module
from .operations import Parser


def parse(text: str) -> Module:
    """The functions of a module. Raises BadIr for malformed text, Unsupported for an operation that is not done."""
    parser = Parser(text)
    functions = _module(parser)
    if not functions:
        raise BadIr("the text has no function", parser.cursor.here.line)
    named = {function.name: function for function in functions}
    if len(named) != len(functions):
        raise BadIr("two functions have one name", parser.cursor.here.line)
    return Module(MappingProxyType(named))


def _module(parser: Parser) -> list[Function]:
    """``module { … }`` or bare functions."""
    cursor = parser.cursor
    wrapped = cursor.accept("module")
    if wrapped:
        if cursor.here.kind == "symbol":
            cursor.take()
        if cursor.accept("attributes"):
            cursor.attributes()
        cursor.demand("{")
    functions: list[Function] = []
    while cursor.here.text == "tt.func":
        functions.append(_function(parser))
    if wrapped:
        cursor.demand("}")
        cursor.location()
    if cursor.here.kind != "end":
        raise cursor.bad("expected a function")
    return functions


def _function(parser: Parser) -> Function:
    cursor = parser.cursor
    cursor.demand("tt.func")
    visibility = cursor.take().text if cursor.here.text in ("public", "private", "nested") else "public"
    name = cursor.demand_kind("symbol")[1:].strip('"')
    arguments = _arguments(cursor)
    results = cursor.types() if cursor.accept("->") else ()
    if cursor.accept("attributes"):
        cursor.attributes()
    if cursor.here.text != "{":
        raise Unsupported(f"@{name}", "has no body", cursor.here.line)
    body = parser.isolated_region(tuple((argument.name, argument.type) for argument in arguments))
    cursor.location()
    return Function(name, visibility == "public", arguments, results, body)


def _arguments(cursor: Cursor) -> tuple[Argument, ...]:
    cursor.demand("(")
    found: list[Argument] = []
    while not cursor.accept(")"):
        name = cursor.demand_kind("value")
        cursor.demand(":")
        kind = cursor.type()
        attributes = cursor.attributes() if cursor.here.text == "{" else NOTHING
        cursor.location()
        divisibility = attributes.get("tt.divisibility", 1)
        found.append(Argument(name, kind, divisibility if isinstance(divisibility, int) else 1))
        if cursor.here.text != ")":
            cursor.demand(",")
    return tuple(found)
