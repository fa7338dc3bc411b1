"""The server's copy of a document is the client's, whatever is typed and however columns are counted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsp_client import NEOVIM, VSCODE, Lsp
from lsprotocol import types

from evolve_core.source.parse import parse
from evolve_server.documents import open_document, path_of, uri_of
from evolve_server.positions import Encoding, byte_column, client_column, client_length, code_point_column

Serve = Callable[..., Coroutine[Any, Any, Lsp]]
TEXT = st.text(alphabet=st.sampled_from("ab \n\réß😀\x0c\u2028"), max_size=12)
KERNEL = "@triton.jit\ndef k(x, BLOCK: tl.constexpr):\n    pass  # é😀\n\n\nk[(1,)](x, BLOCK=1)\n"


@given(TEXT, st.integers(0, 15), st.sampled_from(Encoding))
def test_columns_go_there_and_back(text: str, index: int, encoding: Encoding) -> None:
    line = text.split("\n")[0]
    index = min(index, len(line))
    column = client_length(line[:index], encoding)
    assert code_point_column(line, column, encoding) == index
    assert client_column(line, byte_column(line, index), encoding) == column


def test_columns_past_the_end_mean_the_end() -> None:
    for encoding in Encoding:
        assert code_point_column("é😀", 99, encoding) == 2
        assert client_column("é😀", 99, encoding) == client_length("é😀", encoding)
    assert code_point_column("😀x", 1, Encoding.UTF16) in (0, 1)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(Encoding))
def test_incremental_changes_give_the_clients_text(data: st.DataObject, encoding: Encoding) -> None:
    text = "import triton\nimport triton.language as tl\n\n" + KERNEL
    document = open_document(types.TextDocumentItem("file:///w/k.py", "python", 1, text))
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        new = data.draw(TEXT)
        span = types.Range(_position(text, start, encoding), _position(text, end, encoding))
        document.apply(types.TextDocumentContentChangePartial(range=span, text=new), encoding)
        text = text[:start] + new + text[end:]
        document.parse()
        assert document.text == text
        assert document.language is not None
        # The tree was edited along with the text: it says what a fresh one says.
        assert document.parsed == parse(text, document.language)


def _position(text: str, offset: int, encoding: Encoding) -> types.Position:
    before = text[:offset]
    return types.Position(before.count("\n"), client_length(before.rpartition("\n")[2], encoding))


def test_paths_and_uris() -> None:
    path = Path("/a b/ü#%/k.py")
    assert path_of(uri_of(path)) == path
    assert path_of("untitled:Untitled-1") is None
    assert path_of("git:/a/k.py?ref=HEAD") is None


async def test_every_encoding_over_the_wire(serve: Serve, source: Path) -> None:
    for profile, encoding in ((VSCODE, "utf-16"), (NEOVIM, "utf-8")):
        client = await serve(profile)
        assert client.initialized["capabilities"]["positionEncoding"] == encoding
        text = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef 核😀_k(x):\n    pass\n"
        text = text.replace("核😀_k", "核_k")
        uri = client.open(source.with_name("unicode.py"), "# 😀\n" + text)
        [found] = await client.until_diagnostics(uri, bool)
        width = {"utf-16": 3, "utf-8": 5}[encoding]
        assert found["range"]["end"]["character"] - found["range"]["start"]["character"] == width


async def test_a_file_that_never_parses_keeps_its_lenses_in_place(serve: Serve, source: Path) -> None:
    client = await serve()
    uri = client.open(source)
    [before] = await client.lenses(uri)
    start = {"line": 0, "character": 0}
    opened = '"""never closed\n\n\n'
    client.change(uri, 2, {"range": {"start": start, "end": start}, "text": opened})
    [kept] = await client.lenses(uri)
    assert kept["range"]["start"]["line"] == before["range"]["start"]["line"] + 3
    assert kept["command"]["title"] == before["command"]["title"]


async def test_fifty_thousand_lines(serve: Serve, workspace: Path, source: Path) -> None:
    base = source.read_text()
    body = "\n".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(17_000))
    big = workspace / "big.py"
    big.write_text(base + "\n" + body)
    client = await serve()
    uri = client.open(big)
    assert await client.titles(uri)
    start = {"line": 12, "character": 0}
    for version in range(2, 30):
        client.change(uri, version, {"range": {"start": start, "end": start}, "text": "#"})
    assert await client.titles(uri)
    assert (await client.request("kernelEvolve/health", {}))["documents"] == 1


@pytest.mark.parametrize("content", [bytes(range(256)) * 40, b"", b"\xff\xfe\x00", b"\n" * 5000, b"(" * 5000])
async def test_what_is_no_source_does_no_harm(serve: Serve, workspace: Path, source: Path, content: bytes) -> None:
    odd = workspace / "odd.py"
    odd.write_bytes(content)
    client = await serve()
    uri = client.open(odd, content.decode("utf-8", "replace"))
    assert await client.titles(uri) == []
    if b"\0" in content:
        [found] = await client.until_diagnostics(uri, bool)
        assert "NUL" in found["message"]
    assert await client.titles(client.open(source)) == ["Evolve"]


async def test_documents_without_a_file(serve: Serve) -> None:
    client = await serve()
    item = {"uri": "untitled:Untitled-1", "languageId": "python", "version": 1, "text": KERNEL}
    client.notify("textDocument/didOpen", {"textDocument": item})
    assert await client.titles("untitled:Untitled-1") == []
    assert await client.hover("untitled:Untitled-1", 1) == ""
    assert await client.actions("untitled:Untitled-1", 1) == []
    client.notify("textDocument/didClose", {"textDocument": {"uri": "untitled:Untitled-1"}})
    # Events on what is not open are the client's mistake and cost nothing.
    client.change("file:///nowhere.py", 2, {"text": "x"})
    client.notify("textDocument/didClose", {"textDocument": {"uri": "file:///nowhere.py"}})
    assert (await client.request("kernelEvolve/health", {}))["documents"] == 0
