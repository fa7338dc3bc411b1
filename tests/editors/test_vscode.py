"""The story in the real VS Code workbench: code-server, a real browser, the packaged extension."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ARTIFACTS, BUDGET, CACHE, ROOT, SECONDS, check_applied, check_words, chromium, installed, node

if TYPE_CHECKING:
    from conftest import Story

pytestmark = pytest.mark.timeout(900)

SETTINGS = {
    "kernelEvolve.server.python": sys.executable,
    "kernelEvolve.python": sys.executable,
    "kernelEvolve.budget": BUDGET,
    "editor.minimap.enabled": False,
    "workbench.tips.enabled": False,
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "extensions.ignoreRecommendations": True,
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def code_server(story: Story, settings: dict[str, object]) -> Iterator[str]:
    """VS Code with our extension; yields the URL at which the workspace is open."""
    entry = installed(CACHE / "vscode" / "node_modules" / "code-server" / "out" / "node" / "entry.js")
    home = story.scratch / "code-server"
    user = home / "data" / "User"
    user.mkdir(parents=True)
    (user / "settings.json").write_text(json.dumps(settings))
    common = [
        str(node()),
        str(entry),
        *("--user-data-dir", str(home / "data")),
        *("--extensions-dir", str(home / "extensions")),
        *("--config", str(home / "config.yaml")),
    ]
    package = installed(CACHE / "kernel-evolve.vsix")
    subprocess.run(
        [*common, "--install-extension", str(package)],
        env=story.environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    port = free_port()
    options = [
        *("--auth", "none", "--bind-addr", f"127.0.0.1:{port}"),
        *("--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"),
        "--disable-getting-started-override",
    ]
    with (ARTIFACTS / "code-server.log").open("wb") as log:
        process = subprocess.Popen(
            [*common, *options],
            env=story.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}/?folder={story.workspace}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "code-server ended; see .artifacts/editors/code-server.log"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail("code-server does not answer; see .artifacts/editors/code-server.log")


def play(script: str, url: str, story: Story) -> dict[str, Any]:
    """Let the browser play a script of this folder; what it saw."""
    options = {
        "url": url,
        "chromium": str(chromium()),
        "profile": str(story.scratch / "chromium"),
        "modules": str(installed(CACHE / "vscode" / "node_modules")),
        "artifacts": str(ARTIFACTS),
        "seconds": SECONDS,
    }
    played = subprocess.run(
        [str(node()), str(ROOT / "tests" / "editors" / script), json.dumps(options)],
        env=story.environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS + 180,
    )
    assert played.returncode == 0, played.stderr
    seen: dict[str, Any] = json.loads(played.stdout.splitlines()[-1])
    return seen


def test_the_story(story: Story) -> None:
    before = story.source.read_text()
    with code_server(story, SETTINGS) as url:
        seen = play("vscode_story.mjs", url, story)
    run = check_applied(story, before)
    check_words(run, seen["verdict"], seen["inlay"], seen["hover"], seen["taken"])
    assert seen["idle"] == "Evolve"
    assert any(text.startswith("evolving") for text in seen["lenses"])
    assert "applied" in seen["after"]
    assert seen["notifications"] == []
    assert story.wait_for_no_process(20) == {}


def test_a_missing_server_is_said_once_and_says_what_to_do(story: Story) -> None:
    with code_server(story, {**SETTINGS, "kernelEvolve.server.python": "/usr/bin/false"}) as url:
        seen = play("vscode_without_server.mjs", url, story)
    assert len(seen["notifications"]) == 1
    assert "/usr/bin/false -m pip install kernel-evolve" in seen["notifications"][0]
    assert story.wait_for_no_process(20) == {}


def test_a_missing_task_is_written_by_a_click(story: Story) -> None:
    task = story.workspace / "swiglu.evolve.py"
    task.unlink()
    with code_server(story, SETTINGS) as url:
        seen = play("vscode_without_task.mjs", url, story)
    assert "swiglu.evolve.py" in seen["hover"]
    assert 'entry = "swiglu"' in task.read_text()
    assert seen["notifications"] == []
    assert story.wait_for_no_process(20) == {}
