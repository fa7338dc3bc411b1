"""Between the journal's JSON columns and the dataclasses. Unknown fields of a newer minor version are ignored."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from cattrs import BaseValidationError, Converter

from evolve_core.errors import JournalError

_converter = Converter()
T = TypeVar("T")


def encode(value: object) -> str:
    """JSON of a dataclass, an enum, or a tuple of either."""
    return json.dumps(_converter.unstructure(value), separators=(",", ":"), ensure_ascii=False)


def to_plain(value: object) -> Any:
    """Dictionaries, lists and scalars of a dataclass, for ``--json`` outputs."""
    return _converter.unstructure(value)


def decode(text: str, kind: type[T]) -> T:
    """The dataclass (or tuple type) that ``encode`` wrote. Raises JournalError on a damaged column."""
    try:
        return _converter.structure(json.loads(text), kind)
    except (ValueError, KeyError, TypeError, BaseValidationError) as error:
        raise JournalError(
            f"The journal holds a record that cannot be read ({type(error).__name__} in {kind}). "
            "Move .kernel-evolve/journal.sqlite away to start a new one; earlier runs stay in it."
        ) from error
