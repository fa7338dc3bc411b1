"""Kernels of a CUDA file."""

from __future__ import annotations

from evolve_core.source.model import Language, ParsedSource
from evolve_core.source.text import Document


def read(document: Document) -> ParsedSource:
    return ParsedSource(Language.CUDA, ())
