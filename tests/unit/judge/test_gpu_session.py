"""One planned candidate after the other in processes that stay: what they share, and when they are replaced."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gpu_rounds import Watch, double, job, recorded_once

from evolve_core.judge.host.gpu import cases, rivals
from evolve_core.judge.host.gpu.channel import Channel
from evolve_core.judge.host.gpu.job import GpuJob, Runner
from evolve_core.judge.host.gpu.phases import Phase
from evolve_core.judge.host.gpu.session import Session
from evolve_core.judge.host.warm_gpu import GpuSession, SessionLost

__all__ = ["job", "recorded_once"]


def triple(x: torch.Tensor) -> torch.Tensor:
    return x * 3


def die(x: torch.Tensor) -> torch.Tensor:
    os._exit(7)


def scribble(x: torch.Tensor) -> torch.Tensor:
    out = x * 2
    x.zero_()
    return out


ANSWERS: dict[float, torch.Tensor] = {}


def remember(x: torch.Tensor) -> torch.Tensor:
    """As a kernel could that writes where nobody looks."""
    if (key := float(x.sum())) not in ANSWERS:
        time.sleep(0.2)
        ANSWERS[key] = x * 2
    return ANSWERS[key]


KNOWN = {one.__name__: one for one in (double, triple, die, scribble, remember)}


def load(plans: Iterable[Any]) -> Runner:
    function = KNOWN[next(iter(plans))]
    return lambda inputs: [("out", function(**inputs))]


@pytest.fixture
def session(job: GpuJob) -> Iterator[Session]:
    session = Session(replace(job, load_plans=load))
    yield session
    session.close()


def judged(session: Session, name: str) -> dict[str, Any]:
    return session.judge({"a": name}, 30.0)


def is_right(seen: dict[str, Any]) -> bool:
    return seen["failure"] is None and all(check["outputs"][0]["exact"] for check in seen["checks"])


def test_candidates_are_told_apart_and_each_is_seen_whole(session: Session) -> None:
    first, wrong, second = (judged(session, name) for name in ("double", "triple", "double"))
    assert is_right(first) and is_right(second) and not is_right(wrong)
    assert len(first["checks"]) == len(wrong["checks"]) == len(second["checks"])
    assert len(second["timing"]) == 1 and len(second["timing"][0]["candidate_ns"]) == 4


def seeds(seen: dict[str, Any]) -> set[int]:
    return {check["seed"] for check in seen["checks"]}


def test_inputs_are_shared_by_as_many_candidates_as_is_said_and_then_renewed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled kernel has nowhere to keep an answer; the timed calls of one candidate still take turns."""
    monkeypatch.setattr(cases, "CANDIDATES", 2)
    monkeypatch.setattr(cases, "DRAWS", 3)
    first, second, third = (judged(session, "double") for _ in range(3))
    assert seeds(first) == seeds(second)
    assert not seeds(first) & seeds(third)
    timed = [check["seed"] for check in first["checks"] if check["timed"]]
    assert len(timed) == 4 and timed[0] == timed[3] and len(set(timed)) == 3
    for seen in (first, second, third):
        # On the first inputs a poisoned call came before the others; what another candidate gave is not its own.
        assert [check["repeated"] for check in seen["checks"] if check["timed"]] == [True, None, None, True]


def test_a_kernel_that_keeps_answers_is_fast_where_it_was_before(job: GpuJob) -> None:
    session = Session(replace(job, load_plans=load, pairs=13))
    try:
        failure = judged(session, "remember")["failure"]
    finally:
        session.close()
    assert failure["kind"] == "cheating" and "on inputs that it was timed on before" in failure["message"]


def test_our_own_last_work_is_not_waited_for(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load that the driver tells is an average; who else is there decides whose it can be."""
    others: list[int] = []

    def busy(uuid: str) -> dict[str, Any]:
        pair = session.pair
        own = [] if pair is None else [pair.bench.pid, pair.conductor.pid]
        return {"busy_percent": 90 if own or others else 0, "processes": [*others, *own], "throttle": []}

    monkeypatch.setattr(rivals, "DeviceWatch", partial(Watch, busy))
    monkeypatch.setattr(rivals, "_LOAD_PERIOD_S", 0.0)
    assert all(is_right(judged(session, "double")) for _ in range(2))
    others.append(4242)
    contended = judged(session, "double")["failure"]
    assert contended["kind"] == "contended" and "[4242]" in contended["message"]


def test_where_the_time_goes_is_told(session: Session) -> None:
    seconds = judged(session, "double")["environment"]["seconds"]
    assert set(seconds) == set(Phase)
    assert all(spent > 0.0 for spent in seconds.values())


def test_the_processes_stay_for_a_candidate_that_is_merely_wrong(session: Session) -> None:
    before = session.pair
    judged(session, "triple")
    kept = session.pair
    assert before is None and kept is not None
    judged(session, "double")
    assert session.pair is kept


@pytest.mark.parametrize("name", ["die", "scribble"])
def test_after_one_that_misbehaves_they_are_replaced(session: Session, name: str) -> None:
    assert is_right(judged(session, "double"))
    seen = judged(session, name)
    assert seen["failure"] if name == "die" else seen["checks"][0]["inputs_changed"] == ["x"]
    assert session.pair is None
    assert is_right(judged(session, "double"))


def test_nothing_is_left_when_it_is_closed(session: Session) -> None:
    judged(session, "double")
    assert session.pair is not None
    children = [session.pair.bench.pid, session.pair.conductor.pid]
    session.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def answering(asked: dict[str, Any], answers: list[dict[str, Any]], token: str | None = None) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(asked["socket"])
        channel = Channel(line)
        channel.send({"token": token or asked["token"]})
        for answer in answers:
            channel.receive(10.0)
            channel.send(answer)


def test_the_hosts_end_takes_turns_and_says_when_the_child_is_gone() -> None:
    session = GpuSession({}, lambda asked: answering(asked, [{"n": 1}, {"n": 2}]))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(session.judge({}, 5.0)["n"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert sorted(found) == [1, 2]
    with pytest.raises(SessionLost):
        session.judge({}, 5.0)


def test_only_its_own_child_may_answer() -> None:
    with pytest.raises(SessionLost, match="somebody else"):
        GpuSession({}, lambda asked: answering(asked, [], token="guessed"))


def test_a_child_that_never_comes_up_is_no_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve_core.judge.host.warm_gpu.START_PATIENCE_S", 0.2)
    began = time.monotonic()
    with pytest.raises(SessionLost, match="did not come up"):
        GpuSession({}, lambda asked: None)
    assert time.monotonic() - began < 5.0
