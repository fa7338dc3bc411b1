"""A workspace with one of the examples, and servers that are gone when the test is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from lsp_client import Lsp

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A project holding softmax.py with its task."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("softmax.py", "softmax.evolve.py"):
        shutil.copy(EXAMPLES / name, root / name)
    return root


@pytest.fixture
def source(workspace: Path) -> Path:
    return workspace / "softmax.py"


@pytest_asyncio.fixture
async def serve(workspace: Path) -> AsyncIterator[Callable[..., Coroutine[Any, Any, Lsp]]]:
    """Start servers on the workspace; those still up at the end are killed."""
    started: list[Lsp] = []

    async def start(*arguments: Any, **options: Any) -> Lsp:
        client = await Lsp.start(workspace, *arguments, **options)
        started.append(client)
        return client

    yield start
    for client in started:
        await client.kill()
