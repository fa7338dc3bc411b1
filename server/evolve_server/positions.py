"""Columns: the client counts code units of the negotiated encoding, we count UTF-8 bytes and code points."""

from __future__ import annotations

from enum import StrEnum


class Encoding(StrEnum):
    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


def code_point_column(line: str, column: int, encoding: Encoding) -> int:
    """The client's column as an index into ``line``; columns past the end mean the end, as the protocol says."""
    if encoding is Encoding.UTF32 or line.isascii():
        return min(column, len(line))
    units = 0
    for index, character in enumerate(line):
        if units >= column:
            return index
        units += _units(character, encoding)
    return len(line)


def client_column(line: str, byte_column: int, encoding: Encoding) -> int:
    """A column in UTF-8 bytes as the client counts it."""
    if encoding is Encoding.UTF8 or line.isascii():
        return min(byte_column, len(line.encode("utf-8", "surrogatepass")) if not line.isascii() else len(line))
    head = line.encode("utf-8", "surrogatepass")[:byte_column].decode("utf-8", "ignore")
    return client_length(head, encoding)


def byte_column(line: str, code_points: int) -> int:
    """An index into ``line`` as a column in UTF-8 bytes."""
    if line.isascii():
        return min(code_points, len(line))
    return len(line[:code_points].encode("utf-8", "surrogatepass"))


def client_length(text: str, encoding: Encoding) -> int:
    """How many columns ``text`` (without line ends) takes on the client's side."""
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    return sum(_units(character, encoding) for character in text)


def _units(character: str, encoding: Encoding) -> int:
    point = ord(character)
    if encoding is Encoding.UTF16:
        return 2 if point > 0xFFFF else 1
    if encoding is Encoding.UTF32:
        return 1
    return 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
