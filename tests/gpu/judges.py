"""Judges of several tasks on a real GPU, each opened when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evolve_core.errors import KernelEvolveError
from evolve_core.judge.session import TaskJudge
from evolve_core.judge.verdict import Stage, Verdict
from evolve_core.task.model import Task, TaskKind

PATIENCE_S = 400.0


@dataclass(frozen=True, slots=True)
class Texts:
    """A source, its task, and whether it is CUDA; the kernel of a Triton file is called NAME_kernel."""

    source: str
    task: str
    is_cuda: bool = False


class Judges:
    """``texts`` finds the task of a name. One that was refused is not opened again."""

    def __init__(self, folder: Path, texts: Callable[[str], Texts]) -> None:
        self._folder, self._texts = folder, texts
        self._open: dict[str, TaskJudge] = {}
        self._refused: dict[str, KernelEvolveError] = {}

    def judge(self, name: str, source: str, stage: Stage) -> Verdict:
        return self._of(name).submit("c1", source, stage).result(PATIENCE_S).verdict

    def close(self) -> None:
        for judge in self._open.values():
            judge.close()

    def _of(self, name: str) -> TaskJudge:
        if name in self._refused:
            raise self._refused[name]
        if name not in self._open:
            try:
                self._open[name] = self._begin(name, self._texts(name))
            except KernelEvolveError as refused:
                self._refused[name] = refused
                raise
        return self._open[name]

    def _begin(self, name: str, texts: Texts) -> TaskJudge:
        folder = self._folder / name
        folder.mkdir()
        file, task_file = folder / f"{name}.{'cu' if texts.is_cuda else 'py'}", folder / f"{name}.evolve.py"
        file.write_text(texts.source)
        task_file.write_text(texts.task)
        kind = TaskKind.LAUNCHES if texts.is_cuda else TaskKind.ENTRY
        kernel, entry = (name, "") if texts.is_cuda else (f"{name}_kernel", name)
        has_reference, has_domain = "def reference" in texts.task, "def domain" in texts.task
        task = Task(task_file, file, kind, entry, (kernel,), has_reference, has_domain)
        with (folder / "host.log").open("wb") as log:
            python, spool = Path(sys.executable), folder / "spool"
            return TaskJudge.open(task, texts.source, python=python, spool=spool, target="sm_90", workers=2, log=log)
