"""Tokens of MLIR's text, with their lines. Linear in the text, and refused beyond a fixed size."""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import BadIr

MAX_TEXT = 16 << 20
"""Characters. The largest of 1,190 texts of kernels of Liger Kernel and flash-linear-attention has 250,000."""

# A type in angle brackets is one token; they nest three deep at most: a block pointer to a tensor of pointers.
_IN_ANGLES = r"<[^<>\n]*(?:<[^<>\n]*(?:<[^<>\n]*>[^<>\n]*)?>[^<>\n]*)?>"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r]+|//[^\n]*)
  | (?P<newline>\n)
  | (?P<type>tensor{_IN_ANGLES}|![A-Za-z_][\w.$]*(?:{_IN_ANGLES})?|<[1-9]\d*x[^<>\n]*>|<tensor<[^<>\n]*>>)
  | (?P<value>%[\w$.\-]+(?:\#\d+)?)
  | (?P<label>\^[\w$.\-]+)
  | (?P<symbol>@(?:[\w$.\-]+|"[^"\n]*"))
  | (?P<alias>\#[A-Za-z_][\w$.]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<number>0x[0-9A-Fa-f]+|-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
  | (?P<arrow>->)
  | (?P<word>[A-Za-z_][\w$.]*)
  | (?P<mark>[{{}}()\[\]<>,:=*?+\-])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """``kind`` is a group of the pattern above, or ``end`` after the last."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """Every token of ``text`` and one of kind ``end``. Raises BadIr at a character that starts none."""
    if len(text) > MAX_TEXT:
        raise BadIr(f"the text has {len(text)} characters, more than the {MAX_TEXT} that are read", 0)
    found: list[Token] = []
    line, position, end = 1, 0, len(text)
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise BadIr(f"unexpected character {text[position]!r}", line)
        kind = match.lastgroup or ""
        if kind == "newline":
            line += 1
        elif kind != "space":
            found.append(Token(kind, match.group(), line))
        position = match.end()
    found.append(Token("end", "", line))
    return found
