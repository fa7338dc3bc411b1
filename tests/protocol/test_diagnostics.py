"""What is published, where, and how loud."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inline_snapshot import snapshot
from journals import ended_run, spec
from lsp_client import COMMAND, PLAIN, VSCODE, Lsp, ResponseError
from lsprotocol import types

from evolve_core.journal.model import TASK_WARNING, RunState
from evolve_server.background import Background
from evolve_server.documents import open_document
from evolve_server.view import View

Serve = Callable[..., Coroutine[Any, Any, Lsp]]
HINT, INFORMATION, WARNING = 4, 3, 2


def brief(diagnostics: list[dict[str, Any]]) -> list[tuple[int, int, str, str]]:
    return [(d["range"]["start"]["line"], d["severity"], d["code"], d["message"]) for d in diagnostics]


async def test_a_missing_task_is_a_hint_at_the_kernel(serve: Serve, workspace: Path, source: Path) -> None:
    (workspace / "softmax.evolve.py").unlink()
    client = await serve()
    uri = client.open(source)
    [found] = await client.until_diagnostics(uri, bool)
    assert (found["severity"], found["code"], found["source"]) == (HINT, "task-missing", "kernel-evolve")
    assert found["range"] == {"start": {"line": 8, "character": 4}, "end": {"line": 8, "character": 18}}
    assert found["data"] == {"kernel": "softmax_kernel"}
    assert found["codeDescription"]["href"].endswith("docs/protocol.md#diagnostics")
    assert (await client.titles(uri))[0] == "Evolve: write a task file first…"


async def test_writing_the_task_file_through_the_editor(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    task_file.unlink()
    client = await serve()
    uri = client.open(source)
    await client.until_diagnostics(uri, bool)
    action = await client.action(uri, 8, "Write task file for `softmax_kernel`")
    resolved = await client.request("codeAction/resolve", action)
    create, fill = resolved["edit"]["documentChanges"]
    assert create["kind"] == "create" and create["uri"] == task_file.as_uri()
    assert 'entry = "softmax"' in fill["edits"][0]["newText"]
    # The editor creates it on disk and opens it; the hint goes without a word from the client about files.
    task_file.write_text(fill["edits"][0]["newText"])
    await client.until_diagnostics(uri, lambda found: not found)


async def test_writing_the_task_file_for_a_plain_client(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    task_file.unlink()
    client = await serve(PLAIN)
    uri = client.open(source)
    await client.until_diagnostics(uri, bool)
    assert await client.command("createTask", uri=uri, kernel="softmax_kernel") == {"uri": task_file.as_uri()}
    assert 'entry = "softmax"' in task_file.read_text()
    await client.until_diagnostics(uri, lambda found: not found)
    with pytest.raises(ResponseError, match=r"softmax\.softmax_kernel\.evolve\.py|exists"):
        for _ in range(2):
            await client.command("createTask", uri=uri, kernel="softmax_kernel")


async def test_a_task_file_that_does_not_fit_leaves_nothing(serve: Serve, workspace: Path, source: Path) -> None:
    """A limit on the size of files stands in for a full disk, which takes root to make."""
    task_file = workspace / "softmax.evolve.py"
    task_file.unlink()
    before = sorted(path.name for path in workspace.iterdir())
    client = await serve(PLAIN, command=("bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *COMMAND))
    uri = client.open(source)
    await client.until_diagnostics(uri, bool)
    with pytest.raises(ResponseError) as failed:
        await client.command("createTask", uri=uri, kernel="softmax_kernel")
    assert failed.value.message == (
        f"{task_file} was not written: it would be larger than files may be here (ulimit -f). "
        "Raise that limit, then try again."
    )
    assert sorted(path.name for path in workspace.iterdir()) == before


async def test_an_editor_that_cannot_create_the_task_file_is_quoted(
    serve: Serve, workspace: Path, source: Path
) -> None:
    (workspace / "softmax.evolve.py").unlink()
    client = await serve(VSCODE)
    client.answers["workspace/applyEdit"] = {"applied": False, "failureReason": "no space left"}
    uri = client.open(source)
    await client.until_diagnostics(uri, bool)
    with pytest.raises(ResponseError) as failed:
        await client.command("createTask", uri=uri, kernel="softmax_kernel")
    assert failed.value.message == (
        "The editor did not create softmax.evolve.py (no space left); nothing was changed. "
        f"See whether {workspace} can be written and has space, then try again."
    )


async def test_an_entry_that_does_not_exist_is_said_in_both_files(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    task_file.write_text(task_file.read_text().replace('entry = "softmax"', 'entry = "sotfmax"'))
    client = await serve()
    uri = client.open(source)
    [at_kernel] = await client.until_diagnostics(uri, bool)
    assert (at_kernel["severity"], at_kernel["code"]) == (WARNING, "task-entry-not-found")
    assert at_kernel["range"]["start"]["line"] == 8
    [in_task] = await client.until_diagnostics(task_file.as_uri(), bool)
    assert in_task["range"]["start"]["line"] == 2
    assert in_task["message"] == at_kernel["message"]
    assert "softmax" in in_task["message"]
    assert (await client.titles(uri))[0] == "Evolve: the task file has a problem"
    with pytest.raises(ResponseError, match=r"softmax\.evolve\.py:3: .*sotfmax"):
        await client.command("start", uri=uri, kernel="softmax_kernel")


async def test_a_task_file_is_followed_as_it_is_typed(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    text = task_file.read_text()
    client = await serve()
    uri, task_uri = client.open(source), client.open(task_file)
    await client.until_title(uri, lambda t: t == "Evolve")
    client.change(task_uri, 2, {"text": text.replace("def workloads():", "def workloads(:")})
    [broken] = await client.until_diagnostics(task_uri, bool)
    assert broken["code"] == "task-syntax"
    await client.until_diagnostics(uri, bool)
    client.change(task_uri, 3, {"text": text})
    await client.until_diagnostics(task_uri, lambda found: not found)
    await client.until_diagnostics(uri, lambda found: not found)
    # Closed without saving: what counts again is the disk.
    client.change(task_uri, 4, {"text": ""})
    await client.until_diagnostics(uri, bool)
    client.notify("textDocument/didClose", {"textDocument": {"uri": task_uri}})
    await client.until_diagnostics(uri, lambda found: not found)


async def test_a_task_file_opened_alone(serve: Serve, workspace: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    client = await serve()
    uri = client.open(task_file, 'entry = "nothing_of_that_name"\n\ndef workloads():\n    yield lambda g, d: {}\n')
    [found] = await client.until_diagnostics(uri, bool)
    assert found["code"] == "task-entry-not-found"
    assert await client.titles(uri) == []


async def test_files_changed_behind_a_plain_client_are_noticed(serve: Serve, workspace: Path, source: Path) -> None:
    """A checkout in a terminal: no client, no event, nothing but the disk."""
    task_file = workspace / "softmax.evolve.py"
    good = task_file.read_text()
    client = await serve(PLAIN)
    uri = client.open(source)
    await client.until_title(uri, lambda t: t == "Evolve")
    task_file.unlink()
    await client.until_diagnostics(uri, lambda found: bool(found) and found[0]["code"] == "task-missing")
    task_file.write_text("entry = 3\n" + good)
    await client.until_diagnostics(uri, lambda found: not found or found[0]["code"] != "task-missing")


async def test_watched_files_are_asked_for_and_heeded(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve(VSCODE)
    uri = client.open(source)
    registered = await client.until("client/registerCapability", lambda _: True)
    [registration] = registered["registrations"]
    assert [w["globPattern"] for w in registration["registerOptions"]["watchers"]] == ["**/*.py", "**/*.cu", "**/*.cuh"]
    task_file = workspace / "softmax.evolve.py"
    task_file.unlink()
    change = {"uri": task_file.as_uri(), "type": 3}
    client.notify("workspace/didChangeWatchedFiles", {"changes": [change]})
    await client.until_diagnostics(uri, bool)


async def test_a_failed_run_is_said_at_the_kernel_until_it_is_edited(
    serve: Serve, workspace: Path, source: Path
) -> None:
    reason = "Your kernel does not end: softmax_kernel on x=float32[7,781] was stopped after 30 s."
    ended_run(workspace, spec(source), state=RunState.FAILED, reason=reason)
    client = await serve()
    uri = client.open(source)
    assert brief(await client.until_diagnostics(uri, bool)) == [(8, WARNING, "run-failed", reason)]
    client.change(uri, 2, {"text": source.read_text().replace("tl.exp(x)", "tl.exp(x) + 0")})
    await client.until_diagnostics(uri, lambda found: not found)


@pytest.mark.parametrize(
    "reason",
    [
        "The task module raised: softmax.evolve.py:7: NameError: name 'rows' is not defined. Mend it, start again.",
        "softmax.evolve.py workloads() raised: line 7: NameError: name 'nonsense_name' is not defined",
        "softmax.evolve.py:7: unverified: this tolerance has no teeth. A wrong kernel would pass, zeros (out): …",
        "softmax.evolve.py does not import: line 7: ModuleNotFoundError: No module named 'nothing_here'",
    ],
)
async def test_a_task_that_raises_is_said_in_the_task_file_too(
    serve: Serve, workspace: Path, source: Path, reason: str
) -> None:
    ended_run(workspace, spec(source), state=RunState.FAILED, reason=reason)
    client = await serve()
    uri = client.open(source)
    task_uri = (workspace / "softmax.evolve.py").as_uri()
    assert brief(await client.until_diagnostics(uri, bool)) == [(8, WARNING, "run-failed", reason)]
    assert brief(await client.until_diagnostics(task_uri, bool)) == [(6, WARNING, "task-raised", reason)]
    # Once the task file has been written again, its old failure says nothing any more.
    (workspace / "softmax.evolve.py").write_text((workspace / "softmax.evolve.py").read_text() + "\n")
    await client.until_diagnostics(task_uri, lambda found: not found)
    await client.until_diagnostics(uri, lambda found: not found)


async def test_a_weak_task_is_said_at_the_kernel_until_it_is_edited(
    serve: Serve, workspace: Path, source: Path
) -> None:
    weak = "input x never moves reference(), so that a candidate could ignore it"
    ended_run(workspace, spec(source), environment=(("target", "sm_90"), (TASK_WARNING, weak)))
    client = await serve()
    uri = client.open(source)
    assert brief(await client.until_diagnostics(uri, bool)) == [(8, WARNING, "task-weak", weak)]
    task_file = workspace / "softmax.evolve.py"
    task_file.write_text(task_file.read_text() + "\n")
    await client.until_diagnostics(uri, lambda found: not found)


async def test_syntax_errors_are_mentioned_once_and_quietly(serve: Serve, source: Path) -> None:
    """Python's own servers report them; ours says only that what it shows is older than the text."""
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: t == "Evolve")
    broken = source.read_text().replace("def softmax_kernel(x_ptr", "def softmax_kernel(((x_ptr")
    client.change(uri, 2, {"text": broken})
    assert (await client.titles(uri))[0] == "Evolve"
    [found] = await client.until_diagnostics(uri, bool)
    assert (found["severity"], found["code"]) == (INFORMATION, "syntax")
    client.change(uri, 3, {"text": source.read_text()})
    await client.until_diagnostics(uri, lambda found: not found)


