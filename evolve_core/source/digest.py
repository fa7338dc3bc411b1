"""When two whole files are the same candidate: their texts are equal but for comments and layout."""

from __future__ import annotations

from evolve_core.source.cuda_tokens import normalised
from evolve_core.source.identity import token_version, triton_version
from evolve_core.source.model import Language


def source_digest(text: str, language: Language) -> str:
    """SHA-256 (hex) of a file's normalised source."""
    data = text.encode("utf-8", "surrogatepass")
    return triton_version(data) if language is Language.TRITON else token_version(list(normalised(data)))
