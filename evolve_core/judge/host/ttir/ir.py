"""TTIR as data: types, operations, blocks, functions. Immutable, made by the parser alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Scalar:
    """``i1 … i64``, ``index``, or a float type by its name in MLIR (``bf16``, ``f8E4M3FN``, …)."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pointer:
    """``!tt.ptr<pointee>``; the pointee is a tensor for a block pointer."""

    pointee: Scalar | Pointer | Tensor

    def __str__(self) -> str:
        return f"!tt.ptr<{self.pointee}>"


@dataclass(frozen=True, slots=True)
class Tensor:
    """``tensor<64x32xf16>``."""

    shape: tuple[int, ...]
    element: Scalar | Pointer

    def __str__(self) -> str:
        return f"tensor<{''.join(f'{size}x' for size in self.shape)}{self.element}>"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """``!tt.tensordesc<…>``: what a tensor descriptor moves at once."""

    block: Tensor

    def __str__(self) -> str:
        return f"!tt.tensordesc<{self.block}>"


Type = Scalar | Pointer | Tensor | Descriptor

TERMINATORS = frozenset(
    ("tt.return", "tt.reduce.return", "tt.scan.return", "scf.yield", "scf.condition", "cf.br", "cf.cond_br")
)
"""What ends a block."""

I1, I32, I64 = Scalar("i1"), Scalar("i32"), Scalar("i64")


def shape_of(kind: Type) -> tuple[int, ...]:
    """``()`` for whatever is not a tensor."""
    return kind.shape if isinstance(kind, Tensor) else ()


def element_of(kind: Type) -> Type:
    return kind.element if isinstance(kind, Tensor) else kind


def size_of(kind: Type) -> int:
    """Number of elements; 1 for whatever is not a tensor."""
    return math.prod(shape_of(kind))


def like(kind: Type, element: Scalar | Pointer) -> Type:
    """The same shape with other elements."""
    return Tensor(kind.shape, element) if isinstance(kind, Tensor) else element


def pointee_of(kind: Type) -> Type | None:
    """The type of what is loaded through a pointer or a tensor of pointers; None for another type."""
    element = element_of(kind)
    if not isinstance(element, Pointer):
        return None
    if isinstance(element.pointee, Tensor):
        return element.pointee
    return like(kind, element.pointee)


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the kernel's source: 1-based line and column."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant as it is written. ``texts``: one for all elements, or one each; ``data``: raw bytes, little endian."""

    texts: tuple[str, ...] = ()
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Successor:
    """Where a branch goes, and what it hands over."""

    label: str
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation. ``words``: bare words and strings before its types (``slt``, ``x``, a message).

    ``text_line`` is its line in the TTIR, ``location`` its place in the kernel's source where the text says it.
    """

    name: str
    results: tuple[str, ...]
    result_types: tuple[Type, ...]
    operands: tuple[str, ...]
    operand_types: tuple[Type, ...]
    text_line: int
    location: Location | None = None
    words: tuple[str, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    regions: tuple[Region, ...] = ()
    successors: tuple[Successor, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    label: str
    arguments: tuple[tuple[str, Type], ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Blocks in the order of the text; the first is the entry."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of a function. ``divisibility``: what the compiler was promised, 1 for nothing."""

    name: str
    type: Type
    divisibility: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    name: str
    public: bool
    arguments: tuple[Argument, ...]
    result_types: tuple[Type, ...]
    body: Region


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    functions: Mapping[str, Function]
