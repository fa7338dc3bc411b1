"""Just enough of Python's expressions to tell what a name stands for.

``triton.jit``, ``functools.partial(triton.jit, debug=True)`` and ``a if fast else b`` become terms; everything else
is ``OPAQUE``. Names are resolved through imports and assignments, nothing is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name, as written."""

    dotted: str


@dataclass(frozen=True, slots=True)
class Call:
    function: Term
    arguments: tuple[Term, ...]
    """The positional ones."""


@dataclass(frozen=True, slots=True)
class Item:
    """``value[index]``: a kernel with its grid, when the value is a kernel."""

    value: Term
    index: str


@dataclass(frozen=True, slots=True)
class Either:
    """``first if … else second``, ``first or second``."""

    first: Term
    second: Term


@dataclass(frozen=True, slots=True)
class Opaque:
    pass


Term = Name | Call | Item | Either | Opaque
OPAQUE = Opaque()
# Deeper nesting than this is not something a person writes around a kernel.
MAX_DEPTH = 12


def source(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def term(node: Node | None, depth: int = 0) -> Term:
    """The term of an expression node."""
    if node is None or depth > MAX_DEPTH:
        return OPAQUE
    kind = node.type
    if kind in ("identifier", "attribute"):
        name = dotted(node)
        return Name(name) if name else OPAQUE
    if kind == "parenthesized_expression":
        return term(node.named_child(0), depth + 1) if node.named_child_count == 1 else OPAQUE
    if kind == "call":
        return Call(term(node.child_by_field_name("function"), depth + 1), _positional(node, depth + 1))
    if kind == "subscript":
        return Item(term(node.child_by_field_name("value"), depth + 1), index_text(node))
    if kind == "conditional_expression" and node.named_child_count == 3:
        return Either(term(node.named_child(0), depth + 1), term(node.named_child(2), depth + 1))
    if kind == "boolean_operator":
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        return Either(term(left, depth + 1), term(right, depth + 1))
    return OPAQUE


def dotted(node: Node) -> str:
    """``a.b.c`` of an identifier or a chain of attributes; "" for anything else."""
    parts: list[str] = []
    while node.type == "attribute":
        attribute, value = node.child_by_field_name("attribute"), node.child_by_field_name("object")
        if attribute is None or value is None:
            return ""
        parts.append(source(attribute))
        node = value
    if node.type != "identifier":
        return ""
    parts.append(source(node))
    return ".".join(reversed(parts))


def index_text(subscript: Node) -> str:
    """What stands between the brackets, as written."""
    value = subscript.child_by_field_name("value")
    text = subscript.text or b""
    if value is None:
        return ""
    inner = text[value.end_byte - subscript.start_byte :].strip()
    return inner.removeprefix(b"[").removesuffix(b"]").strip().decode("utf-8", "replace")


def _positional(call: Node, depth: int) -> tuple[Term, ...]:
    arguments = call.child_by_field_name("arguments")
    if arguments is None or arguments.type != "argument_list":
        return ()
    return tuple(
        term(child, depth)
        for child in arguments.named_children
        if child.type not in ("keyword_argument", "comment", "dictionary_splat", "list_splat")
    )
