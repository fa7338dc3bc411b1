"""What to say about a piece of Python that does not parse."""

from __future__ import annotations

import ast
import warnings

from tree_sitter import Node

from evolve_core.source.model import SyntaxProblem
from evolve_core.source.text import Document, byte_column

# Python's own parser is asked for its message about a piece, never about more than this: it has to stay quick.
MAX_PIECE_BYTES = 100_000


def problem_in(root: Node, piece: bytes, start_byte: int, document: Document) -> SyntaxProblem | None:
    """The first problem of a damaged piece that starts at ``start_byte`` of the document.

    None where Python itself has nothing against the piece: the grammar then lags behind the language.
    """
    if len(piece) <= MAX_PIECE_BYTES:
        error = _python_says(piece)
        if error is None:
            return None
        first_line = document.point(start_byte)[0]
        line = min(first_line + (error.lineno or 1) - 1, len(document.starts) - 1)
        text = document.line(line)
        # Python counts characters from one; tree-sitter and we count bytes from zero.
        column = len(text[: max((error.offset or 1) - 1, 0)].encode("utf-8", "surrogatepass"))
        start = document.offset(line, column)
        end = max(start, document.offset(line, byte_column(text, 1_000_000)))
        return SyntaxProblem(document.span(start, end), f"syntax error: {error.msg}")
    node = _first_damaged(root)
    start, end = start_byte + node.start_byte, start_byte + node.end_byte
    line_end = document.offset(document.point(start)[0], len(piece))
    message = f"syntax error: missing {node.type!r}" if node.is_missing else "syntax error: this does not parse"
    return SyntaxProblem(document.span(start, min(end, line_end)), message)


def _python_says(piece: bytes) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            # An invalid escape sequence is a warning about the user's text, not about ours.
            warnings.simplefilter("ignore")
            ast.parse(piece.decode("utf-8", "replace").replace("\r\n", "\n"))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "nested too deeply to parse")
    return None


def _first_damaged(root: Node) -> Node:
    node = root
    while not (node.is_error or node.is_missing):
        inner = next((c for c in node.children if c.has_error or c.is_error or c.is_missing), None)
        if inner is None:
            break
        node = inner
    return node
