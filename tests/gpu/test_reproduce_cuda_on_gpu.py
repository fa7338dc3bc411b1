"""The script that shows a CUDA rejection runs on its own, with nothing but torch and a driver."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Stage
from tests.gpu.candidates import CUDA_SOURCE, CUDA_TASK
from tests.gpu.judges import Judges, Texts

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]


def test_a_wrong_cuda_kernel_is_wrong_in_its_script(tmp_path: Path) -> None:
    judges = Judges(tmp_path, lambda name: Texts(CUDA_SOURCE, CUDA_TASK, is_cuda=True))
    try:
        wrong = CUDA_SOURCE.replace("col < cols", "col < cols - 1")
        verdict = judges.judge("row_dot", wrong, Stage.SCREENING)
    finally:
        judges.close()
    assert verdict.correctness is Correctness.WRONG, verdict.reason
    script = tmp_path / "alone" / "script.py"
    script.parent.mkdir()
    script.write_text(verdict.reproduce)
    done = subprocess.run(
        [sys.executable, "-I", str(script)], capture_output=True, text=True, cwd=script.parent, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"candidate max error ([\d.e+-]+), your kernel ([\d.e+-]+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 0.1 > float(found[2])
