"""Tokens of C++ text, without comments, and the few groupings that finding kernels needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

COMMENT = rb"//(?:[^\n\\]|\\\r?\n|\\.)*|/\*.*?(?:\*/|\Z)"
RAW_STRING = rb'R"(?P<delimiter>[^\s()\\]{0,16})\(.*?(?:\)(?P=delimiter)"|\Z)'
STRING = rb'"(?:[^"\\\n]|\\.)*(?:"|(?=\n)|\Z)'
# A digit separator (1'000) is no quote.
CHARACTER = rb"(?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)*(?:'|(?=\n)|\Z)"
DIRECTIVE = rb"^[ \t]*\#(?:[^\n\\/]|\\\r?\n|\\.|/\*.*?\*/|//[^\n]*|/)*"

_TOKEN = re.compile(
    rb"(?P<space>\s+|"
    + COMMENT
    + rb"|\\\r?\n)"
    + rb"|(?P<string>"
    + RAW_STRING
    + rb"|"
    + STRING
    + rb"|"
    + CHARACTER
    + rb")"
    + rb"|(?P<word>[A-Za-z_]\w*)"
    + rb"|(?P<number>\.?[0-9](?:'?[\w.]|(?<=[eEpP])[+-])*)"
    + rb"|(?P<mark><<<|>>>|<<=|>>=|->\*|\.\.\.|<=>|::|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||\#\#|[-+*/%&|^]=|.)",
    re.DOTALL,
)
_OPEN = {b"(": b")", b"[": b"]", b"{": b"}"}


class Token(NamedTuple):
    # A named tuple is made several times faster than a frozen dataclass, and a file has tens of thousands of these.
    text: bytes
    start: int
    end: int
    kind: str
    """word, number, string or mark"""


def tokens(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of ``data[start:end]``; positions are those of ``data``."""
    for match in _TOKEN.finditer(data, start, len(data) if end is None else end):
        kind = match.lastgroup
        if kind == "delimiter":
            kind = "string"
        if kind is not None and kind != "space":
            yield Token(match[0], match.start(), match.end(), kind)


@lru_cache(maxsize=4096)
def normalised(text: bytes) -> tuple[bytes, ...]:
    """The texts of all tokens. A preprocessor line keeps its end, which has a meaning there."""
    result: list[bytes] = []
    position = 0
    for directive in re.finditer(DIRECTIVE, text, re.MULTILINE | re.DOTALL):
        result += [t.text for t in tokens(text, position, directive.start())]
        result += [t.text for t in tokens(text, directive.start(), directive.end())] + [b"\n"]
        position = directive.end()
    result += [t.text for t in tokens(text, position)]
    return tuple(result)


def group_end(items: list[Token], opening: int) -> int:
    """Index of the bracket that closes the one at ``opening``; ``len(items)`` where none does."""
    depth = 0
    for index in range(opening, len(items)):
        text = items[index].text
        if text in (b"(", b"[", b"{"):
            depth += 1
        elif text in (b")", b"]", b"}"):
            depth -= 1
            if depth == 0:
                return index
    return len(items)


def angle_end(items: list[Token], opening: int) -> int:
    """Index of the token that closes the ``<`` at ``opening``; ``len(items)`` where none does."""
    depth = 0
    index = opening
    while index < len(items):
        text = items[index].text
        if text == b"<":
            depth += 1
        elif text in (b">", b">>", b">>>"):
            depth -= len(text)
            if depth <= 0:
                return index
        elif text in _OPEN:
            index = group_end(items, index)
        index += 1
    return len(items)


def angle_start(items: list[Token], closing: int) -> int:
    """Index of the ``<`` that the token at ``closing`` closes; -1 where there is none."""
    depth = parentheses = 0
    for index in range(closing, -1, -1):
        text = items[index].text
        if text in (b")", b"]", b"}"):
            parentheses += 1
        elif text in _OPEN:
            parentheses -= 1
            if parentheses < 0:
                return -1
        elif parentheses == 0 and text in (b">", b">>", b">>>"):
            depth += len(text)
        elif parentheses == 0 and text == b"<":
            depth -= 1
            if depth == 0:
                return index
        elif text == b";":
            return -1
    return -1


def split_commas(items: list[Token]) -> list[list[Token]]:
    """The comma-separated parts at bracket depth 0, template arguments included; empty parts are left out."""
    parts: list[list[Token]] = [[]]
    index = 0
    while index < len(items):
        token = items[index]
        last = index
        if token.text in _OPEN:
            last = min(group_end(items, index), len(items) - 1)
        elif token.text == b"<" and index and items[index - 1].kind == "word":
            # `a < b, c` is a comparison unless the angle closes before the list does.
            closing = angle_end(items, index)
            last = closing if closing < len(items) else index
        if token.text == b",":
            parts.append([])
        else:
            parts[-1] += items[index : last + 1]
        index = last + 1
    return [part for part in parts if part]
