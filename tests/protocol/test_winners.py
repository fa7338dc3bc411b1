"""Applying a winner, and never to a text it was not found for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from journals import ESTIMATED, MEASURED, Winner, ended_run, faster, faster_launch, spec
from lsp_client import NEOVIM, PLAIN, VSCODE, Lsp, ResponseError

from evolve_core.judge.verdict import Interval
from evolve_core.source.edit import apply_edits
from evolve_core.source.model import TextEdit

Serve = Callable[..., Coroutine[Any, Any, Lsp]]
KERNEL_LINE = 8


def applied(text: str, edit: dict[str, Any], uri: str, version: int) -> str:
    """The text after a workspace edit of one document, checked to be versioned."""
    [change] = edit["documentChanges"]
    assert change["textDocument"] == {"uri": uri, "version": version}
    return apply_edits(text, [_whole_lines(e) for e in change["edits"]])


def _whole_lines(edit: dict[str, Any]) -> TextEdit:
    start, end = edit["range"]["start"], edit["range"]["end"]
    assert start["character"] == 0 and end["character"] == 0
    return TextEdit(start["line"], end["line"], edit["newText"])


def typed(line: int, character: int, text: str, until: int | None = None) -> dict[str, Any]:
    end = {"line": line, "character": character if until is None else until}
    return {"range": {"start": {"line": line, "character": character}, "end": end}, "text": text}


async def test_apply_by_code_action(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve()
    uri = client.open(source)
    action = await client.action(uri, KERNEL_LINE, "Apply winner")
    assert action["title"] == snapshot("Apply winner (1.38× faster (estimated))")
    assert action["kind"] == "refactor.rewrite.kernelEvolve"
    assert "edit" not in action
    resolved = await client.request("codeAction/resolve", action)
    assert applied(base, resolved["edit"], uri, 1) == faster(base)


async def test_actions_can_be_asked_for_by_kind(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    uri = client.open(source)
    await client.action(uri, KERNEL_LINE, "Apply winner")
    found = await client.actions(uri, KERNEL_LINE, only=["refactor.rewrite"])
    assert [action["title"] for action in found] == ["Apply winner (1.38× faster (estimated))"]
    assert await client.actions(uri, KERNEL_LINE, only=["source.organizeImports"]) == []


async def test_all_actions_on_a_kernel_with_a_winner(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    uri = client.open(source)
    await client.action(uri, KERNEL_LINE, "Apply winner")
    assert [action["title"] for action in await client.actions(uri, KERNEL_LINE)] == snapshot(
        [
            "Apply winner (1.38× faster (estimated))",
            "Preview the winner's diff",
            "Show the report on `softmax_kernel`",
            "Evolve this kernel (`softmax_kernel`)",
        ]
    )
    assert await client.actions(uri, 0) == []


async def test_edits_elsewhere_are_kept(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve()
    uri = client.open(source)
    client.change(uri, 2, typed(0, 0, '"""Mine."""\n# and a line more\n', until=0))
    client.change(uri, 3, typed(0, 3, "Still "))
    text = '"""Still Mine."""\n# and a line more\n' + base
    action = await client.action(uri, KERNEL_LINE + 2, "Apply winner")
    resolved = await client.request("codeAction/resolve", action)
    assert applied(text, resolved["edit"], uri, 3) == faster(text)


async def test_the_first_edit_of_the_kernel_makes_the_result_stale(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    uri = client.open(source)
    action = await client.action(uri, KERNEL_LINE, "Apply winner")
    assert [hint["label"] for hint in await client.inlays(uri)] == snapshot(["~1.38× estimated sm_90"])
    line = source.read_text().splitlines()[9]
    client.change(uri, 2, typed(9, len(line), " + 0"))
    # The very next answers, with no time in between to notice anything.
    assert await client.titles(uri) == snapshot(
        ["was 1.38× faster (estimated) · source edited", "report", "evolve again"]
    )
    assert [hint["label"] for hint in await client.inlays(uri)] == snapshot(["stale: was ~1.38× estimated sm_90"])
    assert not any("Apply" in a["title"] for a in await client.actions(uri, KERNEL_LINE))
    assert "**Stale**" in await client.hover(uri, KERNEL_LINE)
    with pytest.raises(ResponseError, match="was edited after the run"):
        await client.request("codeAction/resolve", action)
    client.change(uri, 3, typed(9, len(line), "", until=len(line) + 4))
    assert (await client.titles(uri))[0] == "1.38× faster (estimated) · sm_90 · apply…"
    assert any("Apply" in a["title"] for a in await client.actions(uri, KERNEL_LINE))


async def test_comments_and_layout_do_not_make_it_stale(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    client.change(uri, 2, typed(9, 0, "    # one program, one row\n"))
    assert (await client.titles(uri))[0] == "1.38× faster (estimated) · sm_90 · apply…"


async def test_after_applying_the_lens_says_so(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    client.change(uri, 2, {"text": faster(base)})
    assert (await client.titles(uri))[0] == "1.38× faster (estimated) · sm_90 · applied"
    assert [hint["label"] for hint in await client.inlays(uri)] == ["~1.38× estimated sm_90 · applied"]
    assert not any("Apply" in a["title"] for a in await client.actions(uri, KERNEL_LINE))


async def test_a_winner_that_changes_the_launch_alone(serve: Serve, workspace: Path, source: Path) -> None:
    """The kernel's version cannot tell here; the comparison of the texts can."""
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster_launch(base)))
    client = await serve()
    uri = client.open(source)
    action = await client.action(uri, KERNEL_LINE, "Apply winner")
    resolved = await client.request("codeAction/resolve", action)
    assert applied(base, resolved["edit"], uri, 1) == faster_launch(base)
    client.change(uri, 2, {"text": faster_launch(base)})
    await client.until_title(uri, lambda t: t.endswith("applied"))
    assert not any("Apply" in a["title"] for a in await client.actions(uri, KERNEL_LINE))


