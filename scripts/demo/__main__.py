"""Drives the real server over stdio through the whole story on examples/softmax.py, as a person would see it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from editor import Editor
from jsonrpc import ServerError
from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.source.edit import unified_diff

ROOT = Path(__file__).resolve().parent.parent.parent
KERNEL = "softmax_kernel"
# On a GPU the confirmation of three finalists takes another minute (20 s each, seen on an H100).
BUDGET = os.environ.get("KERNEL_EVOLVE_DEMO_BUDGET", "40s,48c" if list_devices() else "60s,48c")
PATIENCE_S = 170.0
"""The story must be over by then; a run that is not is a failure of the demo, not a reason to wait."""

console = Console(width=118, highlight=False)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="kernel-evolve-demo-"))
    for name in ("softmax.py", "softmax.evolve.py"):
        shutil.copy(ROOT / "examples" / name, folder)
    try:
        asyncio.run(story(folder))
    except (AssertionError, TimeoutError, ServerError) as error:
        console.print(f"[bold red]The demo failed:[/] {error or type(error).__name__}")
        console.print(f"Its workspace is {folder}; the run's log is in {folder}/.kernel-evolve/logs/")
        return 1
    return 0


async def story(folder: Path) -> None:
    progress = Progress()
    editor = Editor(progress, {"python": str(judge_python()), "budget": BUDGET})
    source = folder / "softmax.py"
    environ = {"KERNEL_EVOLVE_KNOWLEDGE": f"sqlite:///{folder}/knowledge.sqlite"}
    await editor.start(folder, environ)
    try:
        await told(editor, progress, folder, source, environ)
    finally:
        # Whatever went wrong, no run stays behind; after a good end there is none to cancel.
        await editor.cancel_all()


async def told(editor: Editor, progress: Progress, folder: Path, source: Path, environ: dict[str, str]) -> None:
    chapter("Open softmax.py")
    editor.open(source)
    line = await kernel_line(editor)
    await show(editor)

    chapter("Evolve this kernel")
    action = chosen(await editor.actions(line), "Evolve this kernel")
    console.print(f"code action   {action['title']}")
    started = await editor.execute(action["command"])
    assert "runId" in started, f"the run did not start: {started}"
    run_id = editor.run_id = started["runId"]
    console.print(f"run           {run_id}\n")
    await until_ended(editor, progress)

    chapter("The verdict, on the kernel's own line")
    await show(editor)
    definition = next(i for i, text in enumerate(editor.text.splitlines()) if f"def {KERNEL}" in text)
    console.print(Markdown(await editor.hover(definition, len("def s"))))

    chapter("Apply")
    before = editor.text
    action = chosen(await editor.actions(line), "Apply")
    console.print(f"code action   {action['title']}\n")
    editor.apply((await editor.resolve(action))["edit"])
    console.print(Syntax(unified_diff(before, editor.text, "softmax.py"), "diff", background_color="default"))
    await show(editor)
    assert await editor.connection.close() == 0, "the server did not end cleanly"

    chapter("Verify the applied copy against the original, with new seeds")
    winner = folder / "softmax.winner.py"
    winner.write_text(editor.text, encoding="utf-8")
    verify(source, winner, environ)

    chapter("The run")
    kernel_evolve("show", run_id, "--workspace", str(folder), environ=environ)
    report = kernel_evolve("report", run_id, "--workspace", str(folder), environ=environ, capture=True).strip()
    assert Path(report).is_file(), "the report was not written"
    console.print(f"report        {report}")


class Progress:
    """Prints each new progress line with the time since the first."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.last = ""

    def __call__(self, message: str) -> None:
        text = message.rpartition(" · ")[0] or message
        if text != self.last:
            self.last = text
            console.print(f"  {time.monotonic() - self.started:5.1f} s  {message}", markup=False)


async def kernel_line(editor: Editor) -> int:
    """Where the first lens is, once there is one."""
    for _ in range(100):
        if lenses := await editor.lenses():
            return min(lenses)
        await asyncio.sleep(0.1)
    raise TimeoutError("no code lens appeared")


async def until_ended(editor: Editor, progress: Progress) -> None:
    """Wait for the lens to say how it ended."""
    deadline = time.monotonic() + PATIENCE_S
    busy = ("queued", "judging", "evolving", "verifying", "paused")
    while time.monotonic() < deadline:
        lenses = await editor.lenses()
        assert lenses, "the lens is gone"
        title = lenses[min(lenses)][0]
        if not title.startswith(busy):
            assert "×" in title, f"the run found nothing to apply: {title}"
            return
        await asyncio.sleep(0.3)
    raise TimeoutError(f"the run was not over after {PATIENCE_S:.0f} s ({progress.last})")


def chosen(actions: list[dict[str, Any]], title: str) -> dict[str, Any]:
    found = next((a for a in actions if a["title"].startswith(title)), None)
    assert found is not None, f"no code action starts with {title!r}; there are {[a['title'] for a in actions]}"
    return found


async def show(editor: Editor) -> None:
    """Print the kernel as an editor shows it: lenses above their lines, hints behind theirs, problems below."""
    lenses, hints = await editor.lenses(), await editor.inlays()
    problems = {d["range"]["start"]["line"]: d["message"] for d in editor.diagnostics.get(editor.uri, ())}
    lines = editor.text.splitlines()
    start = min(lenses, default=0)
    for number in range(start, min(start + 5, len(lines))):
        if number in lenses:
            console.print(f"      {' | '.join(lenses[number])}", style="bold cyan", markup=False)
        console.print(f"{number + 1:4}  {lines[number]}", markup=False, end="")
        console.print(f"   {hints[number]}" if number in hints else "", style="dim italic", markup=False)
        if number in problems:
            console.print(f"      ⚠ {problems[number]}", style="yellow", markup=False)
    console.print("   …\n", style="dim")


def verify(source: Path, winner: Path, environ: dict[str, str]) -> None:
    printed = kernel_evolve(
        "judge", str(source), "--candidate", str(winner), "--python", str(judge_python()), "--json",
        environ=environ, capture=True,
    )  # fmt: skip
    verdict = json.loads(printed)
    console.print(f"{verdict['correctness']}, {verdict['speed']}: {verdict['reason']}", markup=False)
    assert verdict["correctness"] == "correct", "the applied winner did not verify"


def kernel_evolve(*arguments: str, environ: dict[str, str], capture: bool = False) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "evolve_core", *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"kernel-evolve {arguments[0]} ended with exit code {finished.returncode}"
    return finished.stdout or ""


def judge_python() -> Path:
    """Where torch is: this environment, or the GPU machine's own interpreter that set-up has left alone."""
    if importlib.util.find_spec("torch"):
        return Path(sys.executable)
    return Path(sys.base_prefix) / "bin" / "python3"


def chapter(title: str) -> None:
    console.rule(f"[bold]{title}", align="left", style="dim")


if __name__ == "__main__":
    sys.exit(main())
