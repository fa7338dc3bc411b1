"""A workspace on a disk that is full, or read-only: a real one, of a few megabytes in memory, mounted by root."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import ended_run, spec
from lsp_client import PLAIN, Lsp, ResponseError

from evolve_core.journal.model import RunState
from evolve_core.journal.paste import to_resume

Serve = Callable[..., Coroutine[Any, Any, Lsp]]
EXAMPLES = Path(__file__).parents[2] / "examples"
BLOCK = b"x" * 4096


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which the project has to itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk can be mounted by root only")
    try:
        for name in ("softmax.py", "softmax.evolve.py"):
            shutil.copy(EXAMPLES / name, disk / name)
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, *, blocks_left: int = 0) -> None:
    """Fill the disk, but for so many blocks of 4 KiB."""
    spare = disk / "spare"
    spare.write_bytes(BLOCK * blocks_left)
    with pytest.raises(OSError, match="No space left"), (disk / "fill").open("wb", buffering=0) as stream:
        while True:
            stream.write(BLOCK)
    spare.unlink()


def protect(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


async def refusal(client: Lsp, command: str, uri: str) -> str:
    with pytest.raises(ResponseError) as failed:
        await client.command(command, uri=uri, kernel="softmax_kernel")
    return failed.value.message


async def test_a_run_that_cannot_start_says_why_once(serve: Serve, workspace: Path, source: Path) -> None:
    fill(workspace)
    client = await serve()
    uri = client.open(source)
    assert await refusal(client, "start", uri) == (
        f"Nothing was started. {workspace}: the disk is full. Free some space, then try again."
    )


async def test_a_runner_without_room_for_the_journal(serve: Serve, workspace: Path, source: Path) -> None:
    fill(workspace, blocks_left=4)
    client = await serve()
    uri = client.open(source)
    await client.command("start", uri=uri, kernel="softmax_kernel")
    [found] = await client.until_diagnostics(uri, bool)
    assert found["message"] == (
        f"The disk is full: 0 MB are left on {workspace}. "
        f"The journal {workspace}/.kernel-evolve/journal.sqlite cannot be written. "
        "Everything judged so far is kept. Free some space on that disk, then try again."
    )
    assert (await client.titles(uri))[0] == "failed: the disk is full"


async def test_a_run_that_cannot_be_resumed(serve: Serve, workspace: Path, source: Path) -> None:
    task = hashlib.sha256((workspace / "softmax.evolve.py").read_bytes()).hexdigest()
    ended_run(workspace, replace(spec(source), task_sha256=task), state=RunState.INTERRUPTED)
    (workspace / ".kernel-evolve" / "logs").mkdir()
    (workspace / ".kernel-evolve" / "logs" / "run-1.log").touch()
    fill(workspace)
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda title: title == "interrupted after 0/200: resume")
    await client.command("resume", uri=uri, kernel="softmax_kernel")
    await client.until_title(uri, lambda title: title == "interrupted after 0/200, the disk is full: resume")
    [found] = await client.until_diagnostics(uri, bool)
    # The interpreter is the one that the server found.
    words, _, python = found["message"].partition(" --python ")
    assert words == (
        f"The disk is full: 0 MB are left on {workspace}. "
        f"The journal {workspace}/.kernel-evolve/journal.sqlite cannot be written. Everything judged so far is kept. "
        f"Free some space on that disk, then go on with `{to_resume('run-1', workspace, '')}"
    )
    assert python.endswith("`.")


async def test_nothing_starts_in_a_read_only_workspace(serve: Serve, workspace: Path, source: Path) -> None:
    protect(workspace)
    client = await serve()
    uri = client.open(source)
    assert await refusal(client, "start", uri) == (
        f"Nothing was started. {workspace}/.kernel-evolve: its file system is read-only. "
        "Make that writable, or work in a copy elsewhere, then try again."
    )


async def test_a_task_file_in_a_read_only_workspace(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    task_file.unlink()
    protect(workspace)
    client = await serve(PLAIN)
    uri = client.open(source)
    assert await refusal(client, "createTask", uri) == (
        f"{task_file} was not written: its file system is read-only. "
        "Make that writable, or work in a copy elsewhere, then try again."
    )


async def test_the_journal_of_a_read_only_workspace(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source))
    protect(workspace)
    client = await serve()
    uri = client.open(source)
    [found] = await client.until_diagnostics(uri, bool)
    assert found["message"] == (
        f"The journal {workspace}/.kernel-evolve/journal.sqlite cannot be used, as its folder cannot be written "
        "(a read-only file system, or no permission). Make the folder writable, or work in a copy elsewhere."
    )
