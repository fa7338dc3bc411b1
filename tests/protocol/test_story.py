"""The whole path with nothing faked: open, evolve, watch, read the verdict, apply, and see it applied."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lsp_client import NEOVIM, Lsp

from evolve_core.journal.reader import JournalReader
from evolve_core.source.edit import apply_edits
from evolve_core.source.model import TextEdit

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


@pytest.mark.timeout(600)
async def test_from_the_lens_to_the_applied_winner(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    # Unsaved: what is evolved is what the user sees, not what is on disk.
    shown = base.replace('"""Row softmax: one program per row, the whole row in registers."""', '"""Row softmax."""')
    assert shown != base
    client = await serve(NEOVIM, options={"python": sys.executable, "budget": "6c", "target": "sm_90"})
    uri = client.open(source, shown)
    [lens] = await client.lenses(uri)
    command = {key: lens["command"][key] for key in ("command", "arguments")}
    started = await client.request("workspace/executeCommand", command)
    run_id = started["runId"]

    deadline = time.monotonic() + 500
    while not (ended := [c for c in client.sent("$/kernelEvolve/runChanged") if c["state"] in ("done", "failed")]):
        assert time.monotonic() < deadline, await client.titles(uri)
        titles = await client.titles(uri)
        assert not titles[0].startswith(("failed", "interrupted")), titles
        # No claim before it is confirmed: as long as the run goes on, a number is preceded by ~.
        assert "faster" not in titles[0] or (run_id, "done") in [
            (c["runId"], c["state"]) for c in client.sent("$/kernelEvolve/runChanged")
        ]
        await asyncio.sleep(0.2)
    assert [p for p in client.sent("$/progress") if p["value"]["kind"] == "begin"]
    [end] = [p for p in client.sent("$/progress") if p["value"]["kind"] == "end"] or [None]
    assert ended[-1]["state"] == "done", ended[-1]["reason"]
    with closing(JournalReader(workspace)) as reader:
        run = reader.run(run_id)
        assert run is not None
        winner = reader.candidate(run.best) if run.best else None
    assert run.spec.base_source == shown
    assert source.read_text() == base, "the file on disk is the user's to save"
    if winner is None:
        assert (await client.titles(uri))[0].startswith("no gain")
        return
    assert "(estimated)" in (await client.until_title(uri, lambda t: "apply…" in t))[0]
    assert end is None or "estimated" in end["value"]["message"]
    hover = await client.hover(uri, lens["range"]["start"]["line"] + 1)
    assert "**estimated** for sm_90, not measured" in hover
    action = await client.action(uri, lens["range"]["start"]["line"] + 1, "Apply winner")
    resolved = await client.request("codeAction/resolve", action)
    [change] = resolved["edit"]["documentChanges"]
    edits = [TextEdit(e["range"]["start"]["line"], e["range"]["end"]["line"], e["newText"]) for e in change["edits"]]
    applied = apply_edits(shown, edits)
    assert applied == winner.source
    client.change(uri, 2, {"text": applied})
    await client.until_title(uri, lambda t: t.endswith("· applied"))
