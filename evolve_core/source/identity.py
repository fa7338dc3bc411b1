"""The version of a kernel: a hash that moves when, and only when, an edit could change what the kernel does.

Triton: the syntax tree is written out without comments, docstrings, layout, redundant parentheses, trailing commas
and the choice between ' and ", which formatters change. CUDA: the token stream without comments and layout.
"""

from __future__ import annotations

import hashlib
import textwrap
from functools import lru_cache

from tree_sitter import Node

from evolve_core.source.grammar import python_parser

# Nodes in which a trailing comma says nothing. Not `tuple` and `subscript`: `(x,)` and `a[i,]` are what they are by it.
_COMMA_INSENSITIVE = frozenset({"argument_list", "parameters", "list", "set", "dictionary", "lambda_parameters"})
_CLOSERS = frozenset({")", "]", "}"})
_SKIPPED = frozenset({"comment", "line_continuation", ";"})
_REMEMBERED = 1 << 15
"""More kernels than a file of 50,000 lines has: with fewer, reading such a file in order finds none of them again."""


@lru_cache(maxsize=_REMEMBERED)
def triton_version(source: bytes) -> str:
    """SHA-256 (hex) of a decorated function's normalised source; its first line may be indented."""
    dedented = textwrap.dedent(source.decode("utf-8", "surrogatepass"))
    tree = python_parser().parse(dedented.encode("utf-8", "surrogatepass"))
    pieces: list[bytes] = []
    _write(tree.root_node, pieces)
    return hashlib.sha256(b"\x1f".join(pieces)).hexdigest()


def token_version(tokens: list[bytes]) -> str:
    """SHA-256 (hex) of a token stream without comments and layout."""
    return hashlib.sha256(b"\x1f".join(tokens)).hexdigest()


def _write(root: Node, pieces: list[bytes]) -> None:
    stack: list[Node | bytes] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, bytes):
            pieces.append(node)
            continue
        kind = node.type
        if _is_docstring(node):
            continue
        if kind == "string":
            pieces.append(_string(node))
            continue
        if not node.child_count:
            pieces.append(node.text or b"")
            continue
        children = [c for c in node.children if c.type not in _SKIPPED]
        if kind == "parenthesized_expression" and len(children) == 3:
            # The tree keeps the grouping; the characters only ask for it.
            stack.append(children[1])
            continue
        if kind in _COMMA_INSENSITIVE and len(children) > 2 and _ends_with_comma(children):
            children = [*children[:-2], children[-1]]
        pieces.append(b"(" + kind.encode())
        stack.append(b")")
        stack.extend(reversed(children))


def _ends_with_comma(children: list[Node]) -> bool:
    return children[-1].type in _CLOSERS and children[-2].type == ","


def _is_docstring(node: Node) -> bool:
    """A string that stands alone as a statement does nothing, wherever it stands."""
    if node.type != "expression_statement" or node.child_count != 1:
        return False
    only = node.child(0)
    return only is not None and only.type in ("string", "concatenated_string") and not _interpolates(only)


def _interpolates(node: Node) -> bool:
    return node.type == "interpolation" or any(_interpolates(child) for child in node.named_children)


def _string(node: Node) -> bytes:
    text = node.text or b""
    if b"\\" in text or text.count(b"'") + text.count(b'"') != 2:
        return text
    return text.replace(b"'", b'"')
