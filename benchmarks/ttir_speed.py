"""The Triton examples as TTIR on numpy against Triton's own interpreter, on the same inputs.

    python -m benchmarks.ttir_speed            prints a table and writes benchmarks/results/ttir_speed.json

The ratio is the claim (above 1: the TTIR interpreter is faster); seconds are of processor time and belong to the
machine. Each round asks one child after the other, so both see the same load. Compiling is left out of the one, nothing
of the other: Triton's interpreter has no such step. The TTIR interpreter checks bounds, races and uninitialised reads
in that time, Triton's checks nothing.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 5
INPUTS = {
    "vector_add": '{"x": torch.randn(1 << 18), "y": torch.randn(1 << 18)}',
    "softmax": '{"x": torch.randn(256, 781)}',
    "layernorm": '{"x": torch.randn(128, 2048).half(), **{k: torch.randn(2048).half() for k in ("weight", "bias")}}',
    "cross_entropy": '{"logits": torch.randn(64, 8192), "labels": torch.randint(0, 8192, (64,))}',
    "swiglu": '{"gate": torch.randn(128, 2048).half(), "up": torch.randn(128, 2048).half()}',
    "matmul": '{"a": torch.randn(512, 512).half(), "b": torch.randn(512, 512).half()}',
    "flash_attention": '{name: torch.randn(1, 4, 512, 64).half() for name in "qkv"}',
}


def child(mode: str) -> subprocess.Popen[str]:
    """The children of the interpreter's tests."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if mode == "triton":
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, str(ROOT / "tests/judge/ttir/ttir_child.py"), mode]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def seconds(asked: subprocess.Popen[str], name: str, folder: Path) -> float:
    """Processor time of one call. Raises RuntimeError where it failed."""
    assert asked.stdin
    assert asked.stdout
    request = {"module": name, "entry": name, "inputs": INPUTS[name], "file": str(folder / "out.npz")}
    asked.stdin.write(json.dumps(request) + "\n")
    asked.stdin.flush()
    answer = json.loads(asked.stdout.readline())
    if answer["error"]:
        raise RuntimeError(f"{name}: {answer['error']}")
    return float(answer["seconds"])


def main() -> int:
    ours, theirs = child("ttir"), child("triton")
    rows = {}
    print(f"{'example':18} {'TTIR s':>9} {'Triton s':>9} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in INPUTS:
            seconds(ours, name, Path(folder))
            rounds = [tuple(seconds(one, name, Path(folder)) for one in (ours, theirs)) for _ in range(ROUNDS)]
            ttir, triton = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(theirs_s / ours_s for ours_s, theirs_s in rounds)
            rows[name] = {"ttir_s": round(ttir, 4), "triton_s": round(triton, 4), "ratio": round(ratio, 2)}
            print(f"{name:18} {ttir:9.4f} {triton:9.4f} {ratio:7.1f}", flush=True)
    for one in (ours, theirs):
        one.communicate()
    result = {"machine": platform.machine(), "python": platform.python_version(), "rounds": ROUNDS, "examples": rows}
    (ROOT / "benchmarks" / "results" / "ttir_speed.json").write_text(
        json.dumps(result, indent=1) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
