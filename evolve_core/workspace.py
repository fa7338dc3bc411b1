"""Where a workspace is, and its ``.kernel-evolve/`` folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE_FOLDER = ".kernel-evolve"
_ROOT_MARKS = (STATE_FOLDER, ".git", "pyproject.toml")


def find_workspace(path: Path) -> Path:
    """Return the nearest folder above ``path`` that looks like a project, else the folder of ``path`` itself."""
    folder = path if path.is_dir() else path.parent
    folder = folder.resolve()
    return next((candidate for candidate in (folder, *folder.parents) if is_marked(candidate)), folder)


def is_marked(folder: Path) -> bool:
    """Say whether a folder looks like a project's root."""
    return any((folder / mark).exists() for mark in _ROOT_MARKS)


def state_folder(workspace: Path) -> Path:
    """Return ``workspace/.kernel-evolve``, made if it is missing. It ignores itself in git.

    Raises OSError where the workspace cannot be written.
    """
    folder = workspace / STATE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return folder


def log_file(workspace: Path, run_id: str) -> Path:
    """Where a run's runner and judge host write what they have to say."""
    folder = state_folder(workspace) / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{run_id}.log"


def teeth_folder(workspace: Path) -> Path:
    """Where what was found about tasks' tolerances is kept."""
    return state_folder(workspace) / "teeth"


@contextmanager
def spool_folder(workspace: Path, run_id: str) -> Iterator[Path]:
    """Bulk data of a run (tensors, binaries) while it goes on. What a killed runner left goes when it is resumed."""
    folder = state_folder(workspace) / "spool" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
