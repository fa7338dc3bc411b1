"""One interpreting child for all tests here; every request runs in a fork of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
Ask = Callable[..., Any]


def _python_path() -> list[str]:
    """Ours first; whoever runs these tests against another Triton puts that on PYTHONPATH."""
    return [str(REPOSITORY), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """``ask(entry, inputs, how)``: what ``kernels.ENTRY`` gives; ``inputs`` is source of its keyword arguments."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "scenarios.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(_python_path())},
    )
    assert child.stdin and child.stdout
    assert child.stdout.readline() == "ready\n"

    def request(entry: str, inputs: str = "{}", how: str = "check", module: str = "kernels") -> Any:
        assert child.stdin and child.stdout
        child.stdin.write(json.dumps({"module": module, "entry": entry, "inputs": inputs, "how": how}) + "\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    yield request
    child.stdin.close()
    child.stdout.close()
    assert child.wait(20) == 0


@pytest.fixture(scope="session")
def marked_line() -> Callable[[str], int]:
    """The line of kernels.py that ends with ``# HERE: name``, counted from 1."""
    lines = (Path(__file__).parent / "kernels.py").read_text(encoding="utf-8").splitlines()

    def line(name: str) -> int:
        return next(number for number, text in enumerate(lines, 1) if text.endswith(f"# HERE: {name}"))

    return line
