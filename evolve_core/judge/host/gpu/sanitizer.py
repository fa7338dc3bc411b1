"""NVIDIA's compute-sanitizer: where it is, and how it is run over a job (sanitized.py).

Its log goes to a file of its own, since what a kernel prints goes to standard output; sanitizer_log.py reads it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import Any

from .cuda_compiler import toolkits
from .sanitized import REPORT
from .sanitizer_log import Tool, Watched, judged

LOG = "log.txt"
_HELP_S = 10.0
_MOST_PRINTED = 20


_OPTIONS = {
    Tool.MEMCHECK: ("--report-api-errors=no",),
    Tool.RACECHECK: ("--racecheck-memcpy-async=no", "--check-bulk-copy=no", "--racecheck-num-workers=4"),
}
"""Passed where this version has them. What is copied asynchronously into shared memory is put in order by barriers that
the tool does not always follow, so that a bulk copy behind a correct mbarrier may be reported as a race."""


def find_sanitizer() -> Path | None:
    """On PATH, in a toolkit, or in a wheel beside torch (nvidia-cuda-sanitizer-api); None where there is none."""
    on_path = shutil.which("compute-sanitizer")
    wheels = [
        path
        for root in sys.path
        if root
        for pattern in ("nvidia/*/compute-sanitizer/compute-sanitizer", "nvidia/*/bin/compute-sanitizer")
        for path in sorted(Path(root).glob(pattern), reverse=True)
    ]
    toolkit = [*toolkits("compute-sanitizer/compute-sanitizer"), *toolkits("bin/compute-sanitizer")]
    found = [*([Path(on_path)] if on_path else []), *toolkit, *wheels]
    return next((path for path in found if os.access(path, os.X_OK)), None)


def watch(sanitizer: Path, tools: Sequence[Tool], job: Path, seconds: float) -> dict[Tool, Watched]:
    """Carry out the job in the folder ``job`` (sanitized.py) under each of the tools, beside each other.

    What is not done after ``seconds`` is killed.
    """
    deadline = time.monotonic() + seconds
    running: dict[Tool, subprocess.Popen[bytes] | None] = {}
    try:
        for tool in tools:
            running[tool] = _started(sanitizer, tool, job, seconds)
        return {tool: _watched(tool, process, job / tool, deadline, seconds) for tool, process in running.items()}
    finally:
        for process in running.values():
            _end(process)


def command(sanitizer: Path, tool: Tool, job: Path, seconds: float) -> list[str]:
    """The command line of one tool over the job."""
    known = _help(sanitizer)
    offered = [option for option in _OPTIONS[tool] if option.partition("=")[0] in known]
    host = Path(__file__).resolve().parents[1] / "__main__.py"
    return [
        str(sanitizer),
        f"--tool={tool}",
        f"--log-file={job / tool / LOG}",
        "--target-processes=application-only",
        "--show-backtrace=no",
        "--demangle=simple",
        f"--print-limit={_MOST_PRINTED}",
        *offered,
        # Isolated and without site: it needs the standard library alone.
        *(sys.executable, "-I", "-S", str(host), "--sanitized", str(job), str(job / tool), str(seconds)),
    ]


@cache
def _help(sanitizer: Path) -> str:
    """Its options: one that a version does not know ends it."""
    try:
        told = subprocess.run([str(sanitizer), "--help"], capture_output=True, text=True, timeout=_HELP_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout


def _started(sanitizer: Path, tool: Tool, job: Path, seconds: float) -> subprocess.Popen[bytes] | None:
    folder = job / tool
    folder.mkdir()
    with (folder / "output.txt").open("wb") as output:
        try:
            # A session of its own: the tool and what it runs are killed as one.
            return subprocess.Popen(
                command(sanitizer, tool, job, seconds),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError:
            return None


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """The tool and what it watches, unless it has ended: it waits for that itself."""
    if process is not None and process.poll() is None:
        os.killpg(process.pid, SIGKILL)
        process.wait()


def _watched(
    tool: Tool, process: subprocess.Popen[bytes] | None, folder: Path, deadline: float, seconds: float
) -> Watched:
    if process is None:
        return Watched(why_not=f"{tool} cannot be started")
    late = ""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        _end(process)
        late = f"{tool} took longer than {seconds:.0f} s"
    seen = judged(tool, _text(folder / LOG), _report(folder), _text(folder / "output.txt"))
    return Watched(why_not=late) if late and not seen.findings else seen


def _report(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / REPORT).read_text()))
    except (OSError, ValueError):
        return {}


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
