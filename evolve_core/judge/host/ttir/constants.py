"""Values of ``arith.constant``."""

from __future__ import annotations

import numpy as np

from .errors import BadIr
from .formats import Array, decode, held_dtype, is_float, name_of, rounded, stored_dtype
from .ir import Literal, Operation, Type, shape_of
from .values import Value

_WORDS = {"true": 1, "false": 0}


def constant(operation: Operation) -> Value:
    """What the operation's literal says. Raises BadIr where it is none of its type."""
    kind, literal = operation.result_types[0], operation.attributes["value"]
    if not isinstance(literal, Literal):
        raise BadIr("a constant without a value", operation.text_line)
    try:
        elements = _elements(kind, literal.texts, literal.data)
        shape = (1,) * (1 + len(shape_of(kind))) if elements.size == 1 else (1, *shape_of(kind))
        return Value(kind, elements.reshape(shape))
    except (ValueError, OverflowError):
        raise BadIr(f"a constant that is no {kind}", operation.text_line) from None


def _elements(kind: Type, texts: tuple[str, ...], raw: bytes | None) -> Array:
    """Raises ValueError or OverflowError where the texts, or the bytes, are none of ``kind``."""
    stored = stored_dtype(kind)
    if raw is not None:
        return decode(kind, np.frombuffer(raw, stored.newbyteorder("<")).astype(stored))
    if is_float(kind):
        wide = [_float_element(kind, text) for text in texts]
        return np.concatenate(wide)
    whole = [_WORDS[text] if text in _WORDS else int(text, 0) for text in texts]
    mask = (1 << 64) - 1
    bits = np.array([number & mask for number in whole], np.uint64).view(np.int64)
    return (bits & 1).astype(np.bool_) if name_of(kind) == "i1" else bits.astype(held_dtype(kind))


def _float_element(kind: Type, text: str) -> Array:
    if text.startswith("0x"):
        stored = stored_dtype(kind)
        bits = int(text, 16).to_bytes(stored.itemsize, "little")
        return decode(kind, np.frombuffer(bits, stored.newbyteorder("<")).astype(stored))
    return rounded(kind, np.array([float(text)], np.float64))
