"""SEARCH/REPLACE edits: found in a model's answer, and applied to a text where it is clear what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_OPEN = re.compile(r"^[ \t]*<{4,}[ \t]*(?:SEARCH|ORIGINAL|HEAD|BEFORE)?[^\n]*$", re.IGNORECASE)
_MIDDLE = re.compile(r"^[ \t]*={4,}[ \t]*$")
_CLOSE = re.compile(r"^[ \t]*>{4,}[ \t]*(?:REPLACE|UPDATED|AFTER)?[^\n]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an answer cannot be used: the end of the sentence "that answer cannot be used: …"."""

    message: str


@dataclass(frozen=True, slots=True)
class Edit:
    search: str
    replace: str


def find_edits(text: str) -> list[Edit] | Problem:
    """All edits in order, [] where there is no sign of any."""
    edits: list[Edit] = []
    search: list[str] = []
    replace: list[str] = []
    part: list[str] | None = None
    for line in text.split("\n"):
        if part is None:
            if _OPEN.match(line):
                search, replace = [], []
                part = search
        elif part is search and _MIDDLE.match(line):
            part = replace
        elif part is replace and _CLOSE.match(line):
            edits.append(Edit("\n".join(search), "\n".join(replace)))
            part = None
        else:
            part.append(line)
    if part is not None:
        missing = "=======" if part is search else ">>>>>>> REPLACE"
        return Problem(f"edit {len(edits) + 1} never ends: its {missing} line is missing")
    return edits


def apply_edits(source: str, edits: Sequence[Edit]) -> str | Problem:
    """``source`` with every edit applied, one after the other."""
    for number, edit in enumerate(edits, start=1):
        changed = _apply(source, edit)
        if isinstance(changed, Problem):
            return Problem(f"edit {number}: {changed.message}")
        source = changed
    return source


def _apply(source: str, edit: Edit) -> str | Problem:
    wanted = _without_blank_ends(edit.search.split("\n"))
    if not wanted:
        return Problem("its SEARCH part is empty; copy the lines to replace, or the line to insert beside")
    lines = source.split("\n")
    replacement = _without_blank_ends(edit.replace.split("\n"))
    for same in (_exactly, _but_for_trailing_space, _but_for_indentation):
        places = [at for at in range(len(lines) - len(wanted) + 1) if same(lines[at : at + len(wanted)], wanted)]
        if len(places) == 1:
            (at,) = places
            shifted = _reindented(replacement, wanted, lines[at : at + len(wanted)])
            return "\n".join([*lines[:at], *shifted, *lines[at + len(wanted) :]])
        if places:
            return Problem(f"its SEARCH part occurs {len(places)} times, first at {wanted[0].strip()!r}; add lines")
    if source.count(edit.search.strip()) == 1:
        # A part of a line, copied exactly.
        return source.replace(edit.search.strip(), edit.replace.strip())
    return Problem(
        f"its SEARCH part is not in the source, which has no such lines at {_first_missing(lines, wanted)!r}"
    )


def _exactly(found: Sequence[str], wanted: Sequence[str]) -> bool:
    return list(found) == list(wanted)


def _but_for_trailing_space(found: Sequence[str], wanted: Sequence[str]) -> bool:
    return [line.rstrip() for line in found] == [line.rstrip() for line in wanted]


def _but_for_indentation(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Equal lines, all shifted by the same amount: relative indentation is Python's syntax and must agree."""
    if [line.strip() for line in found] != [line.strip() for line in wanted]:
        return False
    shifts = {_indent(f) - _indent(w) for f, w in zip(found, wanted, strict=True) if w.strip()}
    return len(shifts) == 1


def _reindented(replacement: Sequence[str], wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    shift = next((_indent(f) - _indent(w) for f, w in zip(found, wanted, strict=True) if w.strip()), 0)
    return [_shifted(line, shift) for line in replacement]


def _shifted(line: str, shift: int) -> str:
    if not line.strip() or shift == 0:
        return line
    return " " * shift + line if shift > 0 else line[min(-shift, _indent(line)) :]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _first_missing(lines: Sequence[str], wanted: Sequence[str]) -> str:
    present = {line.strip() for line in lines}
    return next((w.strip() for w in wanted if w.strip() not in present), wanted[0].strip())[:120]


def _without_blank_ends(lines: list[str]) -> list[str]:
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return lines[start:end]
