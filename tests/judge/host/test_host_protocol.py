"""The protocol itself: overlap, cancelling, bad requests, CUDA files, other targets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, EXAMPLES, Bench

from evolve_core.judge import client
from evolve_core.judge.client import HostDied, HostError, JudgeHost, OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.verdict import Correctness, Speed, Stage
from evolve_core.task.model import Task, TaskKind

HOST = Path(client.__file__).parent / "host" / "__main__.py"
SLOW = DOUBLE.replace("def double(x):\n", "import time\n\n\ndef double(x):\n    time.sleep(3600)\n")


class Wire:
    """The bare protocol, line by line."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(HOST)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        self._log.close()
        return code


def test_bad_requests_are_answered_and_the_host_lives(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "log")
    answers = []
    hello = {"protocol": 1, "spool": str(tmp_path / "spool"), "target": "sm_90"}
    for number, (method, params) in enumerate(
        [
            ("judge", {}),
            ("dance", {}),
            ("open", {"source": ""}),
            ("hello", {"protocol": 99}),
            ("hello", {**hello, "target": "tpu"}),
            ("calibrate", {"deadline_s": 5}),
        ]
    ):
        wire.send({"id": number, "method": method, "params": params})
        answers.append(wire.receive())
    assert [answer["error"]["kind"] for answer in answers] == ["bad-request"] * 6
    assert "protocol 1" in answers[3]["error"]["message"]
    assert wire.close() == 0


def test_a_log_that_cannot_be_written_costs_no_answer() -> None:
    """/dev/full refuses every byte, as a full disk does."""
    wire = Wire(Path("/dev/full"))
    wire.send({"id": 1, "method": "open", "params": {"task_file": 5}})
    error = wire.receive()["error"]
    assert error["kind"] == "host-failure" and "TypeError" in error["message"]
    assert wire.close() == 0


def test_cancelled_request_answers_cancelled_with_its_children_dead(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "log")
    source, task = tmp_path / "kernels.py", tmp_path / "kernels.evolve.py"
    task.write_text(DOUBLE_TASK)
    wire.send({"id": 1, "method": "hello", "params": {"protocol": 1, "spool": str(tmp_path / "s"), "target": "sm_90"}})
    assert wire.receive()["result"]["missing"] == []
    open_it = {"source_file": str(source), "source": DOUBLE, "task_file": str(task), "entry": "double"}
    wire.send({"id": 2, "method": "open", "params": open_it})
    opened = wire.receive()["result"]["task"]
    judge = {"task": opened, "candidate": {"id": "c", "source": SLOW}, "stage": "screening", "deadline_s": 600}
    wire.send({"id": 3, "method": "judge", "params": judge})
    time.sleep(1.0)
    wire.send({"id": 4, "method": "cancel", "params": {"request": 3}})
    answers = {answer["id"]: answer for answer in (wire.receive(), wire.receive())}
    assert answers[4]["result"] == {}
    assert answers[3]["error"]["kind"] == "cancelled"
    assert wire.close() == 0


