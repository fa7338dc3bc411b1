"""Raw processes: servers that are killed, and runners whose judge never answers."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1] / "protocol"))

from lsp_client import Lsp

from evolve_server import processes

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("softmax.py", "softmax.evolve.py"):
        shutil.copy(EXAMPLES / name, root / name)
    return root


@pytest.fixture
def source(workspace: Path) -> Path:
    return workspace / "softmax.py"


@pytest.fixture
def stubborn(tmp_path: Path) -> str:
    """An interpreter that never answers and ignores SIGTERM; real runners wait for it without using the machine."""
    script = tmp_path / "stubborn-python"
    script.write_text("#!/bin/sh\ntrap '' TERM HUP INT\nwhile :; do sleep 0.2; done\n")
    script.chmod(0o755)
    return str(script)


@pytest_asyncio.fixture
async def serve(workspace: Path) -> AsyncIterator[Callable[..., Coroutine[Any, Any, Lsp]]]:
    started: list[Lsp] = []

    async def start(*arguments: Any, **options: Any) -> Lsp:
        client = await Lsp.start(workspace, *arguments, **options)
        started.append(client)
        return client

    yield start
    for client in started:
        await client.kill()


def mentioning(text: str) -> dict[int, str]:
    """Live processes whose arguments hold ``text``: process id → start time. Never this one."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and text in processes.command_line(int(entry.name)):
            started = processes.start_time(int(entry.name))
            if started is not None:
                found[int(entry.name)] = started
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """Whatever a test started in its own folder ends with it, also when the test failed."""
    yield
    for pid, started in mentioning(str(tmp_path)).items():
        processes.signal_if_alive(pid, started, signal.SIGKILL)
