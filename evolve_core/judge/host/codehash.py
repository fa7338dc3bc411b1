"""A hash of what a compiled kernel does, whatever file it was compiled from.

A cubin is an ELF file. Its debug sections name the source's path and lines, so that the same code compiled from two
folders, or below another comment, differs in its bytes.
"""

from __future__ import annotations

import hashlib

from .elf import EXECUTED, FAULTS, LOADED, sections

_ABOUT_SOURCE = (".debug", ".nv_debug", ".line", ".rel.debug", ".rela.debug", ".rel.nv_debug", ".rela.nv_debug")
_TABLES = frozenset((".shstrtab", ""))
"""Names of the sections, which are hashed with them."""


def code_hash(binary: bytes) -> str:
    """Hex SHA-256 of the sections that the device sees; of all bytes where that is no ELF file of ours to read."""
    digest = hashlib.sha256()
    try:
        for one in sections(binary):
            if one.flags & (LOADED | EXECUTED) or not (one.name in _TABLES or one.name.startswith(_ABOUT_SOURCE)):
                digest.update(f"{one.name}\0{one.size}\0{one.flags}\0{one.info}\0".encode())
                digest.update(one.content)
    except FAULTS:
        return hashlib.sha256(binary).hexdigest()
    return digest.hexdigest()
