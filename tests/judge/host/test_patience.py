"""A kernel in Triton's interpreter is ended by what it computes, not by how long a busy machine lets it wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evolve_core.judge.host.kinds import Kind
from evolve_core.judge.host.outcomes import run_failure
from evolve_core.judge.host.patience import Patience
from evolve_core.judge.host.pool import Cancel, StepResult, Zygote

COMPUTING_S = 2.0
SPIN = "while True:\n    pass\n"


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote("sm_90", lambda: None, Kind.INTERPRETING)
    assert not zygote.wait_ready()["missing"]
    yield zygote
    zygote.close()


def ran(zygote: Zygote, folder: Path, source: str, wall_s: float) -> StepResult:
    """How a child ended that imports ``source``; where that ends, the entry is missing."""
    payload = {"source": source, "source_file": str(folder / "kernels.py"), "entry": "missing", "target": "sm_90"}
    limits = {"cpu_s": 60}
    return zygote.run("run", payload, folder / "child", Patience(wall_s, COMPUTING_S), limits, Cancel())


def test_waiting_is_not_computing(zygote: Zygote, tmp_path: Path) -> None:
    result = ran(zygote, tmp_path, f"import time\ntime.sleep({COMPUTING_S + 1})\n", 600.0)
    assert result.how == "finished" and result.error is not None and "missing" in result.error.message
    assert 0 < result.processor_s < COMPUTING_S


def test_computing_ends_it_at_its_line(zygote: Zygote, tmp_path: Path) -> None:
    failure = run_failure(ran(zygote, tmp_path, f"# endless\n{SPIN}", 600.0))
    assert failure is not None and failure["kind"] == "timeout" and failure["line"] in (2, 3)
    assert failure["message"].endswith("did not finish in 2.0 s of processor time in Triton's interpreter")


def test_what_it_started_computes_for_it(zygote: Zygote, tmp_path: Path) -> None:
    result = ran(zygote, tmp_path, f"import os\nif os.fork():\n    os.wait()\n{SPIN}", 600.0)
    assert result.how == "exhausted"


def test_sleep_ends_by_the_clock_at_its_line(zygote: Zygote, tmp_path: Path) -> None:
    failure = run_failure(ran(zygote, tmp_path, "import time\ntime.sleep(3600)\n", 2 * COMPUTING_S))
    assert failure is not None and failure["kind"] == "timeout" and failure["line"] == 2
    assert failure["message"].endswith("did not finish in 4.0 s in Triton's interpreter")


def test_the_clock_leaves_room_for_others() -> None:
    assert Patience.computing(30.0) == Patience(120.0, 30.0)
    assert Patience.computing(30.0, wall_left_s=50.0) == Patience(50.0, 30.0)
