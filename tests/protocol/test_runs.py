"""Starting, watching and stopping runs, through the commands and the progress display."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from journals import Winner, active_run, add_best, ended_run, faster, judge_candidates, spec
from lsp_client import NEOVIM, PLAIN, VSCODE, Lsp, ResponseError

from evolve_core import __version__
from evolve_core.journal.model import Control, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.schema import journal_file

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


def control_of(workspace: Path, run_id: str) -> Control:
    with closing(JournalReader(workspace)) as reader:
        run = reader.run(run_id)
    assert run is not None
    return run.control


async def test_progress_from_begin_to_end(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    client.open(source)
    with active_run(workspace, spec(source)) as journal:
        created = await client.until("window/workDoneProgress/create", lambda _: True)
        begin = await client.until("$/progress", lambda p: p["value"]["kind"] == "begin")
        assert begin["token"] == created["token"] == "kernel-evolve/run-1"
        assert begin["value"]["title"] == "Evolving softmax_kernel"
        assert begin["value"]["cancellable"] is True
        assert "percentage" not in begin["value"]
        judge_candidates(journal, "run-1", 2)
        report = await client.until("$/progress", lambda p: "2/200" in p["value"].get("message", ""))
        assert report["value"]["kind"] == "report"
        journal.set_state("run-1", RunState.DONE, "No gain: 2 candidates judged, none better than yours.")
    end = await client.until("$/progress", lambda p: p["value"]["kind"] == "end")
    assert end["value"]["message"] == "No gain: 2 candidates judged, none better than yours."


async def test_progress_that_ends_with_a_winner_says_estimated(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    client.open(source)
    with active_run(workspace, spec(source)) as journal:
        await client.until("$/progress", lambda p: p["value"]["kind"] == "begin")
        add_best(journal, "run-1", Winner(faster(source.read_text())))
        journal.set_state("run-1", RunState.DONE, "exp → exp2")
    end = await client.until("$/progress", lambda p: p["value"]["kind"] == "end")
    assert end["value"]["message"] == "1.38× faster (estimated)"


async def test_a_run_that_another_process_started_is_told_to_the_client(
    serve: Serve, workspace: Path, source: Path
) -> None:
    client = await serve()
    client.open(source)
    with active_run(workspace, spec(source), run_id="other"):
        await client.until("$/progress", lambda p: p["value"]["kind"] == "begin")
    changed = await client.until("$/kernelEvolve/runChanged", lambda c: c["runId"] == "other")
    assert (changed["uri"], changed["state"], changed["kernels"]) == (source.as_uri(), "evolving", ["softmax_kernel"])


async def test_a_run_from_before_the_server_started_is_taken_up(serve: Serve, workspace: Path, source: Path) -> None:
    with active_run(workspace, spec(source)):
        client = await serve()
        await client.until("$/progress", lambda p: p["value"]["kind"] == "begin")
        await client.kill()
        again = await serve()
        await again.until("$/progress", lambda p: p["value"]["kind"] == "begin")
        assert (await again.until_title(again.open(source), lambda t: "evolving" in t))[1:] == ["pause", "cancel"]


async def test_the_cancel_button_of_the_progress_reaches_the_runner(
    serve: Serve, workspace: Path, source: Path
) -> None:
    client = await serve()
    with active_run(workspace, spec(source)):
        begin = await client.until("$/progress", lambda p: p["value"]["kind"] == "begin")
        client.notify("window/workDoneProgress/cancel", {"token": begin["token"]})
        await client.until_title(client.open(source), lambda t: "cancelling" in t)
        assert control_of(workspace, "run-1") is Control.CANCEL


async def test_controls_go_through_the_journal(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)) as journal:
        await client.until_title(uri, lambda t: "evolving" in t)
        for name, control in (("pause", Control.PAUSE), ("resume", Control.RESUME), ("cancel", Control.CANCEL)):
            assert await client.command(name, uri=uri, kernel="softmax_kernel") == {"runId": "run-1"}
            assert journal.control("run-1") is control


async def test_cancelling_what_is_interrupted_ends_it(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), state=RunState.INTERRUPTED)
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "interrupted" in t)
    await client.command("cancel", uri=uri, kernel="softmax_kernel")
    assert await client.until_title(uri, lambda t: t == "Evolve") == ["Evolve"]


async def test_a_second_start_names_the_run_that_is_on(serve: Serve, workspace: Path, source: Path) -> None:
    """Also for the second of two servers: what they share is the journal."""
    first, second = await serve(VSCODE), await serve(NEOVIM)
    with active_run(workspace, spec(source)):
        for client in (first, second):
            uri = client.open(source)
            await client.until_title(uri, lambda t: "evolving" in t)
            answer = await client.command("start", uri=uri, kernel="softmax_kernel")
            assert answer == snapshot(
                {
                    "runId": "run-1",
                    "alreadyRunning": True,
                    "message": "softmax_kernel is being evolved already.",
                }
            )


async def test_a_runner_that_cannot_start_says_why_where_the_user_looks(
    serve: Serve, workspace: Path, source: Path
) -> None:
    client = await serve(PLAIN, options={"budget": "twelve"})
    uri = client.open(source)
    answer = await client.command("start", uri=uri, kernel="softmax_kernel")
    assert answer["alreadyRunning"] is False and answer["runId"]
    [failed, *_] = await client.until_title(uri, lambda t: t.startswith("failed"))
    assert failed == snapshot("failed: 'twelve' is no budget")
    [diagnostic] = await client.until_diagnostics(uri, bool)
    assert "10m,200c" in diagnostic["message"]
    # The command was answered with success: what came later is said on the line, not in a pop-up.
    assert client.sent("window/showMessage") == []


async def test_start_is_answered_at_once_and_shown_as_queued(serve: Serve, source: Path) -> None:
    client = await serve(settings={"budget": "1c"})
    uri = client.open(source)
    await client.command("start", uri=uri, kernel="softmax_kernel")
    assert (await client.titles(uri))[:2] == snapshot(["queued…", "cancel"])
    await client.command("cancel", uri=uri, kernel="softmax_kernel")
    await client.until_title(uri, lambda t: t.startswith(("Evolve", "failed")))


async def test_two_starts_at_once_give_one_run(serve: Serve, source: Path) -> None:
    """Before anything is known about the file, so that both wait for its task."""
    client = await serve(settings={"budget": "1c"})
    uri = client.open(source)
    answers = await asyncio.gather(*(client.command("start", uri=uri, kernel="softmax_kernel") for _ in range(3)))
    assert sorted(answer["alreadyRunning"] for answer in answers) == [False, True, True]
    assert len({answer["runId"] for answer in answers}) == 1
    await client.command("cancel", uri=uri, kernel="softmax_kernel")
    await client.until_title(uri, lambda t: t.startswith(("Evolve", "failed")))


async def test_a_start_right_after_opening_has_the_clients_settings(serve: Serve, source: Path) -> None:
    client = await serve(settings={"budget": "twelve"}, delays={"workspace/configuration": 0.3})
    uri = client.open(source)
    await client.command("start", uri=uri, kernel="softmax_kernel")
    await client.until_title(uri, lambda t: t.startswith("failed: 'twelve'"))


async def test_a_client_that_never_tells_its_settings_can_start(serve: Serve, source: Path) -> None:
    client = await serve(options={"budget": "twelve"}, delays={"workspace/configuration": 3600.0})
    uri = client.open(source)
    await client.command("start", uri=uri, kernel="softmax_kernel")
    await client.until_title(uri, lambda t: t.startswith("failed: 'twelve'"))


async def test_a_task_in_utf_16_is_named_as_such(serve: Serve, workspace: Path, source: Path) -> None:
    """Closed, it is a diagnostic; an editor that decodes it is told when the run would read it."""
    task_file = workspace / "softmax.evolve.py"
    text, said = task_file.read_text(), "softmax.evolve.py is not UTF-8 (it looks like UTF-16): save it as UTF-8"
    task_file.write_text(text, encoding="utf-16")
    client = await serve(PLAIN, options={"budget": "twelve"})
    uri = client.open(source)
    [found] = await client.until_diagnostics(task_file.as_uri(), bool)
    assert found["message"] == said
    client.open(task_file, text)
    await client.until_title(uri, lambda t: t == "Evolve")
    with pytest.raises(ResponseError) as caught:
        await client.command("start", uri=uri, kernel="softmax_kernel")
    assert caught.value.message == said


async def test_a_task_that_is_not_saved_is_asked_to_be_saved(serve: Serve, workspace: Path, source: Path) -> None:
    """VS Code writes a new file empty and leaves its text to be saved."""
    client = await serve(PLAIN, options={"budget": "twelve"})
    task_file = workspace / "softmax.evolve.py"
    text = task_file.read_text()
    task_file.write_text("")
    uri, task_uri = client.open(source), client.open(task_file, text)
    await client.until_title(uri, lambda t: t == "Evolve")
    with pytest.raises(ResponseError) as caught:
        await client.command("start", uri=uri, kernel="softmax_kernel")
    assert caught.value.message == snapshot(
        "Save softmax.evolve.py first: the run reads it from disk, where it is not as in the editor."
    )
    assert not (workspace / ".kernel-evolve" / "logs").exists()
    # Saved, though the last line's end is not in the file.
    task_file.write_text(text.rstrip("\n"))
    client.notify("textDocument/didSave", {"textDocument": {"uri": task_uri}})
    assert (await client.command("start", uri=uri, kernel="softmax_kernel"))["alreadyRunning"] is False
    await client.until_title(uri, lambda t: t.startswith("failed"))


async def test_pause_and_resume_are_offered_where_they_make_sense(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)) as journal:
        await client.until_title(uri, lambda t: "evolving" in t)
        titles = [action["title"] for action in await client.actions(uri, 8)]
        assert titles == ["Pause evolving `softmax_kernel`", "Cancel evolving `softmax_kernel`"]
        journal.set_state("run-1", RunState.PAUSED)
        await client.until_title(uri, lambda t: "paused" in t)
        titles = [action["title"] for action in await client.actions(uri, 8)]
        assert titles == ["Resume evolving `softmax_kernel`", "Cancel evolving `softmax_kernel`"]


async def test_the_cancel_button_of_a_run_that_has_just_ended(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    await client.until_title(client.open(source), lambda t: "1.38" in t)
    client.notify("window/workDoneProgress/cancel", {"token": "kernel-evolve/run-1"})
    shown = await client.until("window/showMessage", lambda _: True)
    assert shown["message"] == snapshot("Run run-1 has already ended (done).")


async def test_a_damaged_row_of_the_journal(serve: Serve, workspace: Path, source: Path) -> None:
    """Said as long as it is there, at the kernel too; everything else goes on."""
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    with closing(sqlite3.connect(journal_file(workspace), isolation_level=None)) as connection:
        [good] = connection.execute("SELECT state FROM run").fetchone()
        connection.execute("UPDATE run SET state = 'confused'")
        client = await serve()
        uri = client.open(source)
        status = await client.until("experimental/serverStatus", lambda s: s["health"] == "warning")
        assert "'confused'" in status["message"] and "move journal.sqlite away" in status["message"]
        [found] = await client.until_diagnostics(uri, bool)
        assert (found["code"], found["message"]) == ("journal-unreadable", status["message"])
        (workspace / "softmax.evolve.py").unlink()
        await client.until_diagnostics(uri, lambda found: [d["code"] for d in found][1:] == ["task-missing"])
        # Rounds later it is still said.
        assert (await client.request("kernelEvolve/health", {}))["journalProblem"] == status["message"]
        connection.execute("UPDATE run SET state = ?", (good,))
        await client.until_title(uri, lambda t: "1.38" in t)
    assert (await client.request("kernelEvolve/health", {}))["journalProblem"] == ""


async def test_the_position_of_the_cursor_will_do(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)):
        await client.until_title(uri, lambda t: "evolving" in t)
        answer = await client.command("start", uri=uri, position={"line": 12, "character": 3})
        assert answer["runId"] == "run-1"
    with pytest.raises(ResponseError) as caught:
        await client.command("start", uri=uri, position={"line": 0, "character": 0})
    assert caught.value.message == snapshot(
        "There is no kernel at the cursor in this file (kernels here: softmax_kernel)."
    )


async def test_an_untrusted_workspace_reads_and_never_runs(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve(options={"trusted": False})
    uri = client.open(source)
    await client.until_title(uri, lambda t: "1.38×" in t)
    for command in ("start", "startAll", "trySuggestion"):
        with pytest.raises(ResponseError) as caught:
            await client.command(command, uri=uri, kernel="softmax_kernel")
        assert "is not trusted" in caught.value.message
    assert not (workspace / ".kernel-evolve" / "logs").exists()


async def test_opening_a_file_runs_nothing_of_the_users(serve: Serve, workspace: Path, source: Path) -> None:
    mark = workspace / "ran"
    bomb = f"open({str(mark)!r}, 'w').close()\n"
    # Modules that our own processes import, by the names they have there.
    for name in ("json.py", "click.py", "sitecustomize.py", "conftest.py"):
        (workspace / name).write_text(bomb)
    source.write_text(bomb + source.read_text())
    task_file = workspace / "softmax.evolve.py"
    task_file.write_text(bomb + task_file.read_text())
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: t == "Evolve")
    client.notify("textDocument/didSave", {"textDocument": {"uri": uri}})
    # Long enough for the look into the knowledge base to have been made and answered.
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and not mark.exists():
        await client.request("kernelEvolve/health", {})
    assert not mark.exists()


async def test_a_journal_of_a_newer_version(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    with closing(sqlite3.connect(journal_file(workspace))) as connection:
        connection.execute("PRAGMA user_version = 99")
    client = await serve()
    uri = client.open(source)
    status = await client.until("experimental/serverStatus", lambda s: s["health"] == "warning")
    assert status["message"] == (
        f"The journal {journal_file(workspace)} was written by a newer kernel-evolve (its format is 99; {__version__}, "
        "which runs here, reads up to 1). Upgrade with: pip install --upgrade kernel-evolve, "
        f"or move the folder {workspace / '.kernel-evolve'} away to start without its runs."
    )
    [found] = await client.until_diagnostics(uri, bool)
    assert (found["code"], found["message"]) == ("journal-unreadable", status["message"])
    assert (found["severity"], found["range"]["start"]) == (2, {"line": 8, "character": 4})
    assert await client.titles(uri) == ["cannot evolve: the journal here cannot be read"]
    assert await client.actions(uri, 8) == []
    assert status["message"] in await client.hover(uri, 8)
    with pytest.raises(ResponseError, match="newer kernel-evolve"):
        await client.command("start", uri=uri, kernel="softmax_kernel")
    assert client.sent("window/showMessage") == []
    # The step that the message names.
    (workspace / ".kernel-evolve").rename(workspace / "earlier")
    await client.until_diagnostics(uri, lambda found: not found)
    assert await client.titles(uri) == ["Evolve"]


async def test_of_several_kernels_the_first_says_what_is_wrong_with_the_journal(
    serve: Serve, workspace: Path, source: Path
) -> None:
    ended_run(workspace, spec(source))
    with closing(sqlite3.connect(journal_file(workspace))) as connection:
        connection.execute("PRAGMA user_version = 99")
    two = source.read_text() + "\n\n@triton.jit\ndef scale_kernel(x_ptr, n, BLOCK: tl.constexpr):\n    pass\n"
    client = await serve()
    uri = client.open(source, two)
    found = await client.until_diagnostics(uri, lambda found: any(d["code"] == "task-missing" for d in found))
    assert [d["range"]["start"]["line"] for d in found if d["code"] == "journal-unreadable"] == [8]
    assert await client.titles(uri) == ["cannot evolve: the journal here cannot be read"] * 2
    with pytest.raises(ResponseError, match="newer kernel-evolve"):
        await client.command("startAll", uri=uri)


async def test_a_journal_elsewhere_is_no_reason_not_to_start_here(serve: Serve, workspace: Path, source: Path) -> None:
    other = workspace / "vendored"
    (other / ".git").mkdir(parents=True)
    (other / "softmax.py").write_text(source.read_text())
    ended_run(other, spec(other / "softmax.py"))
    with closing(sqlite3.connect(journal_file(other))) as connection:
        connection.execute("PRAGMA user_version = 99")
    client = await serve()
    uri, other_uri = client.open(source), client.open(other / "softmax.py")
    await client.until_title(other_uri, lambda t: t.startswith("cannot evolve"))
    assert await client.titles(uri) == ["Evolve"]
    assert not [d for d in client.diagnostics(uri) if d["code"] == "journal-unreadable"]


async def test_a_winner_read_before_the_journal_became_unreadable_can_be_applied(
    serve: Serve, workspace: Path, source: Path
) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "1.38" in t)
    with closing(sqlite3.connect(journal_file(workspace))) as connection:
        connection.execute("PRAGMA user_version = 99")
    await client.until_diagnostics(uri, bool)
    [title] = await client.titles(uri)
    assert title.endswith("apply…")
    actions = [action["title"] for action in await client.actions(uri, 8)]
    assert actions == ["Apply winner (1.38× faster (estimated))", "Preview the winner's diff"]


async def test_failures_are_shown_once(serve: Serve, source: Path) -> None:
    """By the client where it shows a response's error, else by a message of ours; never by both."""
    for profile, messages in ((VSCODE, 0), (NEOVIM, 0), (PLAIN, 1)):
        client = await serve(profile)
        uri = client.open(source)
        with pytest.raises(ResponseError, match="has no run yet"):
            await client.command("cancel", uri=uri, kernel="softmax_kernel")
        assert len(client.sent("window/showMessage")) == messages


