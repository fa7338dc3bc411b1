"""A Python file as text and as syntax tree, and edits of the text that leave every other byte alone."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Splice:
    """Replace bytes [start, end) of a file's UTF-8 text by ``text``; start == end inserts."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class Code:
    """The text of one Python file with its tree. ``line_starts`` are byte offsets; ``parents`` maps child to parent."""

    source: str
    data: bytes
    tree: ast.Module
    line_starts: tuple[int, ...]
    parents: dict[ast.AST, ast.AST] = field(repr=False)

    def start(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        return self.line_starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        if node.end_lineno is None or node.end_col_offset is None:
            raise AssertionError("the parser gives every node of a file an end")
        return self.line_starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> str:
        return self.data[self.start(node) : self.end(node)].decode()

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Splice:
        return Splice(self.start(node), self.end(node), text)

    def after(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword, text: str) -> Splice:
        return Splice(self.end(node), self.end(node), text)

    def before(self, node: ast.expr | ast.stmt, text: str) -> Splice:
        return Splice(self.start(node), self.start(node), text)

    def indent(self, statement: ast.stmt) -> str:
        line = self.data[self.line_starts[statement.lineno - 1] :][: statement.col_offset].decode()
        return line if not line.strip() else " " * statement.col_offset

    def owns_its_lines(self, statement: ast.stmt) -> bool:
        """Whether nothing else but a comment stands on the statement's lines (``a = 1; b = 2`` shares one)."""
        before = self.data[self.line_starts[statement.lineno - 1] : self.start(statement)].decode()
        after = self.data[self.end(statement) :].split(b"\n", 1)[0].decode().strip()
        return not before.strip() and (not after or after.startswith("#"))

    def lines_of(self, statement: ast.stmt) -> tuple[int, int]:
        """Byte range of the statement's whole lines, the last newline included."""
        last = statement.end_lineno or statement.lineno
        end = self.line_starts[last] if last < len(self.line_starts) else len(self.data)
        return self.line_starts[first_line(statement) - 1], end

    def insert_lines(self, statement: ast.stmt, lines: Iterable[str]) -> Splice:
        """New lines above a statement, at its indentation."""
        indent = self.indent(statement)
        start = self.lines_of(statement)[0]
        return Splice(start, start, "".join(f"{indent}{line}\n" for line in lines))

    def enclosing_function(self, node: ast.AST) -> FunctionNode | None:
        current = self.parents.get(node)
        while current is not None and not isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef):
            current = self.parents.get(current)
        return current

    def enclosing_statement(self, node: ast.AST) -> ast.stmt:
        current: ast.AST = node
        while not isinstance(current, ast.stmt):
            current = self.parents[current]
        return current


def first_line(statement: ast.stmt) -> int:
    """One-based; a decorated function begins at its first decorator."""
    decorators: list[ast.expr] = []
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        decorators = statement.decorator_list
    return min([statement.lineno, *(d.lineno for d in decorators)])


@functools.lru_cache(maxsize=16)
def parse_code(source: str) -> Code | None:
    """None where the text is no Python. Kept for the last few texts: many rules look at one. Nobody changes a tree."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    data = source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    # ``bytes.splitlines`` breaks at \n, \r and \r\n, as Python's own tokenizer does.
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return Code(source, data, tree, tuple(starts), parents)


def splice(code: Code, splices: Iterable[Splice]) -> str:
    """The text with every splice applied. Insertions at one place keep their order; overlaps are our own fault."""
    out: list[bytes] = []
    position = 0
    for edit in sorted(dict.fromkeys(splices), key=lambda s: (s.start, s.end)):
        if edit.start < position:
            raise AssertionError(f"edits overlap at byte {edit.start}: {edit.text!r}")
        out += [code.data[position : edit.start], edit.text.encode()]
        position = edit.end
    out.append(code.data[position:])
    return b"".join(out).decode()


def same(a: ast.AST, b: ast.AST) -> bool:
    """Equal as syntax, wherever each stands and however it is laid out."""
    return ast.dump(a) == ast.dump(b)


def names_in(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def assigned_names(node: ast.AST) -> frozenset[str]:
    """Names that a statement (or anything inside it) binds."""
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def targets_of(target: ast.expr) -> Iterator[ast.expr]:
    """The single targets inside a tuple target."""
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from targets_of(element)
    else:
        yield target


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of attributes on a name, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def int_literal(node: ast.AST | None) -> int | None:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None
