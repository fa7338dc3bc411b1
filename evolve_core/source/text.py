"""A document as UTF-8 bytes with an index of its lines, and the three ways people count columns."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from evolve_core.source.model import Span


def byte_column(line: str, utf16_column: int) -> int:
    """The UTF-8 byte column of a UTF-16 column in ``line``; clamped to the line's length.

    A column inside a surrogate pair is taken as the start of its character.
    """
    if line.isascii():
        return min(max(utf16_column, 0), len(line))
    units = size = 0
    for character in line:
        units += 2 if ord(character) > 0xFFFF else 1
        if units > utf16_column:
            break
        size += len(character.encode("utf-8", "surrogatepass"))
    return size


def utf16_column(line: str, byte_column: int) -> int:
    """The UTF-16 column of a UTF-8 byte column in ``line``; clamped to the line's length."""
    if line.isascii():
        return min(max(byte_column, 0), len(line))
    units = size = 0
    for character in line:
        size += len(character.encode("utf-8", "surrogatepass"))
        if size > byte_column:
            break
        units += 2 if ord(character) > 0xFFFF else 1
    return units


@dataclass(frozen=True, slots=True)
class Replacement:
    """One edit in the terms tree-sitter wants: bytes and (line, byte column) points before and after."""

    start_byte: int
    old_end_byte: int
    new_end_byte: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


class Document:
    """Text that is edited in place. Lines end at ``\\n``; a ``\\r`` before it belongs to the line."""

    __slots__ = ("data", "starts")

    def __init__(self, text: str) -> None:
        self.data = encode(text)
        self.starts = line_starts(self.data)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "surrogatepass")

    def line(self, number: int) -> str:
        """The text of a line without its ``\\n``; "" past the end."""
        if not 0 <= number < len(self.starts):
            return ""
        start, end = self._bounds(number)
        return self.data[start:end].decode("utf-8", "surrogatepass")

    def point(self, byte: int) -> tuple[int, int]:
        """(line, byte column) of a byte offset."""
        line = bisect_right(self.starts, byte) - 1
        return line, byte - self.starts[line]

    def span(self, start_byte: int, end_byte: int) -> Span:
        return Span(start_byte, end_byte, *self.point(start_byte), *self.point(end_byte))

    def offset(self, line: int, column: int) -> int:
        """Byte offset of a position. Positions outside the text are moved to its nearest edge."""
        if line < 0:
            return 0
        if line >= len(self.starts):
            return len(self.data)
        start, end = self._bounds(line)
        return min(start + max(column, 0), end)

    def replace(self, start_line: int, start_column: int, end_line: int, end_column: int, new_text: str) -> Replacement:
        """Replaces a range of (line, byte column) positions and keeps the line index in step."""
        start = self.offset(start_line, start_column)
        old_end = max(start, self.offset(end_line, end_column))
        start_point, old_end_point = self.point(start), self.point(old_end)
        new = encode(new_text)
        self.data = self.data[:start] + new + self.data[old_end:]

        first, last = start_point[0], old_end_point[0]
        delta = len(new) - (old_end - start)
        inserted = [start + at for at in line_starts(new)[1:]]
        tail = self.starts[last + 1 :]
        self.starts = self.starts[: first + 1] + inserted + ([at + delta for at in tail] if delta else tail)
        new_end = start + len(new)
        return Replacement(start, old_end, new_end, start_point, old_end_point, self.point(new_end))

    def _bounds(self, line: int) -> tuple[int, int]:
        start = self.starts[line]
        end = self.starts[line + 1] - 1 if line + 1 < len(self.starts) else len(self.data)
        return start, end


def encode(text: str) -> bytes:
    # Editors may hand over lone surrogates out of JSON escapes; they must not take the server down.
    return text.encode("utf-8", "surrogatepass")


def line_starts(data: bytes) -> list[int]:
    starts = [0]
    at = data.find(b"\n")
    while at >= 0:
        starts.append(at + 1)
        at = data.find(b"\n", at + 1)
    return starts
