"""The tasks of a file's kernels, from the task files on disk or, where one is open, from its buffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolve_core.source.parse import language_of, parse, read_source
from evolve_core.task.model import Task, TaskProblem
from evolve_core.task.native import load, source_file_of, task_files, tasks_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evolve_core.source.model import ParsedSource


@dataclass(frozen=True, slots=True)
class TaskQuestion:
    """A snapshot of one open source document to find tasks for."""

    uri: str
    path: Path
    parsed: ParsedSource


@dataclass(frozen=True, slots=True)
class TasksFound:
    """The answer, with the state of the task files it was made of: when that moves, it has to be asked again."""

    tasks: dict[str, Task | TaskProblem]
    stamps: tuple[Stamp, ...]


Stamp = tuple[str, int, int]
"""Path, modification time (ns) and size of a task file."""


def look_for_tasks(question: TaskQuestion, unsaved: Mapping[Path, str]) -> TasksFound:
    # The stamps come first: a file that changes in between is noticed at the next look.
    before = stamps(question.path)
    return TasksFound(find_tasks(question, unsaved), before)


def find_tasks(question: TaskQuestion, unsaved: Mapping[Path, str]) -> dict[str, Task | TaskProblem]:
    """Kernel's name → its task, or why it has none. ``unsaved`` holds the texts of the open task files."""
    return tasks_for(question.path, question.parsed, unsaved)


def problems_of_task_file(task_file: Path, text: str) -> tuple[TaskProblem, ...]:
    """What is wrong with a task file that is open while its source file is not."""
    source = source_file_of(task_file)
    language = language_of(source) if source is not None else None
    if source is None or language is None:
        return ()
    source_text = read_source(source)
    if not isinstance(source_text, str):
        return ()
    found = load(task_file, source, parse(source_text, language), text)
    return (found,) if isinstance(found, TaskProblem) else ()


def stamps(source_file: Path) -> tuple[Stamp, ...]:
    """The state of every task file beside a source file."""
    found = []
    for file in task_files(source_file):
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)
