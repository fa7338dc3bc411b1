"""The command that goes on with an interrupted run, pasted as it was said into a terminal that is somewhere else."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from living_server import mentioning
from lsp_client import PATIENCE_SECONDS

from evolve_core.journal.model import RunRecord, RunState
from evolve_core.journal.reader import JournalReader

SAID = "go on with: "


def the_run(workspace: Path) -> RunRecord | None:
    with closing(JournalReader(workspace)) as reader:
        return reader.run("r1")


def terminal(command: str, folder: Path) -> subprocess.Popen[str]:
    """``kernel-evolve …`` as a shell would take it, in a terminal that knows nothing of the run."""
    program, *arguments = shlex.split(command)
    assert program == "kernel-evolve"
    # Who runs the tests in the background has the terminal's signal ignored: what is caught here is not ignored there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "evolve_core", *arguments],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def until_judging(of: subprocess.Popen[str], workspace: Path, python: str) -> None:
    """Until this runner has the run, and a judge host under that interpreter."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        run = the_run(workspace)
        hosts = mentioning(python).keys() - {of.pid}
        if run is not None and (run.pid, run.state) == (of.pid, RunState.BASELINE) and hosts:
            return
        assert of.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def interrupted(of: subprocess.Popen[str]) -> list[str]:
    of.send_signal(signal.SIGINT)
    said = of.communicate(timeout=PATIENCE_SECONDS)[1]
    assert of.returncode == 2, said
    return said.splitlines()


def test_what_is_said_of_an_interrupted_run_goes_on_with_it_anywhere(tmp_path: Path, workspace: Path) -> None:
    project = workspace.rename(tmp_path / "my project")
    python, other = tmp_path / "my python", tmp_path / "my other python"
    for script in (python, other):
        script.write_text("#!/bin/sh\nwhile :; do sleep 0.2; done\n")
        script.chmod(0o755)
    # Another project, where every command without --workspace looks for runs.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(project, elsewhere)
    (elsewhere / "pyproject.toml").write_text("")
    wanted = f"kernel-evolve run --resume r1 --workspace '{project}' --python '{python}'"

    first = terminal(
        f"kernel-evolve run '../my project/softmax.py' --workspace '../my project' --python '{python}' --run-id r1",
        elsewhere,
    )
    until_judging(first, project, str(python))
    [said] = [line for line in interrupted(first) if line.startswith(SAID)]
    assert said == f"{SAID}{wanted}"
    again = terminal(said.removeprefix(SAID), elsewhere)
    until_judging(again, project, str(python))
    interrupted(again)
    third = terminal(f"kernel-evolve run --resume r1 --workspace '{project}' --python '{other}'", elsewhere)
    until_judging(third, project, str(other))
    interrupted(third)
    # Who asks something of it later is told what would go on as it did last.
    asked = terminal(f"kernel-evolve pause r1 --workspace '{project}'", elsewhere)
    assert asked.communicate(timeout=PATIENCE_SECONDS)[1] == (
        f"kernel-evolve: The runner of r1 is gone. Go on with: {wanted.replace(str(python), str(other))}\n"
    )


def test_what_is_no_run_and_is_stopped_speaks_of_none(tmp_path: Path, workspace: Path, stubborn: str) -> None:
    source = shlex.quote(str(workspace / "softmax.py"))
    judging = terminal(f"kernel-evolve judge {source} --candidate {source} --python {stubborn}", tmp_path)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not mentioning(stubborn).keys() - {judging.pid}:
        assert judging.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert (
        interrupted(judging)[-1]
        == "kernel-evolve: Stopped before it was done. Give the command again to start it anew."
    )
