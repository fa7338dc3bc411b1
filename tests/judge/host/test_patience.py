"""A kernel in Triton's interpreter is ended by what it computes, not by how long a busy machine lets it wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.judge.host.complaints import own_failed
from evolve_core.judge.host.kinds import Kind
from evolve_core.judge.host.opened import TaskText
from evolve_core.judge.host.outcomes import run_failure
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import Cancel, StepResult, Zygote

COMPUTING_S = 2.0
COMPUTING = Patience(600.0, COMPUTING_S)
STARTING = Patience(60.0, 60.0)
"""To fork a hundred times, of a process that holds torch, is computing too."""
SPIN = "while True:\n    pass\n"


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote("sm_90", lambda: None, Kind.INTERPRETING)
    assert not zygote.wait_ready()["missing"]
    yield zygote
    zygote.close()


def ran(zygote: Zygote, folder: Path, source: str, patience: Patience, *, confined: bool = True) -> StepResult:
    """How a child ended that imports ``source``; where that ends, the entry is missing."""
    payload = {"source": source, "source_file": str(folder / "kernels.py"), "entry": "missing", "target": "sm_90"}
    limits = {"cpu_s": 120, "confined": confined}
    return zygote.run("run", payload, folder / "child", patience, limits, Cancel())


def test_waiting_is_not_computing(zygote: Zygote, tmp_path: Path) -> None:
    result = ran(zygote, tmp_path, f"import time\ntime.sleep({COMPUTING_S + 1})\n", COMPUTING)
    assert result.how == "finished" and result.error is not None and "missing" in result.error.message
    assert 0 < result.processor_s < COMPUTING_S


def test_computing_ends_it_at_its_line(zygote: Zygote, tmp_path: Path) -> None:
    failure = run_failure(ran(zygote, tmp_path, f"# endless\n{SPIN}", COMPUTING))
    assert failure is not None and failure["kind"] == "timeout" and failure["line"] in (2, 3)
    assert failure["message"].endswith("did not finish in 2.0 s of processor time in Triton's interpreter")


def test_what_it_started_computes_for_it(zygote: Zygote, tmp_path: Path) -> None:
    result = ran(zygote, tmp_path, f"import os\nif os.fork():\n    os.wait()\n{SPIN}", COMPUTING)
    assert result.how == "exhausted"


ORPHANS = """import os, time
for _ in range({number}):
    middle = os.fork()
    if not middle:
        if not os.fork():
            os.setsid()
            {what}
        os._exit(0)
    os.waitpid(middle, 0)
time.sleep(3600)
"""


@pytest.mark.parametrize("confined", [True, False])
def test_orphans_without_a_namespace_are_counted_too(zygote: Zygote, tmp_path: Path, confined: bool) -> None:
    source = ORPHANS.format(number=140, what="time.sleep(3600)")
    assert ran(zygote, tmp_path, source, STARTING, confined=confined).how == "swarming"


@pytest.mark.parametrize("confined", [True, False])
def test_orphans_compute_for_who_started_them(zygote: Zygote, tmp_path: Path, confined: bool) -> None:
    source = ORPHANS.format(number=1, what="while True: pass")
    assert ran(zygote, tmp_path, source, COMPUTING, confined=confined).how == "exhausted"


CHAIN = """import os
trace = os.open({trace!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
if not os.fork():
    for _ in range(100_000):
        os.write(trace, b"x")
        if os.fork():
            os._exit(0)
        os.setsid()
    os._exit(0)
while os.fstat(trace).st_size < 10:
    pass
"""


def test_a_chain_of_forks_ends_with_its_child(zygote: Zygote, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    result = ran(zygote, tmp_path, CHAIN.format(trace=str(trace)), STARTING, confined=False)
    assert result.how == "finished" and result.error is not None
    size = trace.stat().st_size
    time.sleep(1.0)
    assert trace.stat().st_size == size


def test_sleep_ends_by_the_clock_at_its_line(zygote: Zygote, tmp_path: Path) -> None:
    failure = run_failure(
        ran(zygote, tmp_path, "import time\ntime.sleep(3600)\n", Patience(2 * COMPUTING_S, COMPUTING_S))
    )
    assert failure is not None and failure["kind"] == "timeout" and failure["line"] == 2
    assert failure["message"].endswith("did not finish in 4.0 s in Triton's interpreter")


def test_the_clock_leaves_room_for_others() -> None:
    assert Patience.computing(30.0) == Patience(120.0, 30.0)
    assert Patience.computing(30.0, wall_left_s=50.0) == Patience(50.0, 30.0)
    assert Patience.computing(30.0).backstop_s == 62 and Patience(10.0).backstop_s == 22


def test_the_users_own_kernel_ends_before_who_waits_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve_core.judge.host.patience.time.monotonic", lambda: 1000.0)
    assert Patience.of_own(1600.0) == Patience(120.0, 30.0)
    assert Patience.of_own(1050.0) == Patience(50.0, 30.0)
    assert Patience.of_own(990.0) == Patience(30.0, 30.0)


FORGED = """import os, time
for pipe in range(3, 64):
    try:
        os.write(pipe, b'{"value": {"outcome": "compared", "runs": []}}\\n')
    except OSError:
        pass
"""


def test_who_is_ended_for_swarming_has_no_answer_and_is_told_to_start_fewer(zygote: Zygote, tmp_path: Path) -> None:
    started = ORPHANS.format(number=140, what="time.sleep(3600)")
    result = ran(zygote, tmp_path, FORGED + started, STARTING)
    assert result.how == "swarming" and result.value is None
    failure = run_failure(result)
    assert failure is not None and failure["kind"] == "crash"
    text = TaskText("kernels.py", "", "kernels.evolve.py", "", "double", "entry", (), "no-gpu")
    said = str(own_failed("your own kernel does not run on n=8", failure, text))
    assert said == (
        "kernels.py: your own kernel does not run on n=8: it had started more than 128 processes, and was ended for "
        "it. Start fewer processes, Pool(8) say, then start again."
    )
