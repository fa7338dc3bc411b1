"""What can go wrong inside the host, as typed values that become the protocol's errors."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_REPORT = "Where it was shortly before its deadline:"
"""How a child heads, in its log, the Python lines that it was at; ``outcomes`` looks for the user's among them."""

NO_ENTRY = "no-entry"
"""The kind of an error of the user's own source whose place is in the task: where the entry is named."""


def log(text: str) -> None:
    """A line in the run's log. A log that cannot be written, on a full disk say, must not cost anybody an answer."""
    with contextlib.suppress(OSError):
        os.write(2, f"judge host: {text}\n".encode(errors="replace"))


def disk_full(error: BaseException) -> str:
    """A sentence where the error is a full disk (or quota), else ""."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error.filename or 'spool folder'}): free some space and run again"
    return ""


@dataclass
class StepError(Exception):
    """A request or a step that cannot go on. ``kind`` is one of the protocol's error kinds or failure kinds.

    ``line`` counts from one, as compilers do. ``message`` says what happened and what to do next.
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "message": self.message, "file": self.file, "line": self.line}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StepError:
        return cls(
            kind=str(data.get("kind", "host-failure")),
            message=str(data.get("message", "")),
            file=data.get("file"),
            line=data.get("line"),
        )


@dataclass(frozen=True)
class Place:
    """Where in one of the user's files something has to be mended. ``line`` counts from one; None: not known."""

    file: Path
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}" if self.line else self.file.name

    def error(self, message: str, kind: str = "task-error") -> StepError:
        return StepError(kind, f"{self}: {message}", str(self.file), self.line)
