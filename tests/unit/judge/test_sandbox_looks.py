"""When a zygote looks at its children, and what it makes of /proc."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from evolve_core.judge.host import zygote as looked
from evolve_core.judge.host.descendants import Processes, Stat, read_stat
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.steps import look_pause_s
from evolve_core.judge.host.zygote import Job, Zygote

PAGE = os.sysconf("SC_PAGE_SIZE")
NOBODYS = Stat(-1, 0, 0)


def sleeper(pause_s: float | None, wall_s: float = 600.0) -> Job:
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    pipes = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
    return Job(child, child, os.pidfd_open(child), *pipes, Patience(wall_s), time.monotonic(), pause_s)


def holder(pause_s: float | None, megabytes: int) -> Job:
    """A sleeper that has written to so much memory before this returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        held = bytearray(b"x") * (megabytes << 20)
        os.write(writer, held[:1])
        time.sleep(600)
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    pipes = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
    return Job(child, child, os.pidfd_open(child), *pipes, Patience(600.0), time.monotonic(), pause_s)


@pytest.fixture
def zygote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zygote]:
    """In this process, whose other children are not its."""
    monkeypatch.setattr(looked, "kill_strays", lambda known: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        zygote = Zygote(ours)
        yield zygote
        for job in list(zygote._jobs.values()):
            zygote._kill(job, "cancelled")
        zygote._selector.close()


@pytest.mark.parametrize(
    ("stat", "found"),
    [
        (b"7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 99 4096 5 18446744073709551615", Stat(3, 10, 5 * PAGE)),
        (b"", NOBODYS),
        (b"7 (a) S", NOBODYS),
        (b"7 (a) S ? 7", NOBODYS),
        (b"7 (a) S 3 7 7 0 -1 0 0 0 0 0 1 2 3 4 20", NOBODYS),
    ],
)
def test_a_short_or_odd_entry_is_nobodys_child(stat: bytes, found: Stat) -> None:
    assert read_stat(stat) == found


def test_memory_is_what_the_largest_of_a_family_holds() -> None:
    """A child that fills a hundred megabytes, beside its parent."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        held = bytearray(b"x") * (100 << 20)
        os.write(writer, held[:1])
        time.sleep(600)
        os._exit(0)
    try:
        os.read(reader, 1)
        seen = Processes.now()
        assert seen.family_of(child).resident_bytes > 100 << 20
        assert seen.family_of(os.getpid()).resident_bytes >= seen.family_of(child).resident_bytes
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_who_holds_too_much_memory_is_ended_for_it(zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> None:
    job = sleeper(0.0)
    zygote._jobs[job.number] = job
    zygote._next_look = 0.0
    zygote._look_when_due()
    assert job.how == "finished"
    monkeypatch.setattr(looked, "most_resident_bytes", lambda: 1 << 20)
    zygote._next_look = 0.0
    zygote._look_when_due()
    assert job.how == "swollen"


def test_many_that_hold_too_much_together_are_counted_together() -> None:
    """Four children of a child, each with memory of its own; what they share with this process counts for none."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        for _ in range(4):
            if not os.fork():
                held = bytearray(b"x") * (25 << 20)
                os.write(writer, held[:1])
                time.sleep(600)
        time.sleep(600)
        os._exit(0)
    try:
        for _ in range(4):
            os.read(reader, 1)
        family = Processes.now().family_of(child)
        assert family.members == 5
        assert 100 << 20 <= family.added_bytes < 140 << 20
        assert family.added_bytes > family.resident_bytes - Processes.now().family_of(os.getpid()).resident_bytes
    finally:
        for one in [*Processes.now().children_of(child), child]:
            os.kill(one, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_where_memory_runs_short_the_largest_that_is_looked_at_goes(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large, trusted = (holder(pause_s, size) for pause_s, size in ((0.0, 1), (0.0, 40), (None, 60)))
    zygote._jobs = {job.number: job for job in (small, large, trusted)}
    monkeypatch.setattr(looked, "most_together_bytes", lambda: 90 << 20)
    for _ in range(2):
        zygote._next_look = 0.0
        zygote._look_when_due()
    assert [job.how for job in (small, large, trusted)] == ["finished", "swollen", "finished"]


def test_only_who_runs_candidates_is_looked_at_and_seldom_beside_a_measurement() -> None:
    pauses = {step: look_pause_s(step) for step in ("describe", "compare", "gpu-session", "compile", "run", "gpu")}
    assert pauses == {"describe": None, "compare": None, "gpu-session": None, "compile": 0.5, "run": 0.5, "gpu": 5.0}


def test_one_reading_of_proc_serves_all_jobs(zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[Processes] = []

    class Counted(Processes):
        @classmethod
        def now(cls) -> Processes:
            readings.append(Processes.now())
            return readings[-1]

    monkeypatch.setattr(looked, "Processes", Counted)
    zygote._jobs = {job.number: job for job in (sleeper(0.5), sleeper(0.5), sleeper(None))}
    zygote._next_look = 0.0
    zygote._look_when_due()
    zygote._look_when_due()
    assert len(readings) == 1 and len(zygote._jobs) == 3


@pytest.mark.parametrize("pause_s", [None, 0.5])
def test_a_deadline_is_not_waited_past(zygote: Zygote, pause_s: float | None) -> None:
    job = sleeper(pause_s, wall_s=0.1)
    zygote._jobs = {job.number: job}
    zygote._next_look = job.started + pause_s if pause_s else math.inf
    assert (zygote._pause_s() or 0) <= 0.1
