"""Who is blamed for a failure, and what is told of it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_held_against import sent
from test_launched import SEEN_IN_TRACE, opened, seen

from evolve_core.cli.judge import _exit_code
from evolve_core.judge.client import HostDied, HostError, OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.evidence import read_evidence, verdict_of
from evolve_core.judge.observation import Check, Outcome, SeenFailure, Workload
from evolve_core.judge.session import JudgeFailed, JudgeRefused, TaskJudge, _HostStart, _Sitting
from evolve_core.judge.teeth import Teeth
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Trust, Verdict
from evolve_core.judge.yardstick import NOTHING_KNOWN
from evolve_core.task.model import TaskKind


def verdict(failure: SeenFailure, task: OpenedTask | None = None, source: str = "") -> Verdict:
    return compose(task or opened(), seen(failure=failure), target="sm_90", stage=Stage.SCREENING, source=source)


@pytest.mark.parametrize("kind", ["host-failure", "too-large"])
def test_what_the_candidate_is_not_to_blame_for_is_no_failure_of_its(kind: str) -> None:
    found = verdict(SeenFailure(kind, "the disk is full", workload="w0", seed=5))
    assert (found.correctness, found.failure) == (Correctness.UNVERIFIED, None)
    assert found.reason == "not judged: the disk is full"


def test_a_crash_names_workload_and_seed() -> None:
    found = verdict(SeenFailure("crash", "it crashed with SIGSEGV", workload="w0", seed=5))
    assert (found.failure, found.reason) == (Failure.CRASH, "it crashed with SIGSEGV on x[64] (seed 5)")
    assert verdict(SeenFailure("compile-error", "line 3: no")).reason == "line 3: no"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.OUT_OF_BOUNDS, "out of bounds on x[64] (seed 7): an invalid read in k"),
        (Outcome.MISMATCH, "wrong on x[64] (seed 7): an invalid read in k"),
    ],
)
def test_what_the_sanitizer_finds_is_a_wrong_kernel(outcome: Outcome, reason: str) -> None:
    """Also where every result that was compared is right."""
    found = Check("w0", 7, "nan", outcome, "an invalid read in k", (), (), ())
    observed = seen(**SEEN_IN_TRACE, checks=(*seen().checks, found))
    judged = compose(opened(), observed, target="sm_90", stage=Stage.CONFIRMATION)
    assert (judged.correctness, judged.reason, judged.is_winner) == (Correctness.WRONG, reason, False)


@pytest.mark.parametrize(
    ("correctness", "failure", "code"),
    [
        (Correctness.CORRECT, None, 0),
        (Correctness.CORRECT, Failure.UNSTABLE, 0),
        (Correctness.WRONG, None, 1),
        (Correctness.WRONG, Failure.CHEATING, 1),
        (Correctness.UNVERIFIED, Failure.CRASH, 1),
        (Correctness.UNVERIFIED, Failure.CONTENDED, 2),
        (Correctness.UNVERIFIED, None, 2),
    ],
)
def test_exit_codes(correctness: Correctness, failure: Failure | None, code: int) -> None:
    found = Verdict(correctness, Speed.UNMEASURED, Trust.KERNEL_ONLY, Stage.CONFIRMATION, "why", failure=failure)
    assert _exit_code(found) == code


class Host:
    """Fails in its own way whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def judge(self, *_: object) -> None:
        raise self._error

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        (HostError("host-failure", "a child is gone"), None, "not judged: a child is gone"),
        (HostDied("gone"), Failure.CRASH, "the judge host died twice while it judged this candidate"),
    ],
    ids=["fault", "death"],
)
def test_what_the_host_could_not_judge_has_evidence_like_anything_else(
    tmp_path: Path, error: Exception, failure: Failure | None, reason: str
) -> None:
    task = replace(opened(), baseline=sent(opened().baseline))
    sitting = _Sitting(Host(error), task, NOTHING_KNOWN, Teeth())  # type: ignore[arg-type]
    start: Any = SimpleNamespace(workers=1, spool=tmp_path, target="sm_90", begin=lambda *_: sitting)
    judge = TaskJudge(start, task.task, "", sitting)
    judgement = judge.submit("c1", "source", Stage.SCREENING).result(60)
    judge.close()
    assert (judgement.verdict.failure, judgement.verdict.reason) == (failure, reason)
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(judgement.evidence))
    assert verdict_of(read_evidence(file)) == judgement.verdict


def test_a_gpu_that_somebody_else_has_only_interrupts_a_run(tmp_path: Path) -> None:
    said = "your own kernel could not be timed: another process computes on this GPU (pids [7]); end it and run again"
    start = _HostStart(Path(sys.executable), tmp_path, "sm_90", 1, io.BytesIO(), None)
    busy = start._refusal(HostError("contended", said))
    assert (type(busy), str(busy)) == (JudgeFailed, f"{said}. Then try again.")
    assert type(start._refusal(HostError("task-error", "no"))) is JudgeRefused


TASK = """\
import torch
from scale import FACTOR


def workloads():
    yield lambda gen, device, n=5: {"x": torch.rand(n, generator=gen) + 1}


def reference(x):
    return x * FACTOR
"""
SOURCE = "FACTOR = 2.0\n\n\ndef scale(x):\n    return x * FACTOR\n"


@pytest.fixture
def scale(tmp_path: Path) -> OpenedTask:
    """A task whose files have changed since it was opened."""
    for name, text in (("scale.evolve.py", TASK + "\n\nraise ValueError\n"), ("scale.py", SOURCE)):
        (tmp_path / name).write_text(text)
    plain = opened()
    task = replace(plain.task, task_file=tmp_path / "scale.evolve.py", source_file=tmp_path / "scale.py", entry="scale")
    workload = Workload("w0", "x[5]", 1.0, "listed", "both", (), {"origin": "listed", "index": 0})
    return replace(plain, task=task, task_text=TASK, source=SOURCE, mode="no-gpu", workloads=(workload,))


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "elsewhere" / "shows.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(script)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=file.parent, env=environment)


def test_the_script_of_a_failure_runs_alone(scale: OpenedTask, tmp_path: Path) -> None:
    failure = SeenFailure("crash", "it raised", workload="w0", seed=5)
    raises = SOURCE.replace("    return x * FACTOR", "    raise OverflowError(len(x))")
    shown = run(verdict(failure, scale, raises).reproduce, tmp_path)
    assert shown.stderr.endswith("OverflowError: 5\n"), shown.stderr
    wrong = run(verdict(failure, scale, SOURCE.replace("x * FACTOR", "x + FACTOR")).reproduce, tmp_path)
    assert re.search(r"candidate max error 0\.\d+, your kernel 0, worst at", wrong.stdout), wrong.stderr


def test_no_script_where_there_is_nothing_to_draw(scale: OpenedTask) -> None:
    failure = SeenFailure("crash", "it raised", workload="w0", seed=5)
    cuda = replace(scale, task=replace(scale.task, kind=TaskKind.LAUNCHES))
    script = verdict(failure, cuda, SOURCE).reproduce
    compile(script, "script.py", "exec")
    assert "launched(SOURCE_TEXT), launched(CANDIDATE)" in script and "entry_of" not in script
    assert verdict(replace(failure, workload=None), scale, SOURCE).reproduce == ""
    assert verdict(replace(failure, kind="host-failure"), scale, SOURCE).reproduce == ""
