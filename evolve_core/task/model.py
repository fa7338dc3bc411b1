"""A task, as far as its text says. Nothing here executes the task's module; the judge host does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class TaskKind(StrEnum):
    ENTRY = "entry"
    """A Python function in the source file launches the kernels."""
    LAUNCHES = "launches"
    """CUDA: the task's own ``launches`` generator says how the kernels are launched."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is optimised: the kernels that may change, the entry that launches them, and the task's own file.

    ``entry`` is the function's name for ``TaskKind.ENTRY`` and "" otherwise.
    ``kernels`` are the qualified names of the kernels that a candidate may change, in file order.
    """

    task_file: Path
    source_file: Path
    kind: TaskKind
    entry: str
    kernels: tuple[str, ...]
    has_reference: bool
    has_domain: bool


class TaskProblemKind(StrEnum):
    MISSING = "task-missing"
    """There is no task file for this kernel."""
    SYNTAX = "task-syntax"
    """The task file does not parse."""
    NO_WORKLOADS = "task-no-workloads"
    NO_ENTRY = "task-no-entry"
    """Neither ``entry`` nor ``launches`` is defined."""
    ENTRY_NOT_FOUND = "task-entry-not-found"
    """``entry`` names a function that the source file does not define."""
    ENTRY_LAUNCHES_NOTHING = "task-entry-launches-nothing"


@dataclass(frozen=True, slots=True)
class TaskProblem:
    """Why a kernel has no usable task. ``message`` names the cause and the next step, in one sentence or two.

    ``line`` is zero-based in ``file``; where the task is missing, ``file`` is the source file and ``line`` the
    kernel's.
    """

    kind: TaskProblemKind
    message: str
    file: Path
    line: int = 0
