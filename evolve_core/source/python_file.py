"""From the syntax tree of a Python file to its units (statements with their facts), across damaged regions.

A file is cut into units: every statement that stands at module level or in the body of a class, an ``if``, a
``try`` or a ``with`` there. What a unit says depends on its text alone, so after an edit only units with a new text
are looked at.

Where the parser had to repair the text, one missing bracket may have swallowed the functions after it. Such a file is
cut at the lines that start a definition in column zero, and each piece is parsed by itself, so that damage stays
where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
# Where a piece may begin, outside of comments and strings. A string whose end is missing is none.
_CUT = re.compile(
    rb"#[^\n]*"
    rb'|"""(?:[^\\]|\\.)*?"""'
    rb"|'''(?:[^\\]|\\.)*?'''"
    rb'|"(?:[^"\\\n]|\\.)*"'
    rb"|'(?:[^'\\\n]|\\.)*'"
    rb"|^(?P<start>@|(?:async[ \t]+)?def\b|class\b|import\b|from\b)",
    re.MULTILINE | re.DOTALL,
)
_DEFINITION = re.compile(rb"^(?:async[ \t]+)?(?:def|class)\b", re.MULTILINE)
MAX_PROBLEMS = 5

UnitKey = tuple[bytes, Scope, int]


class UnitReader:
    """Reads units and remembers the facts of every text it saw in the previous reading."""

    def __init__(self) -> None:
        self._facts: dict[UnitKey, Facts] = {}
        self._trees: dict[bytes, Tree] = {}

    def read(self, tree: Tree, document: Document) -> tuple[list[Unit], tuple[SyntaxProblem, ...]]:
        previous_facts, self._facts = self._facts, {}
        root = tree.root_node
        units: list[Unit] = []
        problems: list[SyntaxProblem] = []
        if not root.has_error:
            self._units(root, (), 0, 0, document.data, previous_facts, units)
            return units, ()
        # Kept while the text is healthy, too: typing goes back and forth between the two.
        previous_trees, self._trees = self._trees, {}
        for start, piece in _pieces(document.data):
            piece_tree = previous_trees.get(piece) or python_parser().parse(piece)
            self._trees[piece] = piece_tree
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


def _pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(start byte, text) of the pieces of a file: each begins with a definition or an import in column zero.

    They depend on the text alone. Which nodes the parser repairs depends on the edits before, so an open document cut
    along those would say something else than the same text read afresh.
    """
    start = 0
    for match in _CUT.finditer(data):
        at = match.start("start")
        if at <= start or _waits_for_definition(data, start, at):
            continue
        yield start, data[start:at]
        start = at
    yield start, data[start:]


def _waits_for_definition(data: bytes, start: int, at: int) -> bool:
    """Whether a piece is decorators only so far, so that what follows belongs to it."""
    return data.startswith(b"@", start) and _DEFINITION.search(data, start, at) is None
