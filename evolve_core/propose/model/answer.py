"""From a model's words to a candidate file.

Models are asked for SEARCH/REPLACE edits, and give what they give: edits with a fence around them, with the wrong
number of brackets, indented differently; or whole functions in a code fence; or the whole file. All of these are read.
What stays ambiguous is a problem in words that the model can act on, never a guess.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from evolve_core.propose.model.blocks import Problem, apply_edits, find_edits
from evolve_core.source.model import Language
from evolve_core.source.parse import parse

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_SUMMARY = re.compile(r"^\W*summary\W*:\W*(.+)$", re.IGNORECASE | re.MULTILINE)
_LONGEST_SUMMARY = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole file that parses and differs from what it was made of."""

    source: str
    summary: str


def read_answer(text: str, source: str, language: Language, kernels: tuple[str, ...]) -> Candidate | Problem:
    """The candidate that ``text`` makes of ``source``, or what is wrong with it, in words for the model."""
    changed = _changed(text.replace("\r\n", "\n"), source, language)
    if isinstance(changed, Problem):
        return changed
    problem = _objection(changed, source, language, kernels)
    return problem or Candidate(changed, _summary(text))


def _changed(text: str, source: str, language: Language) -> str | Problem:
    edits = find_edits(text)
    if isinstance(edits, Problem):
        return edits
    if edits:
        return apply_edits(source, edits)
    blocks = [match[2] for match in _FENCE.finditer(text)]
    if not blocks:
        return Problem("it contains neither SEARCH/REPLACE edits nor a code block")
    # Several blocks are usually a sketch and then the real thing.
    block = max(blocks, key=len)
    return _replaced_functions(block, source) if language is Language.TRITON else _whole_cuda_file(block, source)


def _whole_cuda_file(block: str, source: str) -> str | Problem:
    present = {k.qualified_name for k in parse(source, Language.CUDA).kernels}
    given = {k.qualified_name for k in parse(block, Language.CUDA).kernels}
    if present <= given:
        return block
    return Problem("the code block is not the whole file; use SEARCH/REPLACE edits to change a part of it")


def _replaced_functions(block: str, source: str) -> str | Problem:
    """The file with every function of ``block`` in the place of the one of its name; new ones before the first."""
    try:
        given, present = ast.parse(block), ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Problem(f"the code block does not parse ({error})")
    functions = {node.name: node for node in given.body if isinstance(node, ast.FunctionDef)}
    places = {node.name: _lines_of(node) for node in present.body if isinstance(node, ast.FunctionDef)}
    if _is_whole_file(given, places):
        return block
    known = [name for name in functions if name in places]
    if not known:
        return Problem("the code block defines none of the file's functions by its name")
    lines, block_lines = source.split("\n"), block.split("\n")
    first = min(known, key=lambda name: places[name])
    new = [name for name in functions if name not in places]
    for name in sorted(known, key=lambda n: places[n], reverse=True):
        start, end = places[name]
        texts = [*([*new] if name == first else []), name]
        pieces = ["\n".join(block_lines[slice(*_lines_of(functions[n]))]) for n in texts]
        lines[start:end] = ["\n\n\n".join(pieces)]
    return "\n".join(lines)


def _is_whole_file(given: ast.Module, places: dict[str, tuple[int, int]]) -> bool:
    has_imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in given.body)
    return has_imports and set(places) <= {n.name for n in given.body if isinstance(n, ast.FunctionDef)}


def _lines_of(node: ast.FunctionDef) -> tuple[int, int]:
    """Zero-based, half-open, decorators included."""
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return start - 1, node.end_lineno or node.lineno


def _objection(changed: str, source: str, language: Language, kernels: tuple[str, ...]) -> Problem | None:
    if changed == source:
        return Problem("it changes nothing")
    if language is Language.TRITON:
        try:
            ast.parse(changed)
        except SyntaxError as error:
            return Problem(f"the file no longer parses: {error.msg}, at: {(error.text or '').strip()[:120]!r}")
        except (ValueError, RecursionError, MemoryError) as error:
            return Problem(f"the file no longer parses: {error}")
    left = {k.qualified_name for k in parse(changed, language).kernels}
    missing = [name for name in kernels if name not in left]
    return Problem(f"the kernel {missing[0]} is gone; it must keep its name") if missing else None


def _summary(text: str) -> str:
    """The model's own line, else the first line of its prose; one line, no markup, not too long."""
    found = _SUMMARY.search(text)
    prose = (line.strip("#*- `\t") for line in _FENCE.sub("", text).split("\n"))
    line = found[1] if found else next((p for p in prose if p and not re.match(r"[<>=]{4,}", p)), "")
    line = " ".join(line.replace("`", "").replace("**", "").split())
    return line if len(line) <= _LONGEST_SUMMARY else line[: _LONGEST_SUMMARY - 1].rstrip() + "…"
