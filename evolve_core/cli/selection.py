"""From ``FILE[::KERNEL|:LINE]`` on the command line to parsed source, kernels and task."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from evolve_core.errors import UsageError
from evolve_core.source import parse as parse_module
from evolve_core.source.model import Kernel, ParsedSource, SyntaxProblem
from evolve_core.source.parse import language_of, parse
from evolve_core.task.model import Task, TaskProblem
from evolve_core.task.native import tasks_for

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(:\d+)?")
"""A place as compilers and editors write it; a column is of no use here."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A source file as it is read now, and the kernels meant: one when it was named, else all of the file."""

    path: Path
    text: str
    parsed: ParsedSource
    kernels: tuple[Kernel, ...]


def read_source(path: Path) -> str:
    """The text of a source file. Raises UsageError with the cause."""
    text = parse_module.read_source(path)
    if isinstance(text, SyntaxProblem):
        raise UsageError(text.message)
    return text


def select(argument: str, text_from: Path | None = None) -> Selection:
    """Read ``FILE``, ``FILE::KERNEL`` or ``FILE:LINE``, as ``kernels`` prints it. Raises UsageError.

    ``text_from`` holds an editor's unsaved text of FILE.
    """
    name, _, wanted = argument.partition("::")
    line: int | None = None
    placed = _PLACE.fullmatch(argument)
    # os.path: a name that no file can have is not there, and no error.
    if placed and not os.path.exists(argument):  # noqa: PTH110
        name, wanted, line = placed["file"], "", int(placed["line"])
    path = Path(name).absolute()
    language = language_of(path)
    if language is None:
        raise UsageError(f"{path.name} is neither Python (.py) nor CUDA (.cu, .cuh).")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="replace").decode()
        raise UsageError(f"The path {shown} is not UTF-8, and a journal cannot hold it; rename it.") from None
    text = read_source(text_from or path)
    parsed = parse(text, language)
    selection = Selection(path, text, parsed, parsed.kernels)
    return narrowed(selection, wanted) if line is None else _at_line(selection, line)


def _at_line(selection: Selection, line: int) -> Selection:
    """The innermost kernel on a line, counted from one. Raises UsageError where none is."""
    require_kernels(selection)
    found = [k for k in selection.parsed.kernels if k.span.start_line < line <= k.span.end_line + 1]
    if not found:
        there = ", ".join(f"{k.qualified_name} at {k.name_span.start_line + 1}" for k in selection.parsed.kernels)
        raise UsageError(f"Line {line} of {selection.path.name} is in no kernel (kernels there: {there}).")
    return replace(selection, kernels=(max(found, key=lambda k: k.span.start_byte),))


def narrowed(selection: Selection, wanted: str) -> Selection:
    """The selection with the wanted kernel alone; all of them for "". Raises UsageError where it is not there."""
    if not wanted:
        return selection
    path, parsed = selection.path, selection.parsed
    found = [k for k in parsed.kernels if wanted in (k.qualified_name, k.name)]
    if not found:
        there = ", ".join(k.qualified_name for k in parsed.kernels) or "none"
        raise UsageError(f"There is no kernel {wanted} in {path.name} (kernels there: {there}).")
    return replace(selection, kernels=tuple(found[:1]))


def require_kernels(selection: Selection) -> None:
    """Raises UsageError where a file has no kernels, with the reason where its text has one."""
    if not selection.kernels:
        why = (
            f": {selection.parsed.problems[0].message}"
            if selection.parsed.problems
            else "; a kernel is a function under @triton.jit, or a __global__ one in a CUDA file"
        )
        raise UsageError(f"There are no kernels in {selection.path.name}{why}.")


def select_task(selection: Selection) -> tuple[tuple[Kernel, ...], Task]:
    """The task of the selected kernels, and those of them that it covers. Raises UsageError saying what is missing."""
    require_kernels(selection)
    beside = tasks_for(selection.path, selection.parsed)
    problem: TaskProblem | None = None
    for kernel in selection.kernels:
        found = beside[kernel.qualified_name]
        if isinstance(found, Task):
            covered = tuple(k for k in selection.kernels if k.qualified_name in found.kernels)
            return covered or (kernel,), found
        problem = problem or found
    assert problem is not None, "there was at least one kernel"
    raise UsageError(f"{problem.file.name}:{problem.line + 1}: {problem.message}")
