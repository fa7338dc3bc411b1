"""A disk that fills up while a run is going: nothing is blamed on a candidate, readers say why, and the run resumes."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from evolve_core import files
from evolve_core.cli.selection import select, select_task
from evolve_core.journal.model import CandidateRecord, RunRecord, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.judge.session import JudgeFailed, JudgeRefused, TaskJudge
from evolve_core.judge.verdict import Correctness, Stage

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NEVER_ENOUGH_BYTES = 1 << 60
PATIENCE_S = 300.0


@pytest.fixture
def softmax(tmp_path: Path) -> Path:
    for name in ("softmax.py", "softmax.evolve.py"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    return tmp_path / "softmax.py"


def open_judge(source: Path, log: Path) -> TaskJudge:
    selection = select(str(source))
    _, task = select_task(selection)
    with log.open("ab") as stream:
        return TaskJudge.open(
            task,
            selection.text,
            python=Path(sys.executable),
            spool=log.parent,
            target="sm_90",
            workers=1,
            log=stream,
        )


def test_what_fails_on_a_full_disk_gets_no_verdict(softmax, tmp_path, monkeypatch):
    with closing(open_judge(softmax, tmp_path / "log")) as judge:
        broken = softmax.read_text().replace("tl.exp(x)", "tl.no_such_thing(x)")
        with monkeypatch.context() as full:
            full.setattr(files, "NEARLY_FULL_BYTES", NEVER_ENOUGH_BYTES)
            with pytest.raises(
                JudgeFailed, match=r"The disk is full: \d+ MB are left on /.*\. Free some space there, then try"
            ):
                judge.submit("c1", broken, Stage.SCREENING).result()
        again = judge.submit("c1", broken, Stage.SCREENING).result().verdict
        assert again.correctness is not Correctness.CORRECT and again.failure is not None


def test_a_judge_that_cannot_start_on_a_full_disk_does_not_blame_the_task(softmax, tmp_path, monkeypatch):
    task = softmax.with_name("softmax.evolve.py")
    task.write_text(f"raise ValueError('no data')\n{task.read_text()}")
    with pytest.raises(JudgeRefused, match="no data"):
        open_judge(softmax, tmp_path / "log")
    monkeypatch.setattr(files, "NEARLY_FULL_BYTES", NEVER_ENOUGH_BYTES)
    with pytest.raises(JudgeFailed, match=r"The disk is full: .*no data.*\. Free some space there, then try again"):
        open_judge(softmax, tmp_path / "log")
    # The disk's own error says nothing that was not said already.
    task.write_text(task.read_text().replace("ValueError('no data')", "OSError(28, 'No space left on device')"))
    with pytest.raises(JudgeFailed) as full:
        open_judge(softmax, tmp_path / "log")
    said = (
        r"The disk is full: \d+ MB are left on \S+\. The judge could not start\. Free some space there, then try again."
    )
    assert re.fullmatch(said, str(full.value))


def read(workspace: Path) -> tuple[RunRecord | None, tuple[CandidateRecord, ...]]:
    with closing(JournalReader(workspace)) as reader:
        return reader.run("r1"), reader.candidates("r1")


def start(workspace: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "KERNEL_EVOLVE_KNOWLEDGE": f"sqlite:///{workspace}/knowledge.sqlite"}
    return subprocess.Popen(
        [sys.executable, "-m", "evolve_core", "run", "--python", sys.executable, "--json", *arguments],
        cwd=workspace,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_run_whose_journal_cannot_grow_says_so_and_resumes(softmax, tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    task = softmax.with_name("softmax.evolve.py")
    task.write_text(task.read_text().replace("[(4096, 1024), (8192, 781), (65536, 128)]", "[(4096, 128)]"))
    with start(tmp_path, "softmax.py", "--budget", "2c", "--workers", "1", "--run-id", "r1") as runner:
        deadline = time.monotonic() + PATIENCE_S
        while (run := read(tmp_path)[0]) is None or run.judged < 1:
            assert runner.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        # The journal's own disk is full, and nobody else's: the next write beyond the file's present end is refused.
        end = (tmp_path / ".kernel-evolve" / "journal.sqlite-wal").stat().st_size
        resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (end, end))
        assert runner.stderr is not None
        said = runner.stderr.read().splitlines()[-1]
    run, before = read(tmp_path)
    assert runner.returncode == 2 and run is not None and run.state is RunState.INTERRUPTED
    assert "journal.sqlite cannot be written (disk I/O error)" in run.reason
    go_on = shlex.join(["--workspace", str(tmp_path), "--python", sys.executable])
    ended = f"See whether its disk or a limit is full, then go on with `kernel-evolve run --resume r1 {go_on}`."
    assert run.reason.endswith(ended)
    assert said == f"kernel-evolve: {run.reason}"
    with start(tmp_path, "--resume", "r1") as resumed:
        resumed.communicate(timeout=PATIENCE_S)
    run, after = read(tmp_path)
    assert run is not None and run.state is RunState.DONE and run.judged == 2
    later = {c.candidate_id: c for c in after}
    kept = [c for c in before if c.verdict is not None]
    assert kept
    for candidate in kept:
        now = later[candidate.candidate_id]
        assert now == candidate or (now.verdict is not None and now.verdict.stage is Stage.CONFIRMATION)
