"""Candidates that attack the machine, by accident or on purpose: what they are is said, and nothing is left running.

Those that are after a false verdict are in tests/judge/redteam/.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from host_bench import DOUBLE, DOUBLE_TASK, Bench

from evolve_core.judge.client import HostDied, HostError, JudgeHost, OpenedTask
from evolve_core.judge.compose import compose
from evolve_core.judge.evidence import evidence
from evolve_core.judge.observation import Observation, Outcome
from evolve_core.judge.teeth import Teeth
from evolve_core.judge.verdict import Correctness, Failure, Stage, Verdict

WRONG = DOUBLE.replace("x * 0.3", "x * 0.7")
"""A kernel that computes something else."""


def verdict_on(bench: Bench, opened: OpenedTask, source: str, deadline_s: float = 60.0) -> Verdict:
    observed = bench.judge(opened, source, deadline_s)
    return compose(opened, observed, target="sm_90", stage=Stage.SCREENING, source=source)


def in_host(code: str, source: str = WRONG) -> str:
    """``code`` at the start of the entry."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return source.replace("def double(x):\n", f"def double(x):\n{body}")


def at_import(code: str, source: str = WRONG) -> str:
    return source.replace("import torch\n", f"import torch\n{code}\n", 1)


def only_interpreted(code: str) -> str:
    """Run ``code`` only where kernels are interpreted, so that the compile step does not meet it first.

    A random number comes before it, which no plan holds: else nobody would run it there.
    """
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return f"import os\ntorch.rand(1, device=x.device)\nif os.environ.get('TRITON_INTERPRET') == '1':\n{body}"


