"""How the server ends, and what must go on without it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from living_server import mentioning
from lsp_client import COMMAND, PATIENCE_SECONDS, Lsp

from evolve_core.journal.model import RunRecord
from evolve_core.journal.reader import JournalReader

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


def runs(workspace: Path) -> tuple[RunRecord, ...]:
    with closing(JournalReader(workspace)) as reader:
        return reader.runs()


async def eventually(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        await asyncio.sleep(0.05)


async def started_run(client: Lsp, source: Path, tmp_path: Path) -> str:
    """A run whose judge host is up (and will never answer)."""
    uri = client.open(source)
    run_id: str = (await client.command("start", uri=uri, kernel="softmax_kernel"))["runId"]
    await client.until_title(uri, lambda t: "judging your kernel" in t)
    await eventually(lambda: mentioning(str(tmp_path / "stubborn-python")), "a judge host")
    return run_id


def frame(message: dict[str, Any]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


INITIALIZE = frame(
    {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}}
)
INITIALIZED = frame({"method": "initialized", "params": {}})
SHUTDOWN = frame({"id": 2, "method": "shutdown"})
EXIT = frame({"method": "exit"})


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", 1),
        (INITIALIZE + INITIALIZED, 1),
        (INITIALIZE + b"Content-Length: 100\r\n\r\n{", 1),
        (INITIALIZE + INITIALIZED + SHUTDOWN, 0),
        (INITIALIZE + INITIALIZED + SHUTDOWN + EXIT, 0),
        (INITIALIZE + INITIALIZED + EXIT, 1),
        (EXIT, 1),
    ],
    ids=["nothing", "no-shutdown", "half-a-message", "shutdown", "shutdown-exit", "exit-alone", "exit-first"],
)
def test_the_end_of_the_input_ends_the_server(tmp_path: Path, sent: bytes, code: int) -> None:
    ended = subprocess.run(
        COMMAND, input=sent, capture_output=True, timeout=PATIENCE_SECONDS, cwd=tmp_path, check=False
    )
    assert ended.returncode == code
    assert ended.stdout.count(b'"id": 1') == sent.count(b'"id": 1')
    assert b"Traceback" not in ended.stderr


def test_a_device_as_input_ends_the_server(tmp_path: Path) -> None:
    """/dev/null opens like a pipe, and cannot be watched like one."""
    ended = subprocess.run(
        COMMAND, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECONDS, cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "Usage: kernel-evolve lsp"),
        (["--version"], 0, "kernel-evolve, version "),
        (["--tcp"], 2, "`--tcp` is not understood"),
        (["--log-level", "loud"], 2, "`--log-level loud` is not understood"),
    ],
)
def test_other_options_end_it_at_once(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Without a word on stdin, which stays open as a terminal's would."""
    command = [*COMMAND[:4], *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as server:
        assert server.wait(PATIENCE_SECONDS) == code
        assert server.stdout is not None and server.stderr is not None
        said, complained = server.stdout.read().decode(), server.stderr.read().decode()
    assert words in (said if code == 0 else complained)
    assert (complained if code == 0 else said) == ""


def test_signals_end_it(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as server:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(INITIALIZE)
            server.stdin.flush()
            server.stdout.readline()
            server.send_signal(number)
            assert server.wait(PATIENCE_SECONDS) == 128 + number


def test_requests_before_initialize_and_malformed_ones_are_refused(tmp_path: Path) -> None:
    hover = {"textDocument": {"uri": "file:///x.py"}, "position": {"line": 0, "character": 0}}
    early = frame({"id": 7, "method": "textDocument/hover", "params": hover})
    malformed = frame({"id": 8, "method": "textDocument/hover", "params": {"textDocument": 3}})
    sent = early + INITIALIZE + INITIALIZED + malformed + SHUTDOWN + EXIT
    ended = subprocess.run(
        COMMAND, input=sent, capture_output=True, timeout=PATIENCE_SECONDS, cwd=tmp_path, check=False
    )
    answers = {a["id"]: a for a in map(json.loads, _bodies(ended.stdout)) if "id" in a and "method" not in a}
    assert answers[7]["error"]["code"] == -32002
    assert answers[8]["error"]["code"] == -32602
    assert "result" in answers[1] and "result" in answers[2]


def _bodies(stream: bytes) -> list[bytes]:
    bodies = []
    while stream:
        header, _, rest = stream.partition(b"\r\n\r\n")
        length = int(header.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        bodies.append(rest[:length])
        stream = rest[length:]
    return bodies


STRAY = """
import ctypes, os, subprocess, sys
print("a stray print")
os.write(1, b"a stray write\\n")
ctypes.CDLL(None).puts(b"a stray puts"); ctypes.CDLL(None).fflush(None)
subprocess.run(["echo", "a stray child"])
assert sys.stdin.read() == "", "stdin is not the protocol's any more"
"""


def test_stray_output_never_reaches_the_client(tmp_path: Path) -> None:
    """Written by the server's own process, through every way there is, while it serves."""
    code = f"""
import sys
from evolve_server import server
begin = server.EvolveServer.begin
def stray(self):
    exec({STRAY!r})
    begin(self)
server.EvolveServer.begin = stray
server.serve([])
"""
    sent = INITIALIZE + INITIALIZED + SHUTDOWN + EXIT
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, input=sent, capture_output=True, timeout=PATIENCE_SECONDS, cwd=tmp_path, check=False
    )
    assert ended.returncode == 0
    assert b"stray" not in ended.stdout
    for way in (b"print", b"write", b"puts", b"child"):
        assert b"a stray " + way in ended.stderr
    assert [json.loads(body).get("id") for body in _bodies(ended.stdout) if b'"result"' in body] == [1, 2]


async def test_shutdown_leaves_the_run_alone(serve: Serve, workspace: Path, source: Path, stubborn: str) -> None:
    client = await serve(options={"python": stubborn})
    run_id = await started_run(client, source, workspace.parent)
    assert await client.stop() == 0
    [run] = runs(workspace)
    assert run.run_id == run_id and not run.state.is_final and run.state.value != "interrupted"
    # A later server takes it up, and its cancel reaches the end of every child.
    again = await serve()
    uri = again.open(source)
    await again.until_title(uri, lambda t: "judging your kernel" in t)
    family = mentioning(run_id) | mentioning(stubborn)
    assert len(family) >= 2
    await again.command("cancel", uri=uri, kernel="softmax_kernel")
    await eventually(lambda: not (mentioning(run_id) | mentioning(stubborn)), "without children")
    assert await again.until_title(uri, lambda t: t == "Evolve") == ["Evolve"]
    await eventually(lambda: runs(workspace)[0].state.value == "cancelled", "cancelled in the journal")


async def test_sigkill_of_the_server_leaves_the_run_alone(
    serve: Serve, workspace: Path, source: Path, stubborn: str
) -> None:
    client = await serve(options={"python": stubborn})
    run_id = await started_run(client, source, workspace.parent)
    await client.kill()
    assert mentioning(run_id)
    again = await serve()
    uri = again.open(source)
    await again.until("$/progress", lambda p: p["value"]["kind"] == "begin")
    await again.command("cancel", runId=run_id)
    await eventually(lambda: not (mentioning(run_id) | mentioning(stubborn)), "without children")
    await again.until_title(uri, lambda t: t == "Evolve")


async def test_a_child_that_ignores_sigterm_is_ended_by_cancel(
    serve: Serve, workspace: Path, source: Path, stubborn: str
) -> None:
    client = await serve(options={"python": stubborn})
    run_id = await started_run(client, source, workspace.parent)
    family = mentioning(run_id) | mentioning(stubborn)
    await client.command("cancel", runId=run_id)
    await eventually(lambda: not (mentioning(run_id) | mentioning(stubborn)), "without children")
    assert family
    await client.until_title(client.open(source), lambda t: t == "Evolve")


async def test_a_runner_killed_from_outside_is_interrupted(
    serve: Serve, workspace: Path, source: Path, stubborn: str
) -> None:
    client = await serve(options={"python": stubborn})
    await started_run(client, source, workspace.parent)
    [run] = runs(workspace)
    os.kill(run.pid, signal.SIGKILL)
    titles = await client.until_title(source.as_uri(), lambda t: "interrupted" in t)
    assert titles == ["interrupted after 0/200: resume", "cancel"]


async def test_two_servers_show_one_run(serve: Serve, workspace: Path, source: Path, stubborn: str) -> None:
    first, second = await serve(options={"python": stubborn}), await serve()
    run_id = await started_run(first, source, workspace.parent)
    uri = second.open(source)
    await second.until_title(uri, lambda t: "judging your kernel" in t)
    answer = await second.command("start", uri=uri, kernel="softmax_kernel")
    assert (answer["runId"], answer["alreadyRunning"]) == (run_id, True)
    await second.command("cancel", runId=run_id)
    for client in (first, second):
        assert await client.until_title(uri, lambda t: t == "Evolve") == ["Evolve"]


async def test_an_interrupted_run_is_resumed_by_its_lens(
    serve: Serve, workspace: Path, source: Path, stubborn: str
) -> None:
    client = await serve(options={"python": stubborn})
    run_id = await started_run(client, source, workspace.parent)
    [run] = runs(workspace)
    os.kill(run.pid, signal.SIGKILL)
    uri = source.as_uri()
    await client.until_title(uri, lambda t: "interrupted" in t)
    [lens, _] = await client.lenses(uri)
    command = {key: lens["command"][key] for key in ("command", "arguments")}
    assert await client.request("workspace/executeCommand", command) == {"runId": run_id}
    await client.until_title(uri, lambda t: "judging your kernel" in t)
    [again] = runs(workspace)
    assert again.run_id == run_id and again.pid != run.pid
    await client.command("cancel", runId=run_id)
    await eventually(lambda: not mentioning(run_id), "without a runner")
