"""Children that run and compile candidates, and situations for proposers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from corpus_cases import CASES  # noqa: E402

from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict  # noqa: E402
from evolve_core.propose.proposal import Judged, Proposal, Situation  # noqa: E402
from evolve_core.task.model import Task, TaskKind  # noqa: E402

Results = dict[str, dict[str, Any]]


def _child(script: str, jobs: list[dict[str, str]]) -> Results:
    paths = os.pathsep.join([str(HERE), str(HERE.parents[2])])
    done = subprocess.run(
        [sys.executable, str(HERE / script)],
        input=json.dumps(jobs),
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: Results = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture(scope="session")
def interpret() -> Callable[[list[dict[str, str]]], Results]:
    """Jobs for numeric_child.py, all in one child."""
    return lambda jobs: _child("numeric_child.py", jobs)


@pytest.fixture(scope="session")
def compile_all() -> Callable[[list[dict[str, str]]], Results]:
    """Jobs for compile_child.py, all in one child."""
    return lambda jobs: _child("compile_child.py", jobs)


def judged(proposal: Proposal, candidate_id: str, ratio: float) -> Judged:
    verdict = Verdict(Correctness.CORRECT, Speed.ESTIMATED, Trust.HOST_CODE, Stage.SCREENING, "predicted", ratio=ratio)
    return Judged(candidate_id, proposal, verdict)


@pytest.fixture
def situation() -> Callable[..., Situation]:
    """The situation at the start of a run on one of the cases; ``elite`` goes in front of the user's own source."""

    def make(name: str, elite: tuple[Judged, ...] = ()) -> Situation:
        case = CASES[name]
        task = Task(case.file, case.file, TaskKind.ENTRY, case.entry, (case.kernel,), True, False)
        own = judged(Proposal(case.source, "", ()), "", 1.0)
        return Situation(task, case.source, "sm_90", (*elite, own))

    return make