async def test_a_binary_file_says_what_to_do_with_it(serve: Serve, workspace: Path) -> None:
    path = workspace / "weights.py"
    path.write_bytes(b"\x7fELF\x02\x01\x01\0" * 1000)
    client = await serve()
    [found] = await client.until_diagnostics(client.open(path, path.read_bytes().decode("latin-1")), bool)
    assert found["message"] == snapshot(
        "this file holds NUL bytes: it is not source text, so it was not searched for kernels; save it as UTF-8 if it is meant to be source, or give it another suffix if it is data"  # noqa: E501
    )


async def test_errors_far_from_kernels_are_left_to_others(serve: Serve, source: Path) -> None:
    client = await serve()
    uri = client.open(source, source.read_text() + "\n\ndef unrelated(:\n    pass\n")
    assert (await client.titles(uri))[0] == "Evolve"
    await client.request("kernelEvolve/health", {})
    assert [d for d in client.diagnostics(uri) if d["code"] == "syntax"] == snapshot([])


async def test_everything_goes_when_the_file_is_closed(serve: Serve, workspace: Path, source: Path) -> None:
    task_file = workspace / "softmax.evolve.py"
    task_file.write_text('entry = "nope"\ndef workloads():\n    yield\n')
    client = await serve()
    uri = client.open(source)
    await client.until_diagnostics(uri, bool)
    await client.until_diagnostics(task_file.as_uri(), bool)
    client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    await client.until_diagnostics(uri, lambda found: not found)
    await client.until_diagnostics(task_file.as_uri(), lambda found: not found)


