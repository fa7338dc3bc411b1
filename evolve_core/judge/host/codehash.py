"""A hash of what a compiled kernel does, whatever file it was compiled from.

A cubin is an ELF file. Its debug sections name the source's path and lines, so that the same code compiled from two
folders, or below another comment, differs in its bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little-endian."""
_HEADER = struct.Struct("<40xQ10xHHH")
"""Offset of the section headers, and their size, count and the place of the one with their names."""
_SECTION = struct.Struct("<IIQ8xQQ4xI16x")
"""Place of the name, type, flags, offset, size and info (of code: how many registers it needs)."""
_NO_BITS = 8
_LOADED = 0x2 | 0x4
"""Flags of what takes memory on the device, and of what is executed there."""
_ABOUT_SOURCE = (".debug", ".nv_debug", ".line", ".rel.debug", ".rela.debug", ".rel.nv_debug", ".rela.nv_debug")
_TABLES = frozenset((".shstrtab", ""))
"""Names of the sections, which are hashed with them."""


def code_hash(binary: bytes) -> str:
    """Hex SHA-256 of the sections that the device sees; of all bytes where that is no ELF file of ours to read."""
    digest = hashlib.sha256()
    try:
        for one in _sections(binary):
            if one.flags & _LOADED or not (one.name in _TABLES or one.name.startswith(_ABOUT_SOURCE)):
                digest.update(f"{one.name}\0{one.size}\0{one.flags}\0{one.info}\0".encode())
                digest.update(one.content)
    except (struct.error, IndexError, ValueError, OverflowError):
        return hashlib.sha256(binary).hexdigest()
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    size: int
    flags: int
    info: int
    content: memoryview


def _sections(binary: bytes) -> Iterator[_Section]:
    """Raises ValueError, IndexError, OverflowError or struct.error where that is no ELF file."""
    if not binary.startswith(_MAGIC):
        raise ValueError("no ELF file")
    start, size, count, naming = _HEADER.unpack_from(binary)
    headers = [_SECTION.unpack_from(binary, start + number * size) for number in range(count)]
    if sum(length for _, kind, _, _, length, _ in headers if kind != _NO_BITS) > len(binary):
        raise ValueError("its sections overlap")
    _, kind, _, offset, length, _ = headers[naming]
    names = bytes(_content(binary, kind, offset, length))
    for place, kind, flags, offset, length, info in headers:
        name = names[place : names.index(b"\0", place)].decode("ascii")
        yield _Section(name, length, flags, info, _content(binary, kind, offset, length))


def _content(binary: bytes, kind: int, offset: int, length: int) -> memoryview:
    if kind == _NO_BITS:
        return memoryview(b"")
    content = memoryview(binary)[offset : offset + length]
    if len(content) != length:
        raise ValueError("a section ends behind the file")
    return content
