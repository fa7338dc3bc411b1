"""The headline above a kernel, in every state a run can be in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from journals import ESTIMATED, MEASURED, Winner, active_run, ended_run, faster, judge_candidates, spec
from lsp_client import NEOVIM, PLAIN, VSCODE, Lsp, ResponseError

from evolve_core.journal.control import request_control
from evolve_core.journal.model import Control, RunState
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.verdict import Stage

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


async def test_idle_kernel_with_a_task(serve: Serve, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    [lens] = await client.lenses(uri)
    assert lens["range"]["start"] == {"line": 7, "character": 0}
    assert lens["command"] == {
        "title": "Evolve",
        "command": "kernelEvolve.start",
        "arguments": [{"uri": uri, "kernel": "softmax_kernel"}],
    }


async def test_the_first_answer_has_its_command_in_every_client(serve: Serve, source: Path) -> None:
    for profile in (VSCODE, NEOVIM, PLAIN):
        client = await serve(profile)
        [lens] = await client.lenses(client.open(source))
        assert lens["command"]["command"] == "kernelEvolve.start"


async def test_a_running_search_counts_and_names_its_best_so_far(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)) as journal:
        assert await client.until_title(uri, lambda t: "0/200" in t) == snapshot(["evolving 0/200", "pause", "cancel"])
        judge_candidates(journal, "run-1", 3)
        journal.set_best("run-1", "run-1-3", 1.384, estimated=True)
        assert await client.until_title(uri, lambda t: "best" in t) == snapshot(
            ["evolving 3/200 · best ~1.38× (estimated)", "pause", "cancel"]
        )
        journal.set_best("run-1", "run-1-3", 1.384, estimated=False)
        assert await client.until_title(uri, lambda t: "screening" in t) == snapshot(
            ["evolving 3/200 · best ~1.38× (screening)", "pause", "cancel"]
        )
        journal.set_state("run-1", RunState.PAUSED, "The GPU is in use by another process.")
        assert await client.until_title(uri, lambda t: "paused" in t) == snapshot(
            ["paused 3/200 · The GPU is in use by another process", "resume", "cancel"]
        )
        journal.set_state("run-1", RunState.VERIFYING)
        assert await client.until_title(uri, lambda t: "verifying" in t) == snapshot(
            ["verifying the best of 3…", "pause", "cancel"]
        )


async def test_a_control_that_is_not_followed_yet_is_shown(serve: Serve, workspace: Path, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)):
        await client.until_title(uri, lambda t: "evolving" in t)
        request_control(workspace, "run-1", Control.PAUSE)
        assert await client.until_title(uri, lambda t: "pausing" in t) == snapshot(
            ["pausing 0/200", "resume", "cancel"]
        )
        request_control(workspace, "run-1", Control.CANCEL)
        assert await client.until_title(uri, lambda t: "cancelling" in t) == snapshot(["cancelling 0/200", "cancel"])


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (RunState.QUEUED, "queued… · pausing once it has started"),
        (RunState.BASELINE, "judging your kernel first… · pausing after it"),
        (RunState.VERIFYING, "verifying the best of 0… · pausing after this candidate"),
    ],
)
async def test_a_pause_that_has_to_wait_says_what_for(
    serve: Serve, workspace: Path, source: Path, state: RunState, shown: str
) -> None:
    client = await serve()
    uri = client.open(source)
    with active_run(workspace, spec(source)) as journal:
        journal.set_state("run-1", state)
        await client.until_title(uri, lambda t: t == "pause")
        await client.command("pause", uri=uri, kernel="softmax_kernel")
        assert await client.until_title(uri, lambda t: "pausing" in t) == [shown, "resume", "cancel"]
        await client.until("$/progress", lambda p: p["value"].get("message", "").startswith(f"{shown} · "))
        assert shown in await client.hover(uri, 8)
        titles = [action["title"] for action in await client.actions(uri, 8)]
        assert titles == ["Resume evolving `softmax_kernel`", "Cancel evolving `softmax_kernel`"]
        await client.command("resume", uri=uri, kernel="softmax_kernel")
        await client.until_title(uri, lambda t: t == "pause")
        await client.command("cancel", uri=uri, kernel="softmax_kernel")
        assert (await client.until_title(uri, lambda t: t.endswith(" · cancelling")))[1:] == ["cancel"]


async def test_an_estimated_winner_says_estimated(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text()), ESTIMATED))
    client = await serve()
    uri = client.open(source)
    assert await client.until_title(uri, lambda t: "×" in t) == snapshot(
        ["1.38× faster (estimated) · sm_90 · apply…", "report", "evolve again"]
    )


async def test_a_measured_winner_does_not(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text()), MEASURED))
    client = await serve()
    uri = client.open(source)
    titles = await client.until_title(uri, lambda t: "×" in t)
    assert titles == snapshot(["1.38× faster · apply…", "report", "evolve again"])
    assert not any("estimated" in title for title in titles)


async def test_no_gain(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), reason="No gain: 3 candidates judged, 3 correct, none better than yours.")
    client = await serve()
    uri = client.open(source)
    assert await client.until_title(uri, lambda t: "gain" in t) == snapshot(
        ["no gain · 0 candidates judged", "evolve again"]
    )


async def test_a_failed_run(serve: Serve, workspace: Path, source: Path) -> None:
    reason = "torch is missing in /usr/bin/python3. Install it there or name another interpreter."
    ended_run(workspace, spec(source), state=RunState.FAILED, reason=reason)
    client = await serve()
    uri = client.open(source)
    assert await client.until_title(uri, lambda t: "failed" in t) == snapshot(
        ["failed: torch is missing in /usr/bin/python3", "evolve again"]
    )


async def test_a_runner_that_died_can_be_resumed(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), state=RunState.INTERRUPTED)
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "interrupted" in t)
    lenses = await client.lenses(uri)
    assert [(lens["command"]["title"], lens["command"]["command"]) for lens in lenses] == snapshot(
        [("interrupted after 0/200: resume", "kernelEvolve.resume"), ("cancel", "kernelEvolve.cancel")]
    )
    actions = await client.actions(uri, lenses[0]["range"]["start"]["line"])
    assert {(a["title"], a["command"]["command"]) for a in actions if "command" in a} >= {
        ("Resume evolving `softmax_kernel`", "kernelEvolve.resume"),
        ("Cancel evolving `softmax_kernel`", "kernelEvolve.cancel"),
    }


async def test_a_cancelled_run_leaves_the_kernel_as_it_was(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), state=RunState.CANCELLED, reason="Cancelled by the user.")
    client = await serve()
    uri = client.open(source)
    assert await client.titles(uri) == ["Evolve"]
    await client.until("experimental/serverStatus", lambda status: status["quiescent"])
    assert await client.titles(uri) == ["Evolve"]


async def test_what_a_cancelled_run_had_confirmed_stays(serve: Serve, workspace: Path, source: Path) -> None:
    winner = Winner(faster(source.read_text()), ESTIMATED)
    ended_run(workspace, spec(source), state=RunState.CANCELLED, reason="Cancelled by the user.", winner=winner)
    client = await serve()
    uri = client.open(source)
    assert await client.until_title(uri, lambda t: "×" in t) == snapshot(
        ["1.38× faster (estimated) · sm_90 · apply…", "report", "evolve again"]
    )
    action = await client.action(uri, 8, "Apply winner")
    [change] = (await client.request("codeAction/resolve", action))["edit"]["documentChanges"]
    assert "tl.exp2(" in change["edits"][0]["newText"]
    client.change(uri, 2, {"text": source.read_text().replace("tl.sum(numerator", "tl.sum(1 * numerator")})
    await client.until_title(uri, lambda t: t == "was 1.38× faster (estimated) · source edited")


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.INTERRUPTED])
async def test_what_a_cancelled_run_had_only_screened_is_no_result(
    serve: Serve, workspace: Path, source: Path, state: RunState
) -> None:
    """A runner that was killed leaves the screening's best in the journal."""
    winner = Winner(faster(source.read_text()), replace(ESTIMATED, stage=Stage.SCREENING))
    ended_run(workspace, spec(source), state=state, winner=winner)
    if state is RunState.INTERRUPTED:
        with closing(JournalWriter(workspace)) as journal:
            journal.request("run-1", Control.CANCEL)
    client = await serve()
    uri = client.open(source)
    await client.until("experimental/serverStatus", lambda status: status["quiescent"])
    assert await client.titles(uri) == ["Evolve"]
    assert [a["title"] for a in await client.actions(uri, 8)] == ["Evolve this kernel (`softmax_kernel`)"]


