"""The sections and symbols of a cubin, which is an ELF file. Its bytes may be a stranger's.

Layouts follow the System V ABI's chapter on object files (elf.h), for 64 bits and little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

WRITABLE, LOADED, EXECUTED = 0x1, 0x2, 0x4
"""Flags of a section: it takes memory on the device."""
FAULTS = (struct.error, IndexError, ValueError, OverflowError)
"""What reading raises of bytes that are no ELF file."""
_MAGIC = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<40xQ10xHHH")
"""Offset of the section headers, and their size, count and the place of the one with their names."""
_SECTION = struct.Struct("<IIQ8xQQII16x")
"""Place of the name, type, flags, offset, size, link and info (of code: how many registers it needs)."""
_NO_BITS, _SYMBOLS, _DYNAMIC_SYMBOLS = 8, 2, 11
_SYMBOL = struct.Struct("<IBxHQQ")
"""Place of the name, binding and type, section, value and size."""
_UNDEFINED = 0
_MOST_TIMES = 2
"""So often the file's bytes may be described: those of compute capability 10.0 and newer have a second set of sections
(.nv.merc.*), some of them over the bytes of the first. A hostile one could describe its bytes once a section."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    size: int
    flags: int
    info: int
    content: memoryview
    type: int
    link: int


def sections(binary: bytes) -> Iterator[Section]:
    """Raises one of ``FAULTS`` where that is no ELF file."""
    if not binary.startswith(_MAGIC):
        raise ValueError("no ELF file")
    start, size, count, naming = _HEADER.unpack_from(binary)
    headers = [_SECTION.unpack_from(binary, start + number * size) for number in range(count)]
    if sum(length for _, kind, _, _, length, *_ in headers if kind != _NO_BITS) > _MOST_TIMES * len(binary):
        raise ValueError("its sections overlap")
    _, kind, _, offset, length, *_ = headers[naming]
    names = bytes(_content(binary, kind, offset, length))
    for place, kind, flags, offset, length, link, info in headers:
        content = _content(binary, kind, offset, length)
        yield Section(_name(names, place), length, flags, info, content, kind, link)


def undefined(binary: bytes) -> Iterator[str]:
    """Names that whoever loads the file has to know. Raises one of ``FAULTS``."""
    every = list(sections(binary))
    for one in every:
        if one.type not in (_SYMBOLS, _DYNAMIC_SYMBOLS):
            continue
        names = bytes(every[one.link].content)
        for place, _, section, _, _ in _SYMBOL.iter_unpack(one.content):
            if section == _UNDEFINED and place:
                yield _name(names, place)


def _name(names: bytes, place: int) -> str:
    return names[place : names.index(b"\0", place)].decode("ascii")


def _content(binary: bytes, kind: int, offset: int, length: int) -> memoryview:
    if kind == _NO_BITS:
        return memoryview(b"")
    content = memoryview(binary)[offset : offset + length]
    if len(content) != length:
        raise ValueError("a section ends behind the file")
    return content