def test_a_quick_request_overtakes_a_slow_one(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        opened = bench.open(DOUBLE, DOUBLE_TASK)
        waiting, _ = judged_beside(bench, opened)
        assert bench.judge(opened, DOUBLE).failure is None
        assert waiting.is_alive()
    waiting.join(30)


def test_closed_host_makes_waiting_calls_fail(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        opened = bench.open(DOUBLE, DOUBLE_TASK)
        waiting, errors = judged_beside(bench, opened)
        time.sleep(1.0)
    waiting.join(30)
    assert len(errors) == 1
    with pytest.raises(HostDied):
        bench.judge(opened, DOUBLE)


def judged_beside(bench: Bench, opened: OpenedTask) -> tuple[threading.Thread, list[BaseException]]:
    """A thread that waits for a candidate that never ends, and what ends its waiting."""
    errors: list[BaseException] = []

    def judge() -> None:
        try:
            bench.judge(opened, SLOW, 600.0)
        except (HostDied, HostError) as error:
            errors.append(error)

    waiting = threading.Thread(target=judge)
    waiting.start()
    return waiting, errors


def test_amd_target(tmp_path: Path) -> None:
    with Bench(tmp_path, target="gfx942") as bench:
        opened = bench.open(DOUBLE, DOUBLE_TASK)
        facts = opened.baseline.kernels[0]
        assert facts.target == "gfx942" and facts.registers > 0 and facts.load_bits == (32,)
        observed = bench.judge(opened, DOUBLE.replace("256", "1024"))
    assert 128 in observed.kernels[0].load_bits
    verdict = compose(opened, observed, target="gfx942", stage=Stage.SCREENING)
    assert (verdict.correctness, verdict.speed) == (Correctness.CORRECT, Speed.ESTIMATED)


def test_cuda_file_is_compiled_and_stays_unverified(bench: Bench) -> None:
    source_file, task_file = EXAMPLES / "saxpy.cu", EXAMPLES / "saxpy.evolve.py"
    task = Task(task_file, source_file, TaskKind.LAUNCHES, "", ("saxpy",), has_reference=True, has_domain=True)
    source = source_file.read_text()
    opened = bench.host.open(task, source, "no-gpu")
    assert "not run" in opened.notes[0]
    assert [(k.name, k.registers > 0) for k in opened.baseline.kernels] == [("saxpy", True)]
    assert opened.baseline.launches[0].grid == (65536, 1, 1)
    verdict = compose(opened, bench.judge(opened, source), target="sm_90", stage=Stage.SCREENING)
    assert (verdict.correctness, verdict.speed) == (Correctness.UNVERIFIED, Speed.UNMEASURED)
    assert verdict.reason == "no GPU: a CUDA kernel can be compiled here, not run"
    broken = bench.judge(opened, source.replace("int i =", "itn i ="))
    assert broken.failure is not None
    assert (broken.failure.kind, broken.failure.line) == ("compile-error", 4)
    missing = bench.judge(opened, source.replace("void saxpy", "void saxpi"))
    assert missing.failure is not None and "'saxpy'" in missing.failure.message


def test_dead_zygote_ends_the_host(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        opened = bench.open(DOUBLE, DOUBLE_TASK)
        children = Path(f"/proc/{bench.host._process.pid}/task/{bench.host._process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        with pytest.raises(HostDied):
            bench.judge(opened, SLOW, 600.0)
        for child in children:
            assert not Path(f"/proc/{child}").exists()


def test_a_host_killed_while_torch_is_imported_takes_its_zygotes_along(tmp_path: Path) -> None:
    """Stopped, so that only the kernel can end them: what they would do by themselves is not what is tested."""
    wire = Wire(tmp_path / "log")
    hello = {"protocol": 1, "spool": str(tmp_path / "s"), "target": "sm_90"}
    wire.send({"id": 1, "method": "hello", "params": hello})
    zygotes: list[int] = []
    try:
        until(lambda: len(_children(wire.process.pid)) == 2)
        zygotes = _children(wire.process.pid)
        for zygote in zygotes:
            until(lambda zygote=zygote: "libtorch" in Path(f"/proc/{zygote}/maps").read_text())
            os.kill(zygote, signal.SIGSTOP)
        wire.process.kill()
        until(lambda: not any(_lives(zygote) for zygote in zygotes))
    finally:
        wire.process.kill()
        wire.close()
        for zygote in filter(_lives, zygotes):
            os.kill(zygote, signal.SIGKILL)


def test_a_closed_stdin_ends_a_host_that_has_not_read_yet(tmp_path: Path) -> None:
    assert Wire(tmp_path / "log").close() == 0


def until(happened: Callable[[], bool], patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    """Whether it exists and is no zombie that nobody reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_spool_is_empty_after_the_host(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.judge(bench.open(DOUBLE, DOUBLE_TASK), DOUBLE)
        assert list((tmp_path / "spool").iterdir())
    assert list((tmp_path / "spool").iterdir()) == []


def test_host_restarts_after_its_death(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        first = JudgeHost.start(Path(sys.executable), tmp_path / "spool", "sm_90", 1, log)
        first._process.kill()
        first.close()
        assert not first.alive
        second = JudgeHost.start(Path(sys.executable), tmp_path / "spool", "sm_90", 1, log)
        assert second.alive and second.info.missing == ()
        second.close()
