"""Eager, torch.compile and a library beside the user's kernel, on a real GPU and with the real compiler."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.session import TaskJudge
from evolve_core.task.model import Task, TaskKind
from tests.gpu.variants import example

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]
LIBRARY = """

def library(x):
    return torch.nn.functional.softmax(x, dim=-1)
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskJudge]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, task_text = example("softmax")
    file, task_file = tmp_path / "softmax.py", tmp_path / "softmax.evolve.py"
    file.write_text(source)
    task_file.write_text(task_text + LIBRARY)
    task = Task(task_file, file, TaskKind.ENTRY, "softmax", ("softmax_kernel",), True, True)
    with (tmp_path / "host.log").open("wb") as log:
        spool = tmp_path / "spool"
        judge = TaskJudge.open(
            task, source, python=Path(sys.executable), spool=spool, target="sm_90", workers=2, log=log
        )
        with closing(judge):
            yield judge


def test_all_three_are_timed_once_with_intervals(judge: TaskJudge) -> None:
    began = time.monotonic()
    found = judge.baselines().result(400)
    print(f"in {time.monotonic() - began:.1f} s", *(one.words for one in found.figures), sep="\n")
    assert [one.name for one in found.figures] == ["eager", "torch.compile", "library"]
    for one in found.figures:
        assert one.note == "" and one.ratio is not None and one.interval is not None
        assert one.interval.low <= one.ratio <= one.interval.high
        assert 0.2 < one.ratio < 5
        assert len(one.workloads) == 3
    eager, _, library = found.figures
    # The same operation by two names.
    assert eager.ratio is not None and library.ratio is not None
    assert abs(eager.ratio / library.ratio - 1) < 0.03
    assert judge.baselines().result(5).figures == found.figures