def test_the_honest_neighbour_of_these_is_correct(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(bench, doubling, DOUBLE)
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    assert "estimated" in verdict.reason


def test_endless_kernel_times_out(bench: Bench, doubling: OpenedTask) -> None:
    endless = DOUBLE.replace(
        # A loop that does nothing is compiled to nothing.
        "    mask = offsets < n\n",
        "    mask = offsets < n\n    while n > 0:\n        tl.store(out_ptr + offsets, 0.0, mask=mask)\n",
    )
    verdict = verdict_on(bench, doubling, endless, deadline_s=20.0)
    assert verdict.failure is Failure.TIMEOUT, verdict.reason
    assert "seed" in verdict.reason


def test_endless_import_times_out(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(bench, doubling, at_import("while True: pass"), deadline_s=3.0)
    assert verdict.failure is Failure.TIMEOUT, verdict.reason


def test_segfault(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(bench, doubling, in_host(only_interpreted("import ctypes\nctypes.string_at(0)"), DOUBLE))
    assert verdict.failure is Failure.CRASH
    assert verdict.reason.startswith("line ") and "crashed with SIGSEGV" in verdict.reason


def test_memory_bomb(bench: Bench, doubling: OpenedTask) -> None:
    verdict = verdict_on(bench, doubling, in_host(only_interpreted("hoard = bytearray(1 << 40)"), DOUBLE))
    assert verdict.failure is Failure.OUT_OF_MEMORY, verdict.reason


def test_torrent_of_output_is_bounded(bench: Bench) -> None:
    # The user's own kernel has no plan either, so that host code is good enough for its candidates.
    opened = bench.open(in_host("torch.rand(1, device=x.device)", DOUBLE), DOUBLE_TASK)
    shouting = in_host(only_interpreted("for _ in range(2000):\n    os.write(1, b'x' * 100_000)"), DOUBLE)
    before = _size(bench.folder)
    verdict = verdict_on(bench, opened, shouting)
    assert verdict.correctness is Correctness.CORRECT, verdict.reason
    assert _size(bench.folder) - before < 5_000_000


def _size(folder: Path) -> int:
    found = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Gone since it was listed.
            found += file.stat().st_size if file.is_file() else 0
    return found


def test_nothing_of_a_candidate_stays_on_the_disk(bench: Bench, doubling: OpenedTask) -> None:
    """Whether it fails, is right, is confirmed, or its request is cancelled."""
    filling = "open(os.environ['TMPDIR'] + '/filler', 'wb').write(b'x' * 50_000_000)"
    before = _size(bench.folder)
    verdict_on(bench, doubling, in_host(only_interpreted(f"{filling}\nraise RuntimeError('no')"), DOUBLE))
    bench.host.judge(doubling, "candidate", DOUBLE, Stage.CONFIRMATION, 60.0)
    slow = in_host(only_interpreted(f"{filling}\nimport time; time.sleep(3600)"), DOUBLE)
    cancelled = threading.Thread(target=_cancelled, args=(bench, doubling, slow))
    cancelled.start()
    for _ in range(300):
        if _size(bench.folder) - before > 40_000_000:
            break
        time.sleep(0.1)
    assert _size(bench.folder) - before > 40_000_000
    bench.host.cancel_all()
    cancelled.join(30)
    assert _size(bench.folder) - before < 1_000_000


def _cancelled(bench: Bench, opened: OpenedTask, source: str) -> None:
    with suppress(HostError):
        bench.judge(opened, source, 300.0)


STUBBORN = (
    "import signal, subprocess, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "for _ in range(8):\n"
    "    subprocess.Popen(['sleep', '{seconds}'], start_new_session=True)\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        if os.fork() == 0:\n"
    "            os.execvp('sleep', ['sleep', '{seconds}'])\n"
    "        os._exit(0)"
)


def sleepers(seconds: str) -> list[int]:
    """Processes of the whole machine that sleep for exactly that long: the argument is their mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", seconds.encode()]:
                found.append(int(entry.name))
    return found


def wait_until_gone(seconds: str) -> list[int]:
    for _ in range(100):
        if not sleepers(seconds):
            return []
        time.sleep(0.1)
    return sleepers(seconds)


def test_daemons_of_a_candidate_die_with_it(bench: Bench, doubling: OpenedTask) -> None:
    mark = f"{40000 + os.getpid() % 10000}.25"
    bench.judge(doubling, in_host(only_interpreted(STUBBORN.format(seconds=mark)), DOUBLE))
    assert wait_until_gone(mark) == []


def test_fork_bomb_is_contained(bench: Bench, doubling: OpenedTask) -> None:
    bomb = in_host(only_interpreted("while True:\n    try: os.fork()\n    except OSError: pass"), DOUBLE)
    verdict = verdict_on(bench, doubling, bomb, deadline_s=60.0)
    assert verdict.failure is Failure.CRASH and "more than 128 processes" in verdict.reason, verdict.reason
    assert verdict_on(bench, doubling, DOUBLE).correctness is Correctness.CORRECT


def test_killed_host_leaves_nothing(tmp_path: Path) -> None:
    mark = f"{50000 + os.getpid() % 10000}.75"
    source = in_host(only_interpreted(STUBBORN.format(seconds=mark) + "\nimport time; time.sleep(3600)"), DOUBLE)
    errors: list[BaseException] = []
    with Bench(tmp_path) as bench:
        opened = bench.open(DOUBLE, DOUBLE_TASK)
        thread = _in_background(bench.host, opened, source, errors)
        for _ in range(300):
            if sleepers(mark):
                break
            time.sleep(0.1)
        assert sleepers(mark)
        bench.host._process.kill()
        thread.join(30)
        assert [type(error) for error in errors] == [HostDied]
        assert wait_until_gone(mark) == []


def _in_background(host: JudgeHost, opened: OpenedTask, source: str, errors: list[BaseException]) -> threading.Thread:
    def judge() -> None:
        try:
            host.judge(opened, "candidate", source, Stage.SCREENING, 120.0)
        except HostDied as error:
            errors.append(error)

    thread = threading.Thread(target=judge)
    thread.start()
    return thread


def test_rejection_comes_with_a_script_that_shows_it(bench: Bench, doubling: OpenedTask, tmp_path: Path) -> None:
    import subprocess
    import sys

    verdict = verdict_on(bench, doubling, WRONG)
    assert verdict.correctness is Correctness.WRONG
    assert "float32[" in verdict.reason and "seed" in verdict.reason
    script = tmp_path / "reproduce.py"
    script.write_text(verdict.reproduce)
    shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True)
    candidate, own = (float(part.split()[-1]) for part in shown.stdout.split(", worst")[0].split(","))
    assert candidate > 1000 * own


def test_evidence_is_json_and_holds_what_a_replay_needs(bench: Bench, doubling: OpenedTask) -> None:
    observed = bench.judge(doubling, WRONG)
    verdict = compose(doubling, observed, target="sm_90", stage=Stage.SCREENING, source=WRONG)
    record = evidence(doubling, observed, verdict, "c7", WRONG, "sm_90", 1, Teeth())
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["judged"]["source"] == WRONG and read["baseline"]["source"] == DOUBLE
    assert {check["seed"] for check in read["judged"]["observation"]["checks"]}
    assert read["task"]["task_sha256"] and read["environment"]["triton"]
    assert read["verdict"]["correctness"] == "wrong"


def test_outcomes_are_the_protocols(bench: Bench, doubling: OpenedTask) -> None:
    observed: Observation = bench.judge(doubling, in_host("raise RuntimeError('no')", DOUBLE))
    assert observed.failure is not None and observed.failure.kind == "crash"
    assert Outcome.COMPARED not in {check.outcome for check in observed.checks}
