"""SIGKILL of the server, the runner or the judge host at a random moment: the run resumes or goes on, nothing judged is
lost, no process stays. KERNEL_EVOLVE_KILLS=10 gives each victim ten random moments instead of one.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from lsp_client import Lsp

from evolve_core.journal.model import RunRecord, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.judge.verdict import Verdict

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KILLS = int(os.environ.get("KERNEL_EVOLVE_KILLS", "1"))
LATEST_KILL_S = 12.0
"""A run of six candidates takes about this long on two cores: the moments fall into every phase of it."""
BUDGET = "6c"


class Marked:
    """A runner whose every descendant, however it hides, can be found by a mark in its environment."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.mark = f"KERNEL_EVOLVE_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.environ = {
            **os.environ,
            name: value,
            "KERNEL_EVOLVE_KNOWLEDGE": f"sqlite:///{workspace}/knowledge.sqlite",
        }

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "evolve_core", "run", "--workspace", str(self.workspace), *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def living(self) -> dict[int, str]:
        """Process ids that carry the mark, with their command lines."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:
                        found[int(folder.name)] = command
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def hosts(self) -> list[int]:
        """The judge host's main process (its zygotes and children carry more arguments, or another parent)."""
        return [
            pid
            for pid, command in self.living().items()
            if "judge/host/__main__.py" in command and "--zygote" not in command
        ]

    def wait_until_nobody_lives(self, patience_s: float = 15.0) -> None:
        deadline = time.monotonic() + patience_s
        while living := self.living():
            assert time.monotonic() < deadline, f"left behind: {living}"
            time.sleep(0.1)

    def record(self, run_id: str = "r1") -> tuple[RunRecord | None, dict[str, Verdict]]:
        with closing(JournalReader(self.workspace)) as reader:
            run = reader.run(run_id)
            candidates = reader.candidates(run_id)
        return run, {c.candidate_id: c.verdict for c in candidates if c.verdict is not None}


@pytest.fixture
def marked(tmp_path: Path):
    for name in ("softmax.py", "softmax.evolve.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    runner = Marked(tmp_path)
    yield runner
    for pid in runner.living():
        os.kill(pid, signal.SIGKILL)


def start(marked: Marked) -> subprocess.Popen[bytes]:
    source = marked.workspace / "softmax.py"
    return marked.run(f"{source}::softmax_kernel", "--run-id", "r1", "--budget", BUDGET, "--python", sys.executable)


moments = pytest.mark.parametrize("moment", range(KILLS))


@moments
@pytest.mark.timeout(300)
def test_the_runner(marked: Marked, moment: int) -> None:
    delay_s = random.uniform(0.3, LATEST_KILL_S)
    print(f"killed after {delay_s:.2f} s")
    runner = start(marked)
    time.sleep(delay_s)
    runner.kill()
    runner.wait()
    marked.wait_until_nobody_lives()
    run, before = marked.record()
    if run is None:
        return  # killed before its first line: nothing was promised, nothing is left
    if not run.state.is_final:
        assert run.state is RunState.INTERRUPTED
        assert marked.run("--resume", "r1", "--python", sys.executable).wait() == 0
        marked.wait_until_nobody_lives()
    run, after = marked.record()
    assert run is not None and run.state is RunState.DONE, run
    assert run.judged == len(after) == 6
    for candidate_id, verdict in before.items():
        # Confirmation may have replaced a screening verdict; nothing else may touch one.
        assert after[candidate_id] == verdict or after[candidate_id].stage != verdict.stage


@moments
@pytest.mark.timeout(300)
def test_the_judge_host(marked: Marked, moment: int) -> None:
    delay_s = random.uniform(0.0, LATEST_KILL_S)
    print(f"killed {delay_s:.2f} s after it was there")
    runner = start(marked)
    deadline = time.monotonic() + 60
    while not marked.hosts():
        assert time.monotonic() < deadline and runner.poll() is None, "no judge host appeared"
        time.sleep(0.05)
    time.sleep(delay_s)
    _, before = marked.record()
    for pid in marked.hosts():
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    marked.wait_until_nobody_lives()
    run, after = marked.record()
    assert run is not None and run.state in (RunState.DONE, RunState.FAILED), run
    for candidate_id, verdict in before.items():
        assert after[candidate_id] == verdict or after[candidate_id].stage != verdict.stage
    if run.state is RunState.FAILED:
        # Killed while it opened the task: nothing was judged yet, and the reason says what happened.
        assert not before and "judge host" in run.reason, run.reason
    else:
        assert run.judged == len(after) == 6


@moments
@pytest.mark.timeout(300)
async def test_the_server(marked: Marked, moment: int) -> None:
    """The run it started goes on to its end, and a later server shows it."""
    delay_s = random.uniform(0.0, LATEST_KILL_S)
    print(f"killed {delay_s:.2f} s after it was asked to start a run")
    options = {"python": sys.executable, "budget": BUDGET}
    client = await Lsp.start(marked.workspace, options=options, env=marked.environ)
    uri = client.open(marked.workspace / "softmax.py")
    run_id = (await client.command("start", uri=uri, kernel="softmax_kernel"))["runId"]
    await asyncio.sleep(delay_s)
    _, before = marked.record(run_id)
    await client.kill()
    again = await Lsp.start(marked.workspace, options=options, env=marked.environ)
    uri = again.open(marked.workspace / "softmax.py")
    await again.until_title(uri, lambda title: "× faster" in title, patience_s=200.0)
    assert await again.stop() == 0
    marked.wait_until_nobody_lives()
    run, after = marked.record(run_id)
    assert run is not None and run.state is RunState.DONE, run
    assert run.judged == len(after) == 6
    for candidate_id, verdict in before.items():
        assert after[candidate_id] == verdict or after[candidate_id].stage != verdict.stage
