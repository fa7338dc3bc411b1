"""Types from their text, such as ``tensor<64x32x!tt.ptr<f16>>``."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from .errors import BadIr
from .ir import Descriptor, Pointer, Scalar, Tensor, Type

MAX_ELEMENTS = 1 << 20
"""Triton's own limit on the elements of a tensor (``TRITON_MAX_TENSOR_NUMEL``)."""
MAX_RANK = 24
"""A sort views 2^20 elements as 20 dimensions of two; numpy's own limit is 32 or 64."""

SCALARS = frozenset(
    (
        "i1",
        "i8",
        "i16",
        "i32",
        "i64",
        "index",
        "f16",
        "bf16",
        "f32",
        "f64",
        "f8E4M3FN",
        "f8E5M2",
        "f8E4M3FNUZ",
        "f8E5M2FNUZ",
        "f8E4M3B11FNUZ",
    )
)
_TENSOR = re.compile(r"tensor<((?:[1-9]\d*x)*)(.+)>")
_POINTER = re.compile(r"!tt\.ptr<(.+?)(?:, *\d+)?>")
_DESCRIPTOR = re.compile(r"!tt\.tensordesc<(.+)>")


@lru_cache(maxsize=4096)
def _known(text: str) -> Type | None:
    """None for what is no type. Recursion is bounded by the three levels that a token can nest."""
    if text in SCALARS:
        return Scalar(text)
    if match := _POINTER.fullmatch(text):
        pointee = _known(match[1])
        return Pointer(pointee) if isinstance(pointee, Scalar | Pointer | Tensor) else None
    if match := _TENSOR.fullmatch(text):
        element = _known(match[2])
        shape = tuple(int(size) for size in match[1][:-1].split("x")) if match[1] else ()
        small = len(shape) <= MAX_RANK and math.prod(shape) <= MAX_ELEMENTS
        return Tensor(shape, element) if small and isinstance(element, Scalar | Pointer) else None
    if match := _DESCRIPTOR.fullmatch(text):
        inner = match[1] if match[1].startswith("tensor<") else f"tensor<{match[1]}>"
        block = _known(inner)
        return Descriptor(block) if isinstance(block, Tensor) else None
    return None


def type_named(text: str, line: int) -> Type:
    """The type that ``text`` spells. Raises BadIr for another text, and for tensors beyond Triton's own limit."""
    found = _known(text) if len(text) < 512 else None
    if found is None:
        raise BadIr(f"{text[:80]!r} is no type that a Triton kernel has", line)
    return found
