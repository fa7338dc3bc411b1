"""What is found in a finalist's kernels without the device, on a machine that judges on one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from host_bench import DOUBLE, DOUBLE_TASK

from evolve_core.judge.host.finalists import interpretable, interpreted_findings
from evolve_core.judge.host.judging import Judge
from evolve_core.judge.host.kinds import Kind
from evolve_core.judge.host.opened import OpenTask, TaskText
from evolve_core.judge.host.pool import Cancel, Zygote


def edited(new: str) -> str:
    old = "    mask = offsets < n\n"
    assert DOUBLE.count(old) == 1
    return DOUBLE.replace(old, new)


ASSUMES = edited("    tl.assume(n >= 1 << 20)\n    mask = offsets < n\n")
STRAYS = edited("    mask = offsets <= n\n")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    zygotes = {kind: Zygote("sm_90", lambda: None, kind) for kind in (Kind.PLAIN, Kind.INTERPRETING)}
    for zygote in zygotes.values():
        zygote.wait_ready()
    with closing(Judge(zygotes, tmp_path_factory.mktemp("spool"), "sm_90", 2)) as judge:
        yield judge
    for zygote in zygotes.values():
        zygote.close()


@pytest.fixture(scope="module")
def task(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> OpenTask:
    folder = tmp_path_factory.mktemp("user")
    (folder / "kernels.py").write_text(DOUBLE)
    (folder / "kernels.evolve.py").write_text(DOUBLE_TASK)
    text = TaskText(
        str(folder / "kernels.py"),
        DOUBLE,
        str(folder / "kernels.evolve.py"),
        DOUBLE_TASK,
        "double",
        "entry",
        ("double_kernel",),
        "gpu",
    )
    task = OpenTask(name="t0", text=text, folder=judge.spool / "tasks" / "t0", timed=[])
    task.checked = interpretable(judge, task, partial(_small, judge, task), time.monotonic() + 120, Cancel())
    return task


def _small(judge: Judge, task: OpenTask) -> list[dict[str, Any]]:
    payload = {"seed": 7, "small": True}
    described = judge.trusted(
        "describe", task.text, payload, Cancel(), task.folder / f"describe-{secrets.token_hex(4)}"
    )
    found: list[dict[str, Any]] = described["checked"]
    return found


def findings(judge: Judge, task: OpenTask, source: str) -> list[dict[str, Any]]:
    return interpreted_findings(judge, task, source, time.monotonic() + 120, Cancel())


def test_nothing_is_found_in_what_is_right(judge: Judge, task: OpenTask) -> None:
    assert task.checked
    assert findings(judge, task, DOUBLE) == []
    assert findings(judge, task, DOUBLE.replace("256", "512")) == []


def test_a_false_promise_is_found_whatever_a_device_makes_of_it(judge: Judge, task: OpenTask) -> None:
    (check,) = findings(judge, task, ASSUMES)
    assert check["outcome"] == "mismatch"
    assert "assume what is not so" in check["message"]
    assert check["seed"] and check["recipe"]


def test_an_access_out_of_bounds_is_found(judge: Judge, task: OpenTask) -> None:
    (check,) = findings(judge, task, STRAYS)
    assert check["outcome"] == "out-of-bounds"


def test_what_cannot_be_interpreted_is_left_to_the_device(judge: Judge, task: OpenTask) -> None:
    assert findings(judge, task, DOUBLE.replace("n = x.numel()", "n = int(x.max()) * 0 + x.numel()")) == []


def test_a_task_that_draws_on_a_gpu_alone_has_nothing_to_interpret(judge: Judge, task: OpenTask) -> None:
    text = replace(task.text, task_text=DOUBLE_TASK.replace("device=device", "device='cuda'"))
    other = OpenTask(name="t1", text=text, folder=judge.spool / "tasks" / "t1", timed=[])
    assert interpretable(judge, other, partial(_small, judge, other), time.monotonic() + 120, Cancel()) == []
    assert other.notes == []
