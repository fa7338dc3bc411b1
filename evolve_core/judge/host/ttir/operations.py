"""Regions, blocks and operations of a function, from tokens."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .cursor import Cursor
from .errors import BadIr
from .forms import constant, for_loop, if_else, successors, while_loop
from .ir import NOTHING, TERMINATORS, Block, Operation, Region, Type
from .rules import Listed
from .scopes import Scopes
from .signatures import types_of


class Parser:
    """One text; ``cursor`` and ``scopes`` are shared with the operations that have a form of their own (forms)."""

    def __init__(self, text: str) -> None:
        self.cursor = Cursor(text)
        self.scopes = Scopes()

    # ── regions and blocks ──

    def isolated_region(self, arguments: tuple[tuple[str, Type], ...]) -> Region:
        """A function's body, which sees nothing around it."""
        kept = self.scopes.isolate()
        body = self.region(arguments)
        self.scopes.restore(kept)
        return body

    def region(self, arguments: tuple[tuple[str, Type], ...] = ()) -> Region:
        """``{ … }``. ``arguments`` are the entry's where the operation names them before its region."""
        cursor = self.cursor
        cursor.enter()
        self.scopes.push()
        cursor.demand("{")
        for name, kind in arguments:
            self.scopes.define(name, kind, cursor.here.line)
        blocks: list[Block] = []
        if cursor.here.kind != "label":
            blocks.append(Block("", arguments, self._operations()))
        while cursor.here.kind == "label":
            blocks.append(self._labelled())
        cursor.demand("}")
        self.scopes.pop()
        cursor.leave()
        if len({block.label for block in blocks}) != len(blocks):
            raise BadIr("two blocks have one label", cursor.here.line)
        return Region(tuple(blocks))

    def _labelled(self) -> Block:
        cursor = self.cursor
        label = cursor.take().text
        arguments: list[tuple[str, Type]] = []
        if cursor.accept("("):
            while not cursor.accept(")"):
                name = cursor.demand_kind("value")
                cursor.demand(":")
                kind = cursor.type()
                self.scopes.define(name, kind, cursor.here.line)
                cursor.location()
                arguments.append((name, kind))
                if cursor.here.text != ")":
                    cursor.demand(",")
        cursor.demand(":")
        return Block(label, tuple(arguments), self._operations())

    def _operations(self) -> tuple[Operation, ...]:
        found: list[Operation] = []
        while self.cursor.here.text != "}" and self.cursor.here.kind not in ("label", "end"):
            found.append(self._operation())
        ended = bool(found) and found[-1].name in TERMINATORS
        if any(operation.name in TERMINATORS for operation in found[: len(found) - ended]):
            raise BadIr("operations follow the end of a block", self.cursor.here.line)
        return tuple(found)

    # ── operations ──

    def _operation(self) -> Operation:
        cursor = self.cursor
        names = self._results()
        token = cursor.take()
        name = token.text.strip('"')
        if token.kind not in ("word", "string") or "." not in name:
            raise BadIr(f"{token.text[:40]!r} is no operation", token.line)
        form = _FORMS.get(name)
        if form is not None:
            made = form(self, name, token.line, names)
        elif token.kind == "string":
            made = self._generic(name, token.line, names)
        else:
            made = self._plain(name, token.line, names)
        for result, kind in zip(made.results, made.result_types, strict=True):
            self.scopes.define(result, kind, token.line)
        return made

    def _results(self) -> tuple[str, ...]:
        """``%a =``, or ``%a:2 =`` which defines ``%a#0`` and ``%a#1``."""
        cursor = self.cursor
        names: list[str] = []
        while cursor.here.kind == "value":
            name = cursor.take().text
            if cursor.accept(":"):
                count = cursor.demand_kind("number")
                if not count.isdigit() or len(count) > 4:
                    raise cursor.bad("too many results")
                names += [f"{name}#{index}" for index in range(int(count))]
            else:
                names.append(name)
            if not cursor.accept(","):
                cursor.demand("=")
                break
        return tuple(names)

    def _plain(self, name: str, line: int, results: tuple[str, ...]) -> Operation:
        """Operands, words and attributes in any order, then types: the printed form of all but a few operations."""
        cursor = self.cursor
        operands: list[str] = []
        words: list[str] = []
        attributes: dict[str, object] = {}
        inside = 0
        while (inside or cursor.here.line == cursor.previous_line) and cursor.here.text not in ("->", "to", "loc", "}"):
            token = cursor.take()
            if token.kind == "value":
                operands.append(token.text)
            elif token.kind == "word" and cursor.accept("="):
                attributes[token.text] = cursor.take().text
            elif token.kind == "word" and cursor.here.text == "<":
                cursor.angles()
            elif token.kind in ("word", "string", "symbol"):
                words.append(token.text if token.kind == "word" else token.text[1:].strip('"'))
            elif token.text == "{":
                cursor.back()
                attributes.update(cursor.attributes())
            elif token.text in "([":
                inside += 1
            elif token.text in ")]":
                inside -= 1
            elif token.text == ":" and cursor.here.kind != "value":
                cursor.back()
                break
            elif token.text not in (",", ":"):
                raise BadIr(f"unexpected {token.text[:40]!r} in {name}", token.line)
        return self.finished(name, line, results, tuple(operands), tuple(words), attributes)

    def _generic(self, name: str, line: int, results: tuple[str, ...]) -> Operation:
        """``"tt.reduce"(%a) <{axis = 0 : i32}> ({ … }) : (…) -> …``."""
        cursor = self.cursor
        operands: list[str] = []
        cursor.demand("(")
        while not cursor.accept(")"):
            operands.append(cursor.demand_kind("value"))
            if cursor.here.text != ")":
                cursor.demand(",")
        attributes: dict[str, object] = {}
        if cursor.accept("<"):
            attributes.update(cursor.attributes())
            cursor.demand(">")
        regions: list[Region] = []
        if cursor.accept("("):
            while not cursor.accept(")"):
                regions.append(self.region())
                cursor.accept(",")
        if cursor.here.text == "{":
            attributes.update(cursor.attributes())
        return self.finished(name, line, results, tuple(operands), (), attributes, tuple(regions))

    def finished(
        self,
        name: str,
        line: int,
        results: tuple[str, ...],
        operands: tuple[str, ...],
        words: tuple[str, ...] = (),
        attributes: Mapping[str, object] = NOTHING,
        regions: tuple[Region, ...] = (),
    ) -> Operation:
        """Reads the types and the location, and checks the operands against how they were defined."""
        cursor = self.cursor
        before = cursor.types() if cursor.accept(":") else ()
        after = cursor.types() if cursor.accept("->") or cursor.accept("to") else ()
        said, made = types_of(name, Listed(before, after, len(operands), len(results)), line)
        self.scopes.check(operands, said, line)
        place = cursor.location()
        attributes = MappingProxyType(dict(attributes))
        return Operation(name, results, made, operands, said, line, place, words, attributes, regions)


_FORMS = {
    "arith.constant": constant,
    "scf.for": for_loop,
    "scf.if": if_else,
    "scf.while": while_loop,
    "cf.br": successors,
    "cf.cond_br": successors,
}
