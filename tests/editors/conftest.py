"""What both editors' stories need: a workspace with one kernel, the installed editors, and an end for every process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evolve_core.journal.model import RunRecord, RunState
from evolve_core.journal.reader import JournalReader

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "editors"
ARTIFACTS = ROOT / ".artifacts" / "editors"
SERVER = Path(sys.executable).with_name("kernel-evolve")
BUDGET = "6c"
"""Few enough for a test, enough for a winner on the example: its block is small, and most larger ones are better."""
MARK = "KERNEL_EVOLVE_EDITOR_TEST"


@dataclass(frozen=True, slots=True)
class Story:
    """One workspace, and the environment in which everything that belongs to it runs.

    ``environment`` carries a mark that every child inherits: it tells this story's processes from all others.
    """

    workspace: Path
    scratch: Path
    environment: dict[str, str]
    mark: str

    @property
    def source(self) -> Path:
        return self.workspace / "swiglu.py"

    def processes(self) -> dict[int, str]:
        """The command lines of this story's processes that are alive."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue  # it ended while we looked, or is another user's
        return found

    def wait_for_no_process(self, seconds: float) -> dict[int, str]:
        """What is left after ``seconds``; empty as soon as everything has ended."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def end_everything(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("swiglu.py", "swiglu.evolve.py"):
        shutil.copy(ROOT / "examples" / name, workspace / name)
    mark = uuid.uuid4().hex
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TMUX", "NVIM", "VSCODE"))}
    environment |= {MARK: mark, "HOME": str(tmp_path), "PATH": f"{SERVER.parent}:{os.environ['PATH']}"}
    environment |= {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    current = Story(workspace, tmp_path, environment, mark)
    try:
        yield current
    finally:
        current.end_everything()


def installed(path: Path | None) -> Path:
    """The path of an installed editor, or a failure that says how to install it."""
    if path is None or not path.exists():
        pytest.fail(
            f"{path or 'an editor'} is not installed. Run scripts/test-editors.sh, which installs what is needed."
        )
    return path


def node() -> Path:
    own = CACHE / "node" / "bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    return installed(Path(found) if found else None)


def chromium() -> Path:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return installed(Path(found) if found else None)


SECONDS = 400
"""How long one run may take where everything else runs too; alone on two cores it takes a tenth of that."""

AGREES_WITH_TORCH = """
import torch
import swiglu
for rows, columns in [(1, 1), (3, 17), (5, 333)]:
    gate, up = torch.randn(2, rows, columns, dtype=torch.float16)
    torch.testing.assert_close(swiglu.swiglu(gate, up), torch.nn.functional.silu(gate) * up, rtol=2e-3, atol=2e-3)
"""


def check_applied(story: Story, before: str) -> RunRecord:
    """The file on disk is the judged winner, and it still computes what it did. Returns its run."""
    journal = JournalReader(story.workspace)
    try:
        run = journal.runs()[0]
        best = journal.candidate(run.best)
    finally:
        journal.close()
    after = story.source.read_text()
    assert run.state is RunState.DONE, run.reason
    assert best is not None and best.verdict is not None and best.verdict.is_winner
    assert after != before
    assert after == best.source
    environment = {**story.environment, "TRITON_INTERPRET": "1"}
    subprocess.run(
        [sys.executable, "-c", AGREES_WITH_TORCH], env=environment, cwd=story.workspace, check=True, timeout=120
    )
    return run


def check_words(run: RunRecord, *texts: str) -> None:
    """A predicted speedup says so in every one of these texts."""
    if run.best_estimated:
        for text in texts:
            assert "estimated" in text, text
