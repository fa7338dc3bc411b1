"""A position in the tokens: looking, taking, demanding; and types, attributes and locations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .errors import BadIr
from .ir import Location, Type
from .lexer import Token, tokens
from .locations import Aliases
from .places import read_place
from .typetext import SCALARS, type_named

MAX_DEPTH = 64
"""Nesting of regions, attributes and locations. Triton's own output stays below twenty."""


class Cursor:
    """Tokens of one text, and the locations that it defines."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._position = 0
        self._depth = 0
        self.aliases = Aliases()
        self._read_aliases()

    # ── looking and taking ──

    @property
    def here(self) -> Token:
        return self._tokens[self._position]

    @property
    def previous_line(self) -> int:
        """The line of the token before this one: an operation ends with its line."""
        return self._tokens[self._position - 1].line if self._position else 0

    def ahead(self, steps: int) -> Token:
        return self._tokens[min(self._position + steps, len(self._tokens) - 1)]

    def take(self) -> Token:
        token = self._tokens[self._position]
        if token.kind == "end":
            raise BadIr("the text ends in the middle of an operation", token.line)
        self._position += 1
        return token

    def accept(self, text: str) -> bool:
        if self.here.text == text and self.here.kind != "string":
            self._position += 1
            return True
        return False

    def demand(self, text: str) -> None:
        if not self.accept(text):
            raise self.bad(f"expected {text!r}")

    def demand_kind(self, kind: str) -> str:
        if self.here.kind != kind:
            raise self.bad(f"expected a {kind}")
        return self.take().text

    def bad(self, message: str) -> BadIr:
        return BadIr(f"{message}, found {self.here.text[:40]!r}", self.here.line)

    def back(self) -> None:
        """Untake one token."""
        self._position -= 1

    def enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadIr(f"nested deeper than {MAX_DEPTH}", self.here.line)

    def leave(self) -> None:
        self._depth -= 1

    # ── types ──

    def at_type(self) -> bool:
        here = self.here
        return here.kind == "type" or here.text in SCALARS or (here.text == "<" and self.ahead(1).text in SCALARS)

    def type(self) -> Type:
        """A type; ``<f16>`` and ``<32x32xf16>`` stand for a pointer and a descriptor where their prefix is left out."""
        token = self.take()
        if token.text == "<":
            inner = self.take().text
            self.demand(">")
            return type_named(f"!tt.ptr<{inner}>", token.line)
        if token.text.startswith("<"):
            return type_named(f"!tt.tensordesc{token.text}", token.line)
        return type_named(token.text, token.line)

    def types(self) -> tuple[Type, ...]:
        """``A, B`` or ``A * B`` or ``(A, B)`` or ``()``."""
        if not self.accept("("):
            return self._listed_types()
        found: list[Type] = []
        while not self.accept(")"):
            found.append(self.type())
            if self.here.text != ")":
                self.demand(",")
        return tuple(found)

    def _listed_types(self) -> tuple[Type, ...]:
        found = [self.type()]
        while self.here.line == self.previous_line and (self.accept(",") or self.accept("*")):
            found.append(self.type())
        return tuple(found)

    # ── attributes ──

    def attributes(self, opening: str = "{", closing: str = "}") -> Mapping[str, object]:
        self.demand(opening)
        found: dict[str, object] = {}
        while not self.accept(closing):
            name = self.take().text.strip('"')
            found[name] = self.attribute() if self.accept("=") else True
            if self.here.text != closing:
                self.demand(",")
        return MappingProxyType(found)

    def attribute(self) -> object:
        """Integers, floats, booleans and texts as Python's; lists, arrays and dense numbers as tuples (one number that
        stands for all: itself); the rest as its text.
        """
        self.enter()
        token = self.here
        value: object
        if token.text == "{":
            value = self.attributes()
        elif token.text == "[":
            value = self._items("[", "]")
        elif token.kind == "word" and token.text == "array" and self.ahead(1).text == "<":
            self.take()
            value = self._items("<", ">", skip_type=True)
        else:
            value = _plain(self.take())
            if self.here.text == "<" and self.here.line == token.line:
                inside = self.angles()
                value = _dense(inside) if token.text == "dense" else value
        if self.here.text == ":":
            self.take()
            self.type()
        self.leave()
        return value

    def _items(self, opening: str, closing: str, *, skip_type: bool = False) -> tuple[object, ...]:
        self.demand(opening)
        if skip_type:
            self.type()
            self.accept(":")
        found: list[object] = []
        while not self.accept(closing):
            found.append(self.attribute())
            if self.here.text != closing:
                self.demand(",")
        return tuple(found)

    def angles(self) -> tuple[Token, ...]:
        """What stands in ``<…>``, which may nest."""
        self.demand("<")
        found: list[Token] = []
        depth = 1
        while True:
            token = self.take()
            depth += (token.text == "<") - (token.text == ">")
            if not depth:
                return tuple(found)
            found.append(token)

    # ── locations ──

    def location(self) -> Location | None:
        """``loc(…)`` where there is one."""
        if self.here.text == "loc" and self.ahead(1).text == "(":
            self.take()
            self.take()
            place = read_place(self)
            self.demand(")")
            return self.aliases.resolve(place)
        return None

    def _read_aliases(self) -> None:
        """``#name = loc(…)`` anywhere at the top; other aliases are left to whoever uses them, and nobody does."""
        kept: list[Token] = []
        while self.here.kind != "end":
            if self.here.kind == "alias" and self.ahead(1).text == "=" and self.ahead(2).text == "loc":
                name = self.take().text
                self._position += 2
                self.demand("(")
                self.aliases.places[name] = read_place(self)
                self.demand(")")
            else:
                kept.append(self.take())
        self._tokens = [*kept, self.here]
        self._position = 0


def _plain(token: Token) -> object:
    text = token.text
    if token.kind == "string":
        return text[1:-1]
    if token.kind == "number":
        return number(token)
    return {"true": True, "false": False}.get(text, text)


def _dense(inside: tuple[Token, ...]) -> object:
    """``<16>`` or ``<[1, 16]>``; of anything else than numbers nobody reads the elements."""
    elements = [one for one in inside if one.text not in ("[", "]", ",")]
    if any(one.kind != "number" for one in elements):
        return "dense"
    numbers = tuple(number(one) for one in elements)
    return numbers[0] if len(inside) == 1 else numbers


def number(token: Token) -> int | float:
    """Raises BadIr for a numeral of more digits than any constant of a kernel has."""
    if len(token.text) > 64:
        raise BadIr("a numeral of more than 64 digits", token.line)
    if token.text.startswith("0x"):
        return int(token.text, 16)
    return float(token.text) if any(mark in token.text for mark in ".eE") else int(token.text)