async def test_an_edit_of_the_lines_that_the_winner_changes(serve: Serve, workspace: Path, source: Path) -> None:
    """Outside of the kernel, so its version stays, but in the winner's way."""
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster_launch(base)))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    client.change(uri, 2, {"text": base.replace("BLOCK=BLOCK)", "BLOCK=BLOCK, num_stages=2)")})
    action = next((a for a in await client.actions(uri, KERNEL_LINE) if "Apply" in a["title"]), None)
    if action is not None:
        with pytest.raises(ResponseError, match="lines around softmax_kernel that you have edited"):
            await client.request("codeAction/resolve", action)
    await client.until_title(uri, lambda t: "source edited" in t)


async def test_line_ends_of_windows(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve()
    text = base.replace("\n", "\r\n")
    uri = client.open(source, text)
    resolved = await client.request("codeAction/resolve", await client.action(uri, KERNEL_LINE, "Apply winner"))
    assert applied(text, resolved["edit"], uri, 1) == faster(text)


async def test_a_client_without_resolve_gets_the_edit_or_a_command(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    literals = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["refactor"]}}}
    bare = {"name": "bare", "capabilities": {"textDocument": {"codeAction": literals}}}
    client = await serve(bare)
    uri = client.open(source)
    action = await client.action(uri, KERNEL_LINE, "Apply winner")
    if "edit" in action:
        assert list(action["edit"]["changes"]) == [uri]
    else:
        assert action["command"]["command"] == "kernelEvolve.apply"


