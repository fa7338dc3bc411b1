"""From the syntax tree of a Python file to its units (statements with their facts), across damaged regions.

A file is cut into units: every statement that stands at module level or in the body of a class, an ``if``, a
``try`` or a ``with`` there. What a unit says depends on its text alone, so after an edit only units with a new text
are looked at.

Where the parser had to repair the text, one missing bracket may have swallowed the functions after it. Such a region
is cut at the lines that start a statement in column zero, and each piece is parsed by itself, so that damage stays
where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, Tree

from evolve_core.source.facts import Facts, Scope, collect
from evolve_core.source.grammar import python_parser
from evolve_core.source.model import SyntaxProblem
from evolve_core.source.names import Unit
from evolve_core.source.python_problems import problem_in
from evolve_core.source.text import Document

_CONTAINERS = frozenset(
    {
        "module", "block", "class_definition", "if_statement", "elif_clause", "else_clause", "try_statement",
        "except_clause", "except_group_clause", "finally_clause", "with_statement",
    }
)  # fmt: skip
_STATEMENT_START = re.compile(rb"^(?=[@\w])", re.MULTILINE)
_DEFINITION = re.compile(rb"^(?:async[ \t]+)?(?:def|class)\b", re.MULTILINE)
MAX_PROBLEMS = 5

UnitKey = tuple[bytes, Scope, int]


@dataclass(frozen=True, slots=True)
class Region:
    """A damaged piece of the file, parsed by itself."""

    start_byte: int
    start_line: int
    tree: Tree
    text: bytes


class UnitReader:
    """Reads units and remembers the facts of every text it saw in the previous reading."""

    def __init__(self) -> None:
        self._facts: dict[UnitKey, Facts] = {}
        self._regions: dict[bytes, Tree] = {}

    def read(self, tree: Tree, document: Document) -> tuple[list[Unit], tuple[SyntaxProblem, ...]]:
        previous_facts, self._facts = self._facts, {}
        previous_regions, self._regions = self._regions, {}
        root = tree.root_node
        units: list[Unit] = []
        problems: list[SyntaxProblem] = []
        if not root.has_error:
            self._units(root, (), 0, 0, document.data, previous_facts, units)
            return units, ()
        for item in _healthy_and_damaged(root):
            if isinstance(item, Node):
                self._units(item, (), 0, 0, document.data, previous_facts, units)
                continue
            for start, piece in _pieces(document, *item):
                piece_tree = previous_regions.get(piece) or python_parser().parse(piece)
                self._regions[piece] = piece_tree
                line = document.point(start)[0]
                self._units(piece_tree.root_node, (), start, line, piece, previous_facts, units)
                if piece_tree.root_node.has_error and len(problems) < MAX_PROBLEMS:
                    problem = problem_in(piece_tree.root_node, piece, start, document)
                    problems += [problem] if problem is not None else []
        return units, tuple(problems)

    def _units(
        self,
        root: Node,
        root_scope: Scope,
        byte: int,
        line: int,
        data: bytes,
        previous: dict[UnitKey, Facts],
        units: list[Unit],
    ) -> None:
        """Appends the units under ``root``, whose own positions start at ``byte`` and ``line`` of the file."""
        stack = [(root, root_scope)]
        while stack:
            node, scope = stack.pop()
            kind = node.type
            if kind in _CONTAINERS:
                if kind == "class_definition":
                    name = node.child_by_field_name("name")
                    scope = (*scope, (name.text or b"").decode("utf-8", "replace") if name else "")
                stack.extend((child, scope) for child in reversed(node.named_children))
                continue
            if kind == "comment":
                continue
            text = data[node.start_byte : node.end_byte]
            key = (text, scope, node.start_point[1])
            if node.has_error:
                # The same text may have been repaired in another way before; damaged units are never reused.
                facts = collect(node, scope)
            else:
                known = self._facts.get(key) or previous.get(key)
                facts = known if known is not None else collect(node, scope)
                self._facts[key] = facts
            units.append(Unit(facts, scope, byte + node.start_byte, line + node.start_point[0], text))


def _healthy_and_damaged(root: Node) -> Iterator[Node | tuple[int, int]]:
    """The statements of a module in order; runs of damaged ones as (start byte, end byte)."""
    run: tuple[int, int] | None = None
    for child in root.children:
        if child.has_error or child.is_error or child.is_missing:
            run = (run[0] if run else child.start_byte, child.end_byte)
            continue
        if run is not None:
            yield run
            run = None
        yield child
    if run is not None:
        yield run


def _pieces(document: Document, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(start byte, text) of the pieces of a damaged region, extended to whole lines."""
    start = document.starts[document.point(start)[0]]
    last_line = document.point(end)[0]
    if last_line + 1 < len(document.starts) and end > document.starts[last_line]:
        end = document.starts[last_line + 1]
    region = document.data[start:end]
    cuts = [match.start() for match in _STATEMENT_START.finditer(region)]
    if not cuts or cuts[0] > 0:
        cuts.insert(0, 0)
    piece_start = cuts[0]
    for cut, following in zip(cuts, [*cuts[1:], len(region)], strict=True):
        text = region[piece_start:following]
        if _waits_for_definition(region[piece_start:cut] + region[cut:following]) and following < len(region):
            continue
        yield start + piece_start, text
        piece_start = following


def _waits_for_definition(text: bytes) -> bool:
    """Whether a piece is decorators only so far, so that what follows belongs to it."""
    return text.startswith(b"@") and _DEFINITION.search(text) is None
