"""What helped a similar kernel, out of a real knowledge base, on the lines of this one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inline_snapshot import snapshot
from journals import MEASURED, Winner, ended_run, faster, spec
from lsp_client import Lsp, knowledge_of
from lsprotocol import types

from evolve_core.journal.reader import JournalReader
from evolve_core.knowledge.insight import insight_from_winner
from evolve_core.knowledge.store import open_store
from evolve_server import suggestions
from evolve_server.documents import open_document
from evolve_server.settings import Settings
from evolve_server.suggestions import Suggester, parse
from evolve_server.view import View

Serve = Callable[..., Coroutine[Any, Any, Lsp]]


@pytest.fixture
def colleague(workspace: Path, source: Path, tmp_path: Path) -> Path:
    """A kernel of the same kind in other words, and a knowledge base that has seen softmax get faster."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended_run(elsewhere, spec(source), winner=Winner(faster(source.read_text()), MEASURED))
    with closing(JournalReader(elsewhere)) as reader:
        run = reader.run("run-1")
        assert run is not None
        winner = reader.candidate(run.best)
        assert winner is not None
    open_store(str(knowledge_of(workspace))).add(insight_from_winner(run.spec, winner))
    path = workspace / "probabilities.py"
    text = source.read_text().replace("softmax_kernel", "probabilities_kernel").replace("numerator", "weights")
    path.write_text(text.replace("row", "line"))
    task = (workspace / "softmax.evolve.py").read_text()
    (workspace / "probabilities.evolve.py").write_text(task)
    return path


async def test_a_suggestion_on_an_idle_kernel(serve: Serve, colleague: Path) -> None:
    client = await serve()
    uri = client.open(colleague)
    titles = await client.until_title(uri, lambda t: "similar" in t)
    assert titles == snapshot(["Evolve", "a similar kernel gained 1.38×: try it here"])
    action = await client.action(uri, 8, "Try here what helped a similar kernel")
    assert action["command"]["command"] == "kernelEvolve.trySuggestion"
    assert "**From a similar kernel**" in await client.hover(uri, 8)


async def test_none_where_they_are_turned_off_or_the_workspace_is_not_trusted(serve: Serve, colleague: Path) -> None:
    first = await serve()
    await first.until_title(first.open(colleague), lambda t: "similar" in t)
    for client in (await serve(options={"suggestions": False}, settings={"suggestions": False}),):
        assert await client.titles(client.open(colleague)) == ["Evolve"]
    untrusted = await serve(options={"trusted": False})
    assert not any("similar" in title for title in await untrusted.titles(untrusted.open(colleague)))


def test_answers_that_are_not_understood_are_left_out() -> None:
    assert parse(b"") == parse(b"{}") == parse(b"[1, {}]") == parse(b"Traceback") == ()
    entry = b'{"kernel": "k", "insight_id": "i", "claim": "c", "ratio": 1.5, "estimated": true, "similarity": 0.9, '
    [found] = parse(b"[" + entry + b'"because": "b", "of a later version": 1}]')
    assert (found.kernel, found.ratio, found.estimated) == ("k", 1.5, True)


async def test_an_answer_longer_than_a_pipe_holds(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"kernel": "k", "insight_id": "i", "claim": "c", "ratio": 1.5, "estimated": True}
    entry |= {"similarity": 0.9, "because": "b"}
    code = f"import json; print(json.dumps([{entry!r}] * 2_000))"
    monkeypatch.setattr(suggestions, "COMMAND", (sys.executable, "-c", code))
    document = open_document(types.TextDocumentItem(source.as_uri(), "python", 1, source.read_text()))
    app: Any = SimpleNamespace(
        view=View(documents={document.uri: document}),
        settings=Settings(),
        client=SimpleNamespace(trusted=True),
        stale_suggestions={document.uri},
        document=lambda _: document,
        workspace=lambda path: path.parent,
    )
    suggester = Suggester(app)
    while not await suggester.step(asyncio.to_thread):
        await asyncio.sleep(0.02)
    assert len(app.view.suggestions[document.uri]) == 2_000
    # Whatever is left open would fail this test: unclosed files are errors here.
    app.stale_suggestions.add(document.uri)
    await suggester.step(asyncio.to_thread)
    suggester.close()
