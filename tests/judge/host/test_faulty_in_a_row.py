"""One host, one faulty candidate after the other: it stays alive and no larger, nothing of theirs stays, and the good
candidates in between are judged right. KERNEL_EVOLVE_FAULTS=1000 makes it a thousand.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pytest
from host_bench import DOUBLE, DOUBLE_TASK, Bench
from test_host_hostile import STUBBORN, at_import, in_host, only_interpreted, verdict_on

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.verdict import Correctness, Failure

FAULTS = int(os.environ.get("KERNEL_EVOLVE_FAULTS", "26"))
GOOD_EVERY = 12
GROWTH_BYTES = 24 << 20
"""Of all of the host's processes together, from a tenth of the way to the end; allocators are not exact."""


@dataclass(frozen=True)
class Fault:
    """``failures``: what it may be called; None among them: an ordinary verdict, since its outputs are right."""

    source: str
    failures: frozenset[Failure | None]
    deadline_s: float = 60.0


def _fault(source: str, *failures: Failure | None, deadline_s: float = 60.0) -> Fault:
    return Fault(source, frozenset(failures), deadline_s)


def _interpreted(code: str) -> str:
    return in_host(only_interpreted(code), DOUBLE)


MARK = f"{60000 + os.getpid() % 10000}.5"
KINDS = {
    "segfault": _fault(_interpreted("import ctypes\nctypes.string_at(0)"), Failure.CRASH),
    "abort": _fault(_interpreted("os.abort()"), Failure.CRASH),
    "leaves quietly": _fault(_interpreted("os._exit(0)"), Failure.CRASH),
    "raises": _fault(_interpreted("raise RuntimeError('no')"), Failure.CRASH, None),
    "no memory": _fault(_interpreted("hoard = bytearray(1 << 40)"), Failure.OUT_OF_MEMORY),
    "hoards": _fault(
        _interpreted("import mmap\nhoard = []\nwhile True: hoard.append(mmap.mmap(-1, 1 << 30))"),
        Failure.OUT_OF_MEMORY,
        Failure.CRASH,
    ),
    "hangs at import": _fault(at_import("while True: pass", DOUBLE), Failure.TIMEOUT, deadline_s=3.0),
    "deaf": _fault(
        _interpreted("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"),
        Failure.TIMEOUT,
        deadline_s=6.0,
    ),
    "forks": _fault(_interpreted(STUBBORN.format(seconds=MARK)), None),
    "shouts": _fault(_interpreted("for _ in range(500): os.write(1, b'x' * 100_000)"), None),
    "litters": _fault(
        _interpreted(
            "import tempfile\nfor _ in range(64): tempfile.mkstemp()\nopen('litter', 'wb').write(bytes(1 << 22))"
        ),
        Failure.CRASH,
        None,
    ),
    "does not compile": _fault(DOUBLE.replace("tl.store", "tl.no_such_function"), Failure.COMPILE_ERROR),
    "does not parse": _fault(DOUBLE + "\ndef (", Failure.COMPILE_ERROR),
}


@pytest.fixture(scope="module")
def mark() -> Iterator[str]:
    """In the environment of the host and of whatever comes of it, however it hides."""
    name, value = "KERNEL_EVOLVE_TEST_FAULTS", uuid.uuid4().hex
    os.environ[name] = value
    yield f"{name}={value}"
    del os.environ[name]


@pytest.fixture(scope="module")
def marked(mark: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("faulty"))
    yield bench
    bench.close()


def living(mark: str) -> dict[int, str]:
    """Processes other than this one that carry the mark, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def resident_bytes(pids: dict[int, str]) -> int:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def settled(mark: str, expected: int) -> dict[int, str]:
    """What lives once the children of the last candidates have had time to go."""
    for _ in range(100):
        if len(living(mark)) <= expected:
            break
        time.sleep(0.1)
    return living(mark)


@pytest.mark.timeout(120 + 12 * FAULTS)
def test_the_host_outlives_them_all(marked: Bench, mark: str) -> None:
    opened = marked.open(DOUBLE, DOUBLE_TASK)
    at_rest = len(settled(mark, 3))
    kinds = list(islice(cycle(KINDS.items()), FAULTS))
    tenth = max(len(KINDS), FAULTS // 10)
    wrong = _judge_all(marked, opened, kinds[:tenth])
    before = resident_bytes(settled(mark, at_rest))
    files = set((marked.folder / "spool").rglob("*"))
    wrong += _judge_all(marked, opened, kinds[tenth:])
    after = settled(mark, at_rest)
    assert not wrong, wrong
    assert len(after) == at_rest, after
    assert resident_bytes(after) - before < GROWTH_BYTES
    left = set((marked.folder / "spool").rglob("*")) - files
    assert not left, sorted(left)
    assert not (Path.cwd() / "litter").exists()


def _judge_all(bench: Bench, opened: OpenedTask, kinds: list[tuple[str, Fault]]) -> Counter[str]:
    """Two at a time, as a run does. What was not judged as it should be, counted."""
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda numbered: _misjudged(bench, opened, *numbered), enumerate(kinds))
        return Counter(said for said in answers if said)


def _misjudged(bench: Bench, opened: OpenedTask, number: int, kind: tuple[str, Fault]) -> str:
    name, fault = kind
    verdict = verdict_on(bench, opened, fault.source, fault.deadline_s)
    if verdict.failure not in fault.failures:
        return f"{name}: {verdict.failure} {verdict.correctness}: {verdict.reason}"
    if number % GOOD_EVERY == 0:
        good = verdict_on(bench, opened, DOUBLE)
        if good.correctness is not Correctness.CORRECT:
            return f"the good one after {name}: {good.reason}"
    return ""
