"""The tree-sitter grammar of Python and a parser for it, made once per process."""

from __future__ import annotations

from functools import cache

import tree_sitter
import tree_sitter_python


@cache
def python_parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
