"""Whether the tolerance of a task tells right from wrong, for ``kernel-evolve task check --teeth``."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve_core.cli.defaults import TARGET
from evolve_core.interpreter import resolve
from evolve_core.judge.session import JudgeRefused, TaskJudge
from evolve_core.judge.teeth import Teeth, warnings
from evolve_core.judge.teeth_record import as_record
from evolve_core.task.model import Task
from evolve_core.workspace import find_workspace, teeth_folder


@dataclass(frozen=True, slots=True)
class Tried:
    """``refused`` says why the judge will not work on the task; "" where it will, and ``teeth`` on what grounds."""

    teeth: Teeth
    refused: str = ""

    def as_plain(self) -> dict[str, Any]:
        return {**as_record(self.teeth), "refused": self.refused}

    def in_words(self) -> str:
        """A line for each mutant, and the warnings; or the refusal."""
        if self.refused:
            return self.refused
        lines = [f"  {f'{one.mutant} {one.output}'.strip():28} {one.state:9} {one.reason}" for one in self.teeth.teeth]
        if self.teeth.stand_in:
            lines.append("  (your kernel does not run here: reference() in fp32 was taken for it)")
        return "\n".join([*lines, *(f"  warning: {warning}" for warning in warnings(self.teeth))])


def try_tolerance(task: Task, source: str, python: str) -> Tried:
    """Open the task in a judge host and ask nothing more of it."""
    root = find_workspace(task.source_file)
    resolution = resolve(root, os.environ, explicit=python, beside=task.source_file.parent)
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-") as spool, (Path(spool) / "host.log").open("ab") as log:
        try:
            judge = TaskJudge.open(
                task,
                source,
                python=resolution.python,
                spool=Path(spool),
                target=TARGET,
                workers=2,
                log=log,
                teeth=teeth_folder(root),
            )
        except JudgeRefused as refusal:
            return Tried(Teeth(), str(refusal))
        with closing(judge):
            return Tried(judge.teeth)
