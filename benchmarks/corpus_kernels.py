"""Keystroke → kernels against reading the whole text afresh, on real Triton files glued to 5,000 and 50,000 lines.

    python -m benchmarks.corpus_kernels            prints a table and writes benchmarks/results/corpus_kernels.json

The ratio is the claim; milliseconds belong to the machine they were taken on, and are of processor time, so that a busy
machine does not blur them. "healthy" types a comment inside a kernel in the middle of the file; "damaged" types behind
an opened bracket; "fresh" is ``parse`` on the same text.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from evolve_core.source.model import Language
from evolve_core.source.parse import SourceTree, parse

ROOT = Path(__file__).parents[1]
KEYSTROKES = 20
FRESH_READINGS = 3


def corpus_text(lines: int) -> str:
    """Whole files of the corpus that define kernels, in path order, until there are ``lines`` lines."""
    script = ROOT / "scripts" / "corpus.sh"
    folder = Path(subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True).stdout.strip())
    texts: list[str] = []
    total = 0
    while total < lines:
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "@triton.jit" in text and "from __future__" not in text:
                texts.append(text)
                total += text.count("\n")
            if total >= lines:
                break
    return "\n".join(texts)


def cuda_text(lines: int) -> str:
    """The CUDA examples with a host function each, repeated under new names. No corpus of .cu files is at hand."""
    sources = [path.read_text() for path in sorted((ROOT / "examples").glob("*.cu"))]
    names = ("block_sum", "saxpy", "tiled_matmul")
    texts: list[str] = []
    total = 0
    while total < lines:
        for source, name in zip(sources, names, strict=True):
            number = len(texts)
            host = f"void launch_{number}(float* x) {{ {name}_{number}<<<dim3(4, 4), 256>>>(x, x, 3); }}\n"
            texts.append(source.replace(name, f"{name}_{number}") + host)
            total += texts[-1].count("\n")
    return "".join(texts)


def seconds(function: Callable[[], object]) -> float:
    start = time.thread_time()
    function()
    return time.thread_time() - start


def keystrokes(tree: SourceTree, line: int, column: int, first: str) -> list[float]:
    """Types ``first`` and then one character after the other at one place; seconds until the kernels are known."""
    tree.edit(line, column, line, column, first)
    tree.source  # noqa: B018 -- the first one opens the comment or the bracket
    times = []
    for typed in range(KEYSTROKES):
        at = column + len(first) + typed

        def key(at: int = at) -> None:
            tree.edit(line, at, line, at, "x")
            tree.source  # noqa: B018

        times.append(seconds(key))
    return times


def measure(text: str, language: Language) -> dict[str, float]:
    lines = text.split("\n")
    fresh = statistics.median(seconds(lambda: parse(text, language)) for _ in range(FRESH_READINGS))
    marker = "tl.load(" if language is Language.TRITON else "__syncthreads"
    line = next(n for n in range(len(lines) // 2, len(lines)) if marker in lines[n] and lines[n].startswith("    "))
    comment, bracket = ("# ", "f((") if language is Language.TRITON else ("// ", "{ ")
    column = len(lines[line].encode())
    tree = SourceTree(text, language)
    kernels = len(tree.source.kernels)
    healthy = keystrokes(tree, line, column, comment)
    tree = SourceTree(text, language)
    tree.source  # noqa: B018
    damaged = keystrokes(tree, line, column, bracket)
    result = {"lines": len(lines), "bytes": len(text.encode()), "kernels": kernels, "fresh_ms": fresh * 1e3}
    for name, times in (("healthy", healthy), ("damaged", damaged)):
        result[f"{name}_median_ms"] = statistics.median(times) * 1e3
        result[f"{name}_p95_ms"] = sorted(times)[int(0.95 * len(times))] * 1e3
        result[f"{name}_ratio_to_fresh"] = statistics.median(times) / fresh
    return result


def main() -> None:
    results = {
        "triton 5000": measure(corpus_text(5_000), Language.TRITON),
        "triton 50000": measure(corpus_text(50_000), Language.TRITON),
        "cuda 5000": measure(cuda_text(5_000), Language.CUDA),
        "cuda 50000": measure(cuda_text(50_000), Language.CUDA),
    }
    for name, result in results.items():
        print(name, {key: round(value, 3) for key, value in result.items()})
    report = {"python": platform.python_version(), "machine": platform.machine(), "results": results}
    path = ROOT / "benchmarks" / "results" / "corpus_kernels.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
