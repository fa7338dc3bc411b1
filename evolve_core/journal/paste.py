"""Commands for a person to paste: they mean the same run and interpreter in every folder and every terminal."""

from __future__ import annotations

import shlex
from pathlib import Path


def about_run(command: str, run_id: str, workspace: Path, *options: str) -> str:
    """``kernel-evolve COMMAND ID`` with the workspace whose journal holds the run."""
    return shlex.join(["kernel-evolve", command, run_id, *options, "--workspace", str(workspace.resolve())])


def to_list(workspace: Path) -> str:
    """What lists a workspace's runs."""
    return shlex.join(["kernel-evolve", "runs", "--workspace", str(workspace.resolve())])


def to_resume(run_id: str, workspace: Path, python: str) -> str:
    """What goes on with an interrupted run, judged by the same interpreter; ``python`` is "" where none is known."""
    judged_by = ["--python", python] if python else []
    return shlex.join(["kernel-evolve", "run", "--resume", run_id, "--workspace", str(workspace.resolve()), *judged_by])
