"""Measure the server against its budgets: ``python -m benchmarks.server [--rounds N]``.

Every figure stands beside the same one of a null pygls server measured in the same run, turn by turn, so that a busy
machine slows both. Nothing here judges kernels: the runs are rows of a journal that this process writes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.server.wire import NULL, OURS, Server
from evolve_core.journal.lock import runner_lock
from evolve_core.journal.model import RunSpec, RunState
from evolve_core.journal.writer import JournalWriter
from evolve_core.propose.proposal import Proposal, Step
from evolve_core.source.model import Kernel, Language
from evolve_core.source.parse import parse

EXAMPLES = Path(__file__).parents[2] / "examples"
ACTIVE_RUNS = 8
LINES = 5_000


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.server")
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-bench-") as folder:
        root = Path(folder)
        for name in ("softmax.py", "softmax.evolve.py"):
            shutil.copy(EXAMPLES / name, root / name)
        big = root / "big.py"
        big.write_text(five_thousand_lines())
        start_to_initialize(root, rounds)
        keystrokes(root, big, rounds)
        reads_with_active_runs(root, big, rounds)
        start_and_shutdown(root, rounds)


def five_thousand_lines() -> str:
    """With as many kernels as there will be runs: a kernel has one at a time."""
    kernel = (EXAMPLES / "softmax.py").read_text()
    _, mark, code = kernel.partition("@triton.jit")
    more = "\n\n".join(
        (mark + code).replace("softmax_kernel", f"softmax_kernel_{n}").replace("def softmax(", f"def softmax_{n}(")
        for n in range(1, ACTIVE_RUNS)
    )
    filler = "\n".join(
        f"def helper_{i}(x, y={i}):\n    z = x + y * {i}\n    return [z, x, y]\n" for i in range(LINES // 4)
    )
    return "\n\n".join((kernel, more, filler))


def start_to_initialize(root: Path, rounds: int) -> None:
    """Spawn → answer to ``initialize``; then the memory once the server has settled."""
    ours: list[float] = []
    null: list[float] = []
    memory: list[float] = []
    for _ in range(rounds):
        for command, found in ((NULL, null), (OURS, ours)):
            server = Server(command, root)
            found.append(server.initialize_seconds)
            if command is OURS:
                server.open(root / "softmax.py")
                server.request("textDocument/hover", _hover(root / "softmax.py"))
                time.sleep(1.5)
                memory.append(server.resident_bytes())
            server.kill()
    ratio = statistics.median(ours) / statistics.median(null)
    say("start → initialize", f"{_ms(ours)} (null {_ms(null)})", f"ratio {ratio:.2f}", "≤ 1.30")
    say("idle memory, one file open", f"{statistics.median(memory) / 1e6:.0f} MB", "", "≤ 60 MB")


def keystrokes(root: Path, big: Path, rounds: int) -> None:
    """One typed character → the diagnostics that answer it, in a kernel of a 5,000-line file."""
    seconds = {command: _keystrokes(command, root, big, 40 * rounds) for command in (NULL, OURS)}
    report("keystroke → diagnostics, 5,000 lines, p95", seconds[OURS], seconds[NULL], "≤ 30 ms")


def _keystrokes(command: tuple[str, ...], root: Path, big: Path, count: int) -> list[float]:
    server = Server(command, root)
    uri = server.open(big)
    server.request("textDocument/hover", _hover(big))
    time.sleep(1.0)
    found = []
    for version in range(2, count + 2):
        # "(" behind the kernel's name breaks it, the next keystroke mends it: each one changes the diagnostics.
        broken = version % 2 == 0
        start, end = {"line": 8, "character": 18}, {"line": 8, "character": 18 if broken else 19}
        change = {"range": {"start": start, "end": end}, "text": "(" if broken else ""}
        document = {"uri": uri, "version": version}
        started = time.perf_counter()
        server.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})
        server.read_until(lambda message, version=version: _is_answer(message, version))
        found.append(time.perf_counter() - started)
        time.sleep(0.005)
    server.kill()
    return found


def _is_answer(message: dict[str, Any], version: int) -> bool:
    return message.get("method") == "textDocument/publishDiagnostics" and message["params"].get("version") == version


def reads_with_active_runs(root: Path, big: Path, rounds: int) -> None:
    """Lens, hover, inlay hint and action on a 5,000-line file while eight runs write the journal."""
    ours: dict[str, list[float]] = {}
    with active_runs(root, big):
        server, null = Server(OURS, root), Server(NULL, root)
        uri = server.open(big)
        null.open(big)
        time.sleep(2.0)
        everything = {"start": {"line": 0, "character": 0}, "end": {"line": LINES, "character": 0}}
        document = {"textDocument": {"uri": uri}}
        requests = {
            "textDocument/codeLens": document,
            "textDocument/hover": _hover(big),
            "textDocument/inlayHint": {**document, "range": everything},
            "textDocument/codeAction": {**document, "range": everything, "context": {"diagnostics": []}},
        }
        null_seconds = []
        for _ in range(40 * rounds):
            for method, params in requests.items():
                ours.setdefault(method, []).append(server.timed(method, params))
            null_seconds.append(null.timed("textDocument/hover", _hover(big)))
            time.sleep(random.uniform(0.0, 0.01))
        server.kill()
        null.kill()
    for method, seconds in ours.items():
        report(f"{method}, {ACTIVE_RUNS} runs active, p95", seconds, null_seconds, "≤ 20 ms")


def start_and_shutdown(root: Path, rounds: int) -> None:
    """The start command, and leaving with the run active. The runner's interpreter waits and never answers."""
    waiting = root / "waiting-python"
    waiting.write_text("#!/bin/sh\nexec sleep 600\n")
    waiting.chmod(0o755)
    starts, cancels, stops = [], [], []
    for _ in range(max(3, rounds // 2)):
        server = Server(OURS, root, {"python": str(waiting)})
        uri = server.open(root / "softmax.py")
        time.sleep(1.0)
        target = {"uri": uri, "kernel": "softmax_kernel"}
        starts.append(
            server.timed("workspace/executeCommand", {"command": "kernelEvolve.start", "arguments": [target]})
        )
        time.sleep(2.0)
        again = Server(OURS, root)
        again.open(root / "softmax.py")
        stops.append(server.stop())
        time.sleep(1.0)
        cancels.append(
            again.timed("workspace/executeCommand", {"command": "kernelEvolve.cancel", "arguments": [target]})
        )
        time.sleep(3.0)
        again.kill()
    say("start command", _ms(starts), "", "≤ 50 ms")
    say("cancel command (answer)", _ms(cancels), "", "")
    say("shutdown with a run active", _ms(stops), "", "≤ 500 ms")


@contextmanager
def active_runs(root: Path, source: Path) -> Iterator[None]:
    """Eight runs, each of another kernel of one file and judged some ten times a second, while the block lasts."""
    stop = threading.Event()
    text = source.read_text()
    kernels = parse(text, Language.TRITON).kernels[:ACTIVE_RUNS]
    assert len(kernels) == ACTIVE_RUNS
    with ExitStack() as stack:
        for number in range(ACTIVE_RUNS):
            stack.enter_context(runner_lock(root, f"bench-{number}"))
        pool = stack.enter_context(ThreadPoolExecutor(ACTIVE_RUNS))
        runs = [pool.submit(_run, root, source, text, kernel, n, stop) for n, kernel in enumerate(kernels)]
        try:
            yield
        finally:
            stop.set()
        for run in runs:
            run.result()


def _run(root: Path, source: Path, text: str, kernel: Kernel, number: int, stop: threading.Event) -> None:
    names = (kernel.qualified_name,), (kernel.version,)
    spec = RunSpec(str(source), *names, text, "", "softmax", "sm_90", 1, budget_candidates=10_000)
    with closing(JournalWriter(root)) as journal:
        run_id = f"bench-{number}"
        journal.create_run(run_id, spec, 1)
        journal.set_state(run_id, RunState.EVOLVING)
        while not stop.wait(0.1):
            journal.add_candidate(run_id, Proposal(text, "bench", (Step("tune", "launch"),)))
        journal.set_state(run_id, RunState.CANCELLED)


def report(what: str, ours: list[float], null: list[float], budget: str) -> None:
    ratio = _p95(ours) / _p95(null)
    say(what, f"{_p95(ours) * 1e3:.1f} ms (null {_p95(null) * 1e3:.1f} ms)", f"ratio {ratio:.2f}", budget)


def say(what: str, figure: str, ratio: str, budget: str) -> None:
    print(f"{what:55} {figure:32} {ratio:12} {f'budget {budget}' if budget else ''}".rstrip(), flush=True)


def _hover(path: Path) -> dict[str, object]:
    return {"textDocument": {"uri": path.as_uri()}, "position": {"line": 8, "character": 6}}


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"


if __name__ == "__main__":
    main()
