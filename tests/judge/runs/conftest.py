"""Whole runs: the real runner, the real judge host, real Triton."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from evolve_core.journal.model import CandidateRecord, RunRecord
from evolve_core.journal.reader import JournalReader

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@dataclass(frozen=True)
class Ended:
    """How a ``kernel-evolve run`` ended. ``run`` is None where it never reached the journal."""

    returncode: int
    stdout: str
    stderr: str
    run: RunRecord | None
    candidates: tuple[CandidateRecord, ...]
    workspace: Path

    def printed(self) -> dict[str, object]:
        return json.loads(self.stdout)


Evolve = Callable[..., Ended]


@pytest.fixture
def evolve(tmp_path: Path) -> Evolve:
    """Evolve an example in a workspace of its own; ``source``/``task`` replace the example's files by other text."""

    def run(name: str, *options: str, source: str = "", task: str = "", environ: dict[str, str] | None = None) -> Ended:
        for suffix, text in ((".py", source), (".evolve.py", task)):
            target = tmp_path / f"{name}{suffix}"
            if text:
                target.write_text(text)
            else:
                shutil.copy(EXAMPLES / target.name, target)
        knowledge = {"KERNEL_EVOLVE_KNOWLEDGE": f"sqlite:///{tmp_path}/knowledge.sqlite"}
        python = () if "--python" in options else ("--python", sys.executable)
        command = ["run", str(tmp_path / f"{name}.py"), "--workspace", str(tmp_path), "--run-id", "r1", *python]
        ended = subprocess.run(
            [sys.executable, "-m", "evolve_core", *command, *options, "--json"],
            env={**os.environ, **knowledge, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        with closing(JournalReader(tmp_path)) as reader:
            return Ended(
                ended.returncode, ended.stdout, ended.stderr, reader.run("r1"), reader.candidates("r1"), tmp_path
            )

    return run