async def test_a_cancelled_run_does_not_hide_an_earlier_winner(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), run_id="first", winner=Winner(faster(source.read_text())))
    ended_run(workspace, spec(source), run_id="second", state=RunState.CANCELLED)
    client = await serve()
    assert await client.until_title(client.open(source), lambda t: "1.38" in t)


async def test_other_files_and_kernels_have_nothing_to_do_with_it(serve: Serve, workspace: Path, source: Path) -> None:
    other = workspace / "other.py"
    other.write_text(source.read_text())
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    await client.until_title(client.open(source), lambda t: "1.38" in t)
    assert not any("1.38" in title for title in await client.titles(client.open(other)))


def with_copies(source: Path, *names: str, without_task: tuple[str, ...] = ()) -> str:
    """The text of softmax.py with copies of its kernel and entry under other names, and task files for them."""
    text = source.read_text()
    copy = text[text.index("@triton.jit") :]
    for name in names:
        task = source.with_suffix(".evolve.py").read_text()
        source.with_name(f"softmax.{name}.evolve.py").write_text(task.replace("softmax", name))
    return text + "".join("\n\n" + copy.replace("softmax", name) for name in (*names, *without_task))


async def test_several_kernels_with_a_task_get_a_lens_and_an_action_for_all(serve: Serve, source: Path) -> None:
    client = await serve()
    uri = client.open(source, with_copies(source, "other"))
    await client.until_title(uri, lambda t: t == "Evolve all 2 kernels")
    [lens, *_] = await client.lenses(uri)
    assert lens["range"]["start"]["line"] == 0
    assert lens["command"]["command"] == "kernelEvolve.startAll"
    assert (await client.action(uri, 8, "Evolve all 2 kernels"))["command"]["command"] == "kernelEvolve.startAll"


