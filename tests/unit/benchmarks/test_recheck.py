"""The second opinion on a winner: the real Triton, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.winners.runs import EXAMPLES, RECHECK, second_opinion

MATMUL, TASK = EXAMPLES / "matmul.py", EXAMPLES / "matmul.evolve.py"

LIKE_TRITON_3_6 = f"""
import runpy, sys
import os
os.environ["TRITON_INTERPRET"] = "1"
from triton.runtime import interpreter

patch = interpreter._patch_lang_tensor

def as_in_triton_3_6(cls, *scope):
    patch(cls, *scope)
    def refused(self):
        raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
    cls.__index__ = refused

interpreter._patch_lang_tensor = as_in_triton_3_6
sys.argv = {[str(RECHECK), str(TASK), str(MATMUL), str(MATMUL), "2", "7"]!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Triton 3.6 beside NumPy 2.4, as far as a kernel's `range(0, tl.cdiv(K, BLOCK_K))` notices."""


def test_a_right_kernel_has_no_objections_and_a_wrong_one_has(tmp_path: Path) -> None:
    assert second_opinion(TASK, MATMUL, MATMUL, draws=2, seed=7) == ()
    wrong = tmp_path / "matmul.py"
    text = MATMUL.read_text()
    assert "tl.cdiv(K, BLOCK_K)" in text
    wrong.write_text(text.replace("tl.cdiv(K, BLOCK_K)", "tl.cdiv(K, BLOCK_K) - 1"))
    objections = second_opinion(TASK, MATMUL, wrong, draws=2, seed=7)
    assert objections and "times the tolerance" in objections[0]


def test_loops_over_computed_bounds_run_where_triton_s_own_conversion_is_refused() -> None:
    finished = subprocess.run([sys.executable, "-c", LIKE_TRITON_3_6], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert '"wrong": []' in finished.stdout
