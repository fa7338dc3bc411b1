"""Edits of whole lines: what changed between two texts, and the same change on a third.

Lines end at ``\\n`` only, as in tree-sitter and in the rest of this package; ``str.splitlines`` would also cut at
form feeds and Unicode separators, which occur inside string literals.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from evolve_core.source.model import TextEdit


def split_lines(text: str) -> list[str]:
    """Lines with their endings; joining them gives ``text`` back."""
    lines = text.split("\n")
    tail = lines.pop()
    return [line + "\n" for line in lines] + ([tail] if tail else [])


def line_edits(old: str, new: str) -> tuple[TextEdit, ...]:
    """The edits that turn ``old`` into ``new``, in file order, each as small as its lines allow."""
    before, after = split_lines(old), split_lines(new)
    head, tail = _common_ends(before, after)
    # Only the middle is compared: difflib is quadratic, and a candidate touches one kernel of a long file.
    middle_before, middle_after = before[head : len(before) - tail], after[head : len(after) - tail]
    matcher = difflib.SequenceMatcher(None, middle_before, middle_after, autojunk=False)
    return tuple(
        TextEdit(head + old_start, head + old_end, "".join(middle_after[new_start:new_end]))
        for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes()
        if tag != "equal"
    )


def apply_edits(text: str, edits: Iterable[TextEdit]) -> str:
    """``text`` with every edit applied; line numbers are those of ``text``.

    Raises ``OverlappingEdits`` where two edits share a line.
    """
    lines = split_lines(text)
    result: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda e: (e.start_line, e.end_line)):
        if edit.start_line < position:
            raise OverlappingEdits(edit)
        result += lines[position : edit.start_line]
        result.append(edit.new_text)
        position = edit.end_line
    return "".join(result + lines[position:])


class OverlappingEdits(ValueError):
    """Two edits of one text touch the same line."""

    def __init__(self, edit: TextEdit) -> None:
        super().__init__(
            f"edits overlap at line {edit.start_line + 1}; compute them against one text and apply them in one call"
        )


def rebase(base: str, candidate: str, current: str) -> tuple[TextEdit, ...] | None:
    """The change from ``base`` to ``candidate`` as edits on ``current``; None where the user changed the same lines.

    A change that the user has already made is left out. Edits that merely touch (one inserts where the other's
    range begins or ends) conflict: which of the two comes first cannot be known.
    """
    theirs = line_edits(base, candidate)
    if base == current:
        return theirs
    yours = line_edits(base, current)
    result: list[TextEdit] = []
    for edit in theirs:
        if edit in yours:
            continue
        if any(_touch(edit, mine) for mine in yours):
            return None
        shift = sum(_growth(mine) for mine in yours if mine.end_line <= edit.start_line)
        result.append(TextEdit(edit.start_line + shift, edit.end_line + shift, edit.new_text))
    return tuple(result)


def unified_diff(base: str, candidate: str, name: str, context_lines: int = 3) -> str:
    """A unified diff that ``patch`` and ``git apply`` accept; "" where nothing changed."""
    lines = difflib.unified_diff(split_lines(base), split_lines(candidate), f"a/{name}", f"b/{name}", n=context_lines)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def _common_ends(before: list[str], after: list[str]) -> tuple[int, int]:
    limit = min(len(before), len(after))
    head = 0
    while head < limit and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < limit - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


def _touch(one: TextEdit, other: TextEdit) -> bool:
    return one.start_line <= other.end_line and other.start_line <= one.end_line


def _growth(edit: TextEdit) -> int:
    return len(split_lines(edit.new_text)) - (edit.end_line - edit.start_line)
