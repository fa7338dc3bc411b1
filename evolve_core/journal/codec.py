"""Between the journal's JSON columns and the dataclasses. Unknown fields of a newer minor version are ignored."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from cattrs import Converter

_converter = Converter()
T = TypeVar("T")


def encode(value: object) -> str:
    """JSON of a dataclass, an enum, or a tuple of either."""
    return json.dumps(_converter.unstructure(value), separators=(",", ":"), ensure_ascii=False)


def to_plain(value: object) -> Any:
    """Dictionaries, lists and scalars of a dataclass, for ``--json`` outputs."""
    return _converter.unstructure(value)


def decode(text: str, kind: type[T]) -> T:
    """The dataclass (or tuple type) that ``encode`` wrote. Raises what cattrs raises on a damaged column."""
    return _converter.structure(json.loads(text), kind)