async def test_what_starts_all_names_the_kernels_that_have_a_task(serve: Serve, source: Path) -> None:
    client = await serve(options={"budget": "twelve"})
    uri = client.open(source, with_copies(source, "other", without_task=("third",)))
    title = "Evolve the 2 kernels that have a task: softmax_kernel, other_kernel"
    assert await client.until_title(uri, lambda t: "have a task" in t) == [
        title,
        "Evolve",
        "Evolve",
        "Evolve: write a task file first…",
    ]
    assert (await client.actions(uri, 8))[-1]["title"] == title
    assert len((await client.command("startAll", uri=uri))["runIds"]) == 2
    # Both runners cannot begin; the lens says so, and the one without a task was left alone.
    failed = "failed: 'twelve' is no budget"
    for kernel in ("softmax_kernel", "other_kernel"):
        await client.until_diagnostics(
            uri,
            lambda found, kernel=kernel: any(
                d["code"] == "run-failed" and d["data"]["kernel"] == kernel for d in found
            ),
        )
    assert await client.titles(uri) == [title, failed, failed, "Evolve: write a task file first…"]


async def test_starting_all_where_those_with_a_task_are_evolved_already(
    serve: Serve, workspace: Path, source: Path
) -> None:
    client = await serve()
    uri = client.open(source, with_copies(source, without_task=("other",)))
    with active_run(workspace, spec(source)):
        await client.until_title(uri, lambda t: "evolving" in t)
        with pytest.raises(ResponseError) as caught:
            await client.command("startAll", uri=uri)
    assert caught.value.message == "Every kernel of this file that has a task is being evolved already."


async def test_where_no_kernel_has_a_task_nothing_offers_to_start_all(
    serve: Serve, workspace: Path, source: Path
) -> None:
    (workspace / "softmax.evolve.py").unlink()
    client = await serve()
    uri = client.open(source, with_copies(source, without_task=("other",)))
    missing = "Evolve: write a task file first…"
    assert await client.until_title(uri, lambda t: t == missing) == [missing, missing]
    titles = [action["title"] for action in await client.actions(uri, 8)]
    assert titles == ["Write task file for `softmax_kernel`"]
    # The editors' command for it is there in every file.
    with pytest.raises(ResponseError) as caught:
        await client.command("startAll", uri=uri)
    assert caught.value.message.startswith(
        "Nothing was started, as no kernel of this file has a usable task: no task covers softmax_kernel. Write "
    )


async def test_no_lenses_where_they_are_turned_off(serve: Serve, source: Path) -> None:
    client = await serve(options={"kernelEvolve": {"codeLens": False}}, settings={"codeLens": False})
    assert await client.titles(client.open(source)) == []
