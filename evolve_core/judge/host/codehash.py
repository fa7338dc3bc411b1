"""A hash of what a compiled kernel does, whatever file it was compiled from.

A cubin is an ELF file. Its debug sections name the source's path and lines, so that the same code compiled from two
folders, or below another comment, differs in its bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little-endian."""
_HEADER = struct.Struct("<40xQ10xHHH")
"""Offset of the section headers, and their size, count and the place of the one with their names."""
_SECTION = struct.Struct("<II8x8xQQ4xI16x")
"""Place of the name, type, offset, size and info (of code: how many registers it needs)."""
_NO_BITS = 8
_ABOUT_SOURCE = (".debug", ".nv_debug", ".line", ".rel.debug", ".rela.debug", ".rel.nv_debug", ".rela.nv_debug")
_TABLES = frozenset((".shstrtab", ""))
"""Names of the sections, which are hashed with them."""


def code_hash(binary: bytes) -> str:
    """Hex SHA-256 of the sections that the device sees; of all bytes where that is no ELF file of ours to read."""
    digest = hashlib.sha256()
    try:
        for name, size, info, content in _sections(binary):
            if name not in _TABLES and not name.startswith(_ABOUT_SOURCE):
                digest.update(f"{name}\0{size}\0{info}\0".encode() + content)
    except (struct.error, IndexError, ValueError):
        return hashlib.sha256(binary).hexdigest()
    return digest.hexdigest()


def _sections(binary: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """Name, size, info and content of each. Raises ValueError, IndexError or struct.error where that is no ELF file."""
    if not binary.startswith(_MAGIC):
        raise ValueError("no ELF file")
    start, size, count, naming = _HEADER.unpack_from(binary)
    headers = [_SECTION.unpack_from(binary, start + number * size) for number in range(count)]
    names = _content(binary, *headers[naming][1:4])
    for place, kind, offset, length, info in headers:
        name = names[place : names.index(b"\0", place)].decode("ascii")
        yield name, length, info, _content(binary, kind, offset, length)


def _content(binary: bytes, kind: int, offset: int, length: int) -> bytes:
    if kind == _NO_BITS:
        return b""
    content = binary[offset : offset + length]
    if len(content) != length:
        raise ValueError("a section ends behind the file")
    return content