async def test_the_apply_command_edits_through_the_client(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve(NEOVIM)
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    assert await client.command("apply", uri=uri, kernel="softmax_kernel") == {"applied": True}
    [asked] = client.sent("workspace/applyEdit")
    assert applied(base, asked["edit"], uri, 1) == faster(base)


async def test_an_edit_that_the_client_refuses_is_reported(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve()
    client.answers["workspace/applyEdit"] = {"applied": False, "failureReason": "the document has changed"}
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    with pytest.raises(ResponseError, match="did not take the edit \\(the document has changed\\)"):
        await client.command("apply", uri=uri, kernel="softmax_kernel")


async def test_clicking_the_lens_shows_the_diff_and_asks(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    ended_run(workspace, spec(source), winner=Winner(faster(base)))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    [lens] = [lens for lens in await client.lenses(uri) if "apply…" in lens["command"]["title"]]
    assert lens["command"]["command"] == "kernelEvolve.review"
    client.answers["window/showMessageRequest"] = {"title": "Not now"}
    await client.request("workspace/executeCommand", {k: lens["command"][k] for k in ("command", "arguments")})
    question = await client.until("window/showMessageRequest", lambda _: True)
    assert question["message"] == snapshot(
        "Apply the winner for softmax_kernel? 1.38× faster (estimated): exp → exp2 with log2(e) folded in"
    )
    [shown] = client.sent("window/showDocument")
    diff = Path(shown["uri"].removeprefix("file://")).read_text()
    assert diff.startswith("--- a/softmax.py\n+++ b/softmax.py\n")
    assert "-    numerator = tl.exp(x)\n" in diff
    assert client.sent("workspace/applyEdit") == []
    client.answers["window/showMessageRequest"] = {"title": "Apply"}
    await client.command("review", uri=uri, kernel="softmax_kernel")
    asked = await client.until("workspace/applyEdit", lambda _: True)
    assert applied(base, asked["edit"], uri, 1) == faster(base)


async def test_the_hover_holds_the_evidence(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text()), ESTIMATED))
    client = await serve()
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    said = await client.hover(uri, KERNEL_LINE)
    assert said.replace(str(workspace.resolve()), "/p") == snapshot("""\
**kernel-evolve: 1.38× faster** (**estimated** for sm_90, not measured), correct.

exp → exp2 with log2(e) folded in  \n\
Recipe: `rewrite: exp-to-exp2` → `tune: launch`

| workload | before, µs (estimated) | after, µs (estimated) | ratio (estimated) | max error (yours) |
|---|--:|--:|--:|--:|
| `x=float32[4096,1024]` | 21.4 | 15.5 | 1.38× (estimated) | 2.4e-07 (1.8e-07) |
| `x=float32[8192,781]` | 33.0 | 30.0 | 1.10× (estimated) | 2.4e-07 (1.8e-07) |

Correct on 12 workloads; 1.38× estimated for sm_90.

target: sm_90 · triton: 3.9.0

Run `run-1`: 1 candidate, 1 judged, 1 correct, just now.

Check it: `kernel-evolve show run-1 --workspace /p`, whole report: `kernel-evolve report run-1 --workspace /p`\
""")
    assert await client.hover(uri, 12) == ""


async def test_a_measured_hover_has_intervals_and_no_estimate(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text()), MEASURED))
    client = await serve(VSCODE)
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    text = await client.hover(uri, KERNEL_LINE)
    assert "95 % interval 1.33–1.43×" in text
    assert "1.38× [1.30–1.40×]" in text
    assert "estimated" not in text and "inputs in L2" not in text
    assert "Beside the kernel that the run began with: eager: 1.30× slower than your kernel (1.28–1.32)\n" in text


async def test_a_hover_tells_how_it_is_on_a_warm_cache(serve: Serve, workspace: Path, source: Path) -> None:
    first, second = MEASURED.workloads
    warm = replace(first, warm_ratio=1.52, warm_interval=Interval(1.5, 1.55))
    verdict = replace(MEASURED, workloads=(warm, second))
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text()), verdict))
    client = await serve(VSCODE)
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    _, table = (await client.hover(uri, KERNEL_LINE)).split("| workload |")
    assert table.splitlines()[:4] == snapshot(
        [
            " before, µs | after, µs | ratio | ratio, inputs in L2 | max error (yours) |",
            "|---|--:|--:|--:|--:|--:|",
            "| `x=float32[4096,1024]` | 21.4 | 15.5 | 1.38× [1.30–1.40×] | 1.52× [1.50–1.55×] | 2.4e-07 (1.8e-07) |",
            "| `x=float32[8192,781]` | 33.0 | 30.0 | 1.10× [1.30–1.40×] | – | 2.4e-07 (1.8e-07) |",
        ]
    )


async def test_a_plain_client_is_served_too(serve: Serve, workspace: Path, source: Path) -> None:
    ended_run(workspace, spec(source), winner=Winner(faster(source.read_text())))
    client = await serve(PLAIN)
    uri = client.open(source)
    await client.until_title(uri, lambda t: "apply…" in t)
    # Without literals there are commands only.
    assert [c["command"] for c in await client.actions(uri, KERNEL_LINE)][-1] == "kernelEvolve.start"
    await client.command("report", uri=uri, kernel="softmax_kernel")
    [message] = client.sent("window/showMessage")
    assert message["message"].startswith("The report is ")
