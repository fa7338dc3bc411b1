"""The difference between two sources, as lines a template can colour."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


@dataclass(frozen=True, slots=True)
class DiffLine:
    """``kind`` is ``hunk``, ``same``, ``added`` or ``removed``; numbers are one-based, None on the other side."""

    kind: str
    text: str
    before: int | None = None
    after: int | None = None


def diff_lines(base: str, candidate: str, context: int = 3) -> tuple[DiffLine, ...]:
    """A unified diff with line numbers on both sides; empty when the two are equal."""
    raw = difflib.unified_diff(base.splitlines(), candidate.splitlines(), lineterm="", n=context)
    lines: list[DiffLine] = []
    before = after = 0
    for text in list(raw)[2:]:
        if hunk := _HUNK.match(text):
            before, after = int(hunk[1]), int(hunk[2])
            lines.append(DiffLine("hunk", f"line {before}"))
        elif text.startswith("+"):
            lines.append(DiffLine("added", text[1:], after=after))
            after += 1
        elif text.startswith("-"):
            lines.append(DiffLine("removed", text[1:], before=before))
            before += 1
        else:
            lines.append(DiffLine("same", text[1:], before, after))
            before, after = before + 1, after + 1
    return tuple(lines)
