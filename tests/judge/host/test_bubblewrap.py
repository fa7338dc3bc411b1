"""A host on a system that refuses namespaces to it and not to bubblewrap: its zygotes stand behind that.

The system is this one, behind a filter that refuses the host's own way of making namespaces, by its flags.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import host_bench
import pytest
from host_bench import DOUBLE, DOUBLE_TASK, Bench
from test_host_hostile import STUBBORN, in_host, only_interpreted, sleepers, verdict_on, wait_until_gone

from evolve_core.judge.client import HostDied, OpenedTask
from evolve_core.judge.verdict import Correctness, Failure

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

UNSHARE = {"x86_64": 272, "aarch64": 97}[platform.machine()]
WRAPPER = """#!{python}
import os, platform, sys
sys.path.insert(0, {root!r})
from evolve_core.judge.host import seccomp
from evolve_core.judge.host.sandbox import _NAMESPACES
rule = [(0x15, 0, 3, {unshare}), (0x20, 0, 0, 16), (0x15, 0, 1, _NAMESPACES), (0x06, 0, 0, 0x00050001)]
seccomp._put_on(seccomp._MACHINES[platform.machine()], [rule])
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    wrapper = tmp_path / "python"
    wrapper.write_text(WRAPPER.format(python=sys.executable, root=str(ROOT), unshare=UNSHARE))
    wrapper.chmod(0o755)
    monkeypatch.setattr(host_bench, "PYTHON", wrapper)
    with Bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def doubling(bench: Bench) -> OpenedTask:
    return bench.open(DOUBLE, DOUBLE_TASK)


CURIOUS = """import os, signal, socket
def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False
assert refused(lambda: socket.create_connection(("127.0.0.1", 9), 1))
assert refused(lambda: open({outside!r}, "w"))
assert refused(lambda: os.kill(1, signal.SIGKILL))
assert refused(lambda: os.memfd_create("hoard"))
assert refused(lambda: os.chmod(os.environ["TMPDIR"], 0o777))
assert refused(lambda: socket.socket(socket.AF_UNIX))
assert len([name for name in os.listdir("/proc") if name.isdigit()]) < 20
assert not os.path.exists("/proc/{host}/stat") or "python" not in open("/proc/{host}/comm").read()
with open(os.environ["TMPDIR"] + "/own", "w") as own:
    own.write("mine")
"""


def test_candidates_are_judged_behind_it_and_reach_nothing(bench: Bench, doubling: OpenedTask, tmp_path: Path) -> None:
    offered = bench.host.info.sandbox
    assert offered["bubblewrap"] and not offered["namespaces"]
    assert offered["network_off"] and offered["read_only_files"] and offered["missing"] == []
    curious = CURIOUS.format(outside=str(tmp_path / "outside"), host=bench.host._process.pid)
    verdict = verdict_on(bench, doubling, in_host(curious, DOUBLE))
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    bomb = in_host(only_interpreted("while True:\n    try: os.fork()\n    except OSError: pass"), DOUBLE)
    verdict = verdict_on(bench, doubling, bomb)
    assert verdict.failure is Failure.CRASH and "more than 128 processes" in verdict.reason, verdict.reason
    assert verdict_on(bench, doubling, DOUBLE).correctness is Correctness.CORRECT


def test_what_a_candidate_leaves_dies_with_the_host(bench: Bench, doubling: OpenedTask) -> None:
    mark = f"{60000 + os.getpid() % 10000}.5"
    source = in_host(only_interpreted(STUBBORN.format(seconds=mark) + "\nimport time; time.sleep(3600)"), DOUBLE)

    def judge() -> None:
        with pytest.raises(HostDied):
            bench.judge(doubling, source, 120.0)

    thread = threading.Thread(target=judge)
    thread.start()
    for _ in range(300):
        if sleepers(mark):
            break
        time.sleep(0.1)
    assert sleepers(mark)
    bench.host._process.kill()
    thread.join(30)
    assert wait_until_gone(mark) == []
