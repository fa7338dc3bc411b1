"""Two children for all tests here: one runs entries as TTIR, one in Triton's own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Ran:
    """What an entry returned, and what the launches reported (as TTIR only)."""

    outputs: list[np.ndarray]
    findings: list[dict[str, Any]]
    work: list[dict[str, int]]
    error: str | None
    uncovered: list[str]


Run = Callable[..., Ran]


def _child(mode: str, folder: Path) -> Iterator[Run]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    environment["TRITON_CACHE_DIR"] = str(folder / "cache")
    if mode == "triton":
        environment["TRITON_INTERPRET"] = "1"
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "ttir_child.py"), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdin and child.stdout
    assert child.stdout.readline() == "ready\n"

    def run(entry: str, inputs: str = "{}", module: str = "ttir_kernels", seed: int = 0, sliced: bool = False) -> Ran:
        assert child.stdin and child.stdout
        file = folder / "outputs.npz"
        request = {
            "module": module,
            "entry": entry,
            "inputs": inputs,
            "file": str(file),
            "seed": seed,
            "sliced": sliced,
        }
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        if answer["error"]:
            return Ran([], [], [], answer["error"], [])
        with np.load(file) as stored:
            outputs = [stored[name] for name in stored.files]
        return Ran(outputs, answer["findings"], answer["work"], None, answer["uncovered"])

    yield run
    # It ends with its input; on a busy machine that may take a while.
    child.communicate(timeout=120)
    assert child.returncode == 0


@pytest.fixture(scope="session")
def as_ttir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """``as_ttir(entry, inputs, module)``: the entry's launches in the interpreter under test."""
    yield from _child("ttir", tmp_path_factory.mktemp("as-ttir"))


@pytest.fixture(scope="session")
def in_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same in Triton's own interpreter."""
    yield from _child("triton", tmp_path_factory.mktemp("in-triton"))
