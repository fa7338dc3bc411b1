"""Runners and servers that start a run of one kernel at the same moment: what they share is the journal, and it says no
to the second.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from living_server import mentioning
from lsp_client import PATIENCE_SECONDS, Lsp

from evolve_core.journal.lock import runner_lock
from evolve_core.journal.model import RunRecord, RunState
from evolve_core.journal.reader import JournalReader

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


def runs(workspace: Path) -> tuple[RunRecord, ...]:
    with closing(JournalReader(workspace)) as reader:
        return reader.runs()


def runner(workspace: Path, stubborn: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "evolve_core", "run", "--workspace", str(workspace), "--python", stubborn, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        time.sleep(0.05)


def refusal(of: subprocess.Popen[str]) -> str:
    """The last line that a runner says which was not started."""
    said = of.communicate(timeout=PATIENCE_SECONDS)[1]
    assert of.returncode == 2 and "Traceback" not in said
    return said.splitlines()[-1]


def refused(run_id: str, workspace: Path) -> str:
    return (
        f"kernel-evolve: Nothing was started: softmax_kernel is being evolved already by run {run_id}. "
        f"See how far it is with `kernel-evolve show {run_id} --workspace {workspace}`, "
        f"or end it first with `kernel-evolve cancel {run_id} --workspace {workspace}`."
    )


def test_of_two_runners_at_once_one_is_refused_until_the_other_is_gone(
    workspace: Path, source: Path, stubborn: str
) -> None:
    kernel = f"{source}::softmax_kernel"
    # An editor may have opened the project through a link.
    link = workspace.with_name("link")
    link.symlink_to(workspace)
    ways = {"ra": kernel, "rb": f"{link / source.name}::softmax_kernel"}
    both = {name: runner(workspace, stubborn, way, "--run-id", name) for name, way in ways.items()}
    until(lambda: any(one.poll() is not None for one in both.values()), "one of them ended")
    [second] = [name for name, one in both.items() if one.poll() is not None]
    [first] = set(both) - {second}
    assert refusal(both[second]) == refused(first, workspace)
    until(lambda: [run.run_id for run in runs(workspace)] == [first], "the other in the journal")
    # A runner that was killed is in nobody's way.
    both[first].kill()
    both[first].communicate()
    why = "The disk was full."
    with runner_lock(workspace, first) as leave_words:
        leave_words(why)
    third = runner(workspace, stubborn, kernel, "--run-id", "rc")
    until(lambda: any(run.run_id == "rc" and run.state is RunState.BASELINE for run in runs(workspace)), "a third")
    # Nor does what it left go on beside another, and what interrupted it is still what it was.
    assert refusal(runner(workspace, stubborn, "--resume", first)) == refused("rc", workspace)
    assert {run.run_id: (run.state, run.reason) for run in runs(workspace)} == {
        first: (RunState.INTERRUPTED, why),
        "rc": (RunState.BASELINE, ""),
    }
    third.kill()
    third.communicate()


async def test_two_servers_that_start_at_once_show_the_one_run(
    serve: Serve, workspace: Path, source: Path, stubborn: str
) -> None:
    clients = [await serve(options={"python": stubborn}) for _ in range(2)]
    uri = source.as_uri()
    for client in clients:
        client.open(source)
        await client.until_title(uri, lambda t: t == "Evolve")
    answers = await asyncio.gather(*(c.command("start", uri=uri, kernel="softmax_kernel") for c in clients))
    for client in clients:
        titles = await client.until_title(uri, lambda t: "judging your kernel" in t)
        assert titles[1:] == ["pause", "cancel"]
    started = {answer["runId"] for answer in answers}
    until(lambda: sum(bool(mentioning(run_id)) for run_id in started) == 1, "one runner alone")
    [run] = runs(workspace)
    assert run.run_id in started
    # It is over for both; that a start was refused is nothing to speak of any more.
    await clients[0].command("cancel", uri=uri, kernel="softmax_kernel")
    for client in clients:
        assert await client.until_title(uri, lambda t: t.startswith(("Evolve", "failed"))) == ["Evolve"]
        assert [d for d in client.diagnostics(uri) if d["code"] == "run-failed"] == []
