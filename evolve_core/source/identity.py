"""The version of a kernel: a hash that moves when, and only when, an edit could change what the kernel does.

Triton: the syntax tree is written out without comments, docstrings, layout, redundant parentheses, trailing commas
and the choice between ' and ", which formatters change. CUDA: the token stream without comments and layout.
"""

from __future__ import annotations

import hashlib
import textwrap

from tree_sitter import Node

from evolve_core.source.grammar import python_parser

# Nodes in which a trailing comma says nothing. Not `tuple` and `subscript`: `(x,)` and `a[i,]` are what they are by it.
_COMMA_INSENSITIVE = frozenset({"argument_list", "parameters", "list", "set", "dictionary", "lambda_parameters"})
_CLOSERS = frozenset({")", "]", "}"})
_SKIPPED = frozenset({"comment", "line_continuation", ";"})
_REMEMBERED = 1 << 15
"""More kernels than a file of 50,000 lines has: with fewer, reading such a file in order finds none of them again."""


_versions: dict[bytes, str] = {}


def triton_version(source: bytes) -> str:
    """SHA-256 (hex) of a decorated function's normalised source; its first line may be indented."""
    # Not lru_cache: it would keep every text that a kernel ever had, of which an editor gives one a keystroke.
    key = hashlib.sha256(source).digest()
    version = _versions.get(key)
    if version is None:
        if len(_versions) >= _REMEMBERED:
            _versions.clear()
        version = _versions[key] = computed_version(source)
    return version


def computed_version(source: bytes) -> str:
    dedented = textwrap.dedent(source.decode("utf-8", "surrogatepass"))
    tree = python_parser().parse(dedented.encode("utf-8", "surrogatepass"))
    pieces: list[bytes] = []
    _write(tree.root_node, pieces)
    return hashlib.sha256(b"\x1f".join(pieces)).hexdigest()


def token_version(tokens: list[bytes]) -> str:
    """SHA-256 (hex) of a token stream without comments and layout."""
    return hashlib.sha256(b"\x1f".join(tokens)).hexdigest()


def _write(root: Node, pieces: list[bytes]) -> None:
    # Most of what reading a file of many kernels costs: nothing is asked of a node that its kind does not call for.
    stack: list[Node | None] = [root]
    while stack:
        node = stack.pop()
        if node is None:
            pieces.append(b")")
            continue
        kind = node.type
        if kind in _SKIPPED or (kind == "expression_statement" and _is_docstring(node)):
            continue
        if kind == "string":
            pieces.append(_string(node))
            continue
        children = node.children
        if not children:
            pieces.append(node.text or b"")
            continue
        if kind == "parenthesized_expression" or kind in _COMMA_INSENSITIVE:
            children = [c for c in children if c.type not in _SKIPPED]
            if kind == "parenthesized_expression" and len(children) == 3:
                # The tree keeps the grouping; the characters only ask for it.
                stack.append(children[1])
                continue
            if kind in _COMMA_INSENSITIVE and len(children) > 2 and _ends_with_comma(children):
                del children[-2]
        pieces.append(b"(" + kind.encode())
        stack.append(None)
        stack.extend(reversed(children))


def _ends_with_comma(children: list[Node]) -> bool:
    return children[-1].type in _CLOSERS and children[-2].type == ","


def _is_docstring(statement: Node) -> bool:
    """A string that stands alone as a statement does nothing, wherever it stands."""
    if statement.child_count != 1:
        return False
    only = statement.child(0)
    return only is not None and only.type in ("string", "concatenated_string") and not _interpolates(only)


def _interpolates(node: Node) -> bool:
    return node.type == "interpolation" or any(_interpolates(child) for child in node.named_children)


def _string(node: Node) -> bytes:
    text = node.text or b""
    if b"\\" in text or text.count(b"'") + text.count(b'"') != 2:
        return text
    return text.replace(b"'", b'"')