async def test_a_workspace_that_cannot_be_written(serve: Serve, workspace: Path, source: Path) -> None:
    (workspace / ".kernel-evolve").write_text("a file where the folder should be")
    client = await serve()
    uri = client.open(source)
    with pytest.raises(ResponseError, match="Nothing was started"):
        await client.command("start", uri=uri, kernel="softmax_kernel")
    assert await client.titles(uri) == ["Evolve"]


async def test_unknown_commands_and_documents(serve: Serve, workspace: Path) -> None:
    client = await serve()
    with pytest.raises(ResponseError, match="There is no command"):
        await client.command("dance")
    with pytest.raises(ResponseError, match="is not open here"):
        await client.command("start", uri=(workspace / "other.py").as_uri())
    with pytest.raises(ResponseError, match="There is no run"):
        await client.command("cancel", runId="nothing")


async def test_why_a_runner_is_gone_is_said_at_the_kernel(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), state=RunState.INTERRUPTED)
    logs = workspace / ".kernel-evolve" / "logs"
    logs.mkdir()
    words = "The journal cannot be written (disk is full). Free some disk space, then resume the run."
    (logs / "run-1.log").write_text(f"Traceback of something\nkernel-evolve: {words}\n")
    client = await serve()
    uri = client.open(source)
    [found] = await client.until_diagnostics(uri, bool)
    assert (found["severity"], found["code"], found["message"]) == (3, "run-interrupted", words)
