"""What the user is told where a task cannot be opened as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import StepError
from .opened import OpenTask, TaskText

_PLACEHOLDERS = re.compile(r"fill in|guessed|to be filled in", re.IGNORECASE)


def blamed_on_placeholders(error: StepError, text: TaskText) -> StepError:
    """A kernel that fails on inputs which nobody has filled in yet is not what has to be mended."""
    lines = [number for number, line in enumerate(text.task_text.splitlines(), 1) if _PLACEHOLDERS.search(line)]
    if error.kind != "task-error" or not lines:
        return error
    where = f"{Path(text.task_file).name}, line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:6]))}"
    hint = f"{error.message.rstrip('. ')}. Look at the inputs first: some are still the skeleton's guesses ({where})."
    return StepError(error.kind, hint, error.file, error.line)


def nothing_to_check(task: OpenTask) -> str:
    """Where correctness can only be checked on small workloads, and there is none."""
    return (
        "no workload is small enough for Triton's interpreter and none could be shrunk: "
        f"add domain(rng) with small sizes to {Path(task.text.task_file).name}"
    )


def none_left(refused: list[str], disagreements: list[str]) -> str:
    """Where the user's own kernel ran on no workload, or agreed with the oracle on none."""
    if disagreements:
        return "your kernel disagrees with reference() " + disagreements[0]
    return refused[0]
