"""The exploits are real ones: a harness as they are often written takes them for correct."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.judge.redteam.model import SPARED, Exploit
from tests.judge.redteam.suite import EXPLOITS
from tests.judge.redteam.tasks import VICTIMS

NAIVE = Path(__file__).with_name("naive.py")


def played() -> list[Exploit]:
    """Those that mean something without a GPU, on tasks that say what is right."""
    python = [one for one in EXPLOITS if not VICTIMS[one.task].is_cuda]
    able = [one for one in python if not one.needs_gpu and "def reference" in VICTIMS[one.task].task]
    return [one for one in able if one.name not in SPARED]


def answers(items: list[dict[str, str]], folder: Path) -> dict[str, bool]:
    place = folder / "a" / "b" / "tmp"
    place.mkdir(parents=True)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "TMPDIR": str(place), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, str(NAIVE)],
        input=json.dumps(items),
        capture_output=True,
        text=True,
        env=environment,
        cwd=place,
        timeout=170,
        check=True,
    )
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def test_a_naive_harness_is_fooled(tmp_path: Path) -> None:
    items = [
        {"name": one.name, "task": VICTIMS[one.task].task, "source": one.source, "entry": one.task} for one in played()
    ]
    fooled = answers(items, tmp_path)
    assert len(items) > 60
    assert [name for name, believed in fooled.items() if not believed] == []


def test_it_is_not_fooled_by_everything(tmp_path: Path) -> None:
    """Or the test above would say nothing."""
    scale = VICTIMS["scale"]
    wrong = scale.source.replace("x, out, n, 0.3,", "x, out, n, 0.7,")
    crash = scale.source.replace("    return out", "    raise ValueError(x)")
    items = [
        {"name": name, "task": scale.task, "source": source, "entry": "scale"}
        for name, source in (("right", scale.source), ("wrong", wrong), ("crash", crash))
    ]
    assert answers(items, tmp_path) == {"right": True, "wrong": False, "crash": False}
