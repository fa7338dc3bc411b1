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
from typing import TYPE_CHECKING

import pytest
from conftest import ARTIFACTS, BUDGET, CACHE, ROOT, chromium, installed, node

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Story

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


def drive(script: Path, url: str, story: Story, seconds: int) -> dict[str, object]:
    """Let the browser play the script; what it saw."""
    options = {
        "url": url,
        "chromium": str(chromium()),
        "profile": str(story.scratch / "chromium"),
        "modules": str(installed(CACHE / "vscode" / "node_modules")),
        "artifacts": str(ARTIFACTS),
        "seconds": seconds,
    }
    played = subprocess.run(
        [str(node()), str(script), json.dumps(options)],
        env=story.environment,
        capture_output=True,
        text=True,
        timeout=seconds + 180,
    )
    assert played.returncode == 0, played.stderr
    seen: dict[str, object] = json.loads(played.stdout.splitlines()[-1])
    return seen