async def test_an_open_task_file_is_called_what_the_client_calls_it(serve: Serve, workspace: Path) -> None:
    """Neovim leaves parentheses alone, VS Code escapes them: a second name would be a second file to the client."""
    folder = workspace / "a (copy)"
    folder.mkdir()
    for name in ("softmax.py", "softmax.evolve.py"):
        (folder / name).write_text((workspace / name).read_text().replace('entry = "softmax"', 'entry = "nope"'))
    client = await serve()
    uri = f"file://{folder}/softmax.evolve.py".replace(" ", "%20")
    item = {"uri": uri, "languageId": "python", "version": 1, "text": (folder / "softmax.evolve.py").read_text()}
    client.notify("textDocument/didOpen", {"textDocument": item})
    client.open(folder / "softmax.py")
    [found] = await client.until_diagnostics(uri, bool)
    assert found["code"] == "task-entry-not-found"


async def test_a_document_closed_while_its_task_was_looked_for_leaves_nothing(workspace: Path, source: Path) -> None:
    broken = workspace / "softmax.evolve.py"
    for path in (source, broken):
        item = types.TextDocumentItem(path.as_uri(), "python", 1, path.read_text())
        document = open_document(item)
        view = View(documents={document.uri: document})
        app: Any = SimpleNamespace(
            view=view, document=view.documents.get, stale_tasks={document.uri}, lone_task_problems={}
        )
        background = Background(app)

        async def close_meanwhile(
            function: Callable[..., Any], *arguments: Any, uri: str = document.uri, view: View = view
        ) -> Any:
            found = function(*arguments)
            del view.documents[uri]
            return found

        background.off_loop = close_meanwhile  # type: ignore[method-assign]
        await background._find_tasks()
        assert document.uri not in view.documents
        assert (view.tasks, app.lone_task_problems) == ({}, {})
