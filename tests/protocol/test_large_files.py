"""A generated file of fifty thousand lines, with thousands of kernels, is served as any other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import spec
from lsp_client import Lsp
from lsprotocol import types
from steps import steps

from evolve_core.journal.model import RunRecord, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.writer import JournalWriter
from evolve_server.documents import Document, open_document
from evolve_server.view import KernelSuggestion, Pending, RunView, View

Serve = Callable[..., Coroutine[Any, Any, Lsp]]

KERNEL = """

@triton.jit
def k{0}(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    y = x * {0}.0
    tl.store(y_ptr + offsets, y, mask=mask)


def run_{0}(x):
    y = torch.empty_like(x)
    n = x.numel()
    grid = (triton.cdiv(n, 1024),)
    k{0}[grid](x, y, n, BLOCK=1024)
    return y
"""


def many(count: int) -> str:
    return "import torch\nimport triton\nimport triton.language as tl\n" + "".join(map(KERNEL.format, range(count)))


@pytest.mark.parametrize("entry", ["run_3", "nope"])
async def test_every_kernel_is_told_what_it_lacks(serve: Serve, workspace: Path, entry: str) -> None:
    text = many(2_940)
    assert text.count("\n") > 49_000
    source = workspace / "generated.py"
    source.write_text(text)
    task = f'entry = "{entry}"\n\n\ndef workloads():\n    yield lambda gen, device: {{}}\n'
    source.with_name("generated.evolve.py").write_text(task)
    client = await serve(settings={"suggestions": False})
    uri = client.open(source)
    assert len(await client.lenses(uri)) == 2_940
    without = 2_939 if entry == "run_3" else 2_940
    await client.until_diagnostics(uri, lambda found: len(found) == without)
    # It goes on answering what is typed and asked.
    start = {"line": 0, "character": 0}
    client.change(uri, 2, {"range": {"start": start, "end": start}, "text": "\n"})
    await client.until_diagnostics(uri, lambda found: len(found) == without and _line(found[0]) in (7, 7 + 17))
    assert await client.actions(uri, 7)


def _line(diagnostic: dict[str, Any]) -> int:
    line: int = diagnostic["range"]["start"]["line"]
    return line


def view_of(folder: Path, count: int) -> tuple[View, Document]:
    """Every kernel with a run of its own, one that is starting and a suggestion; and one run over all of them."""
    path = folder / f"many_{count}.py"
    path.write_text(many(count))
    document = open_document(types.TextDocumentItem(path.as_uri(), "python", 1, path.read_text()))
    names = tuple(document.versions)
    one = spec(path, "k0")
    with closing(JournalWriter(folder)) as journal:
        journal.create_run(f"run-{count}", one, 1)
        journal.set_state(f"run-{count}", RunState.DONE)
    with closing(JournalReader(folder)) as reader:
        record = reader.run(f"run-{count}")
    assert record is not None
    versions = tuple(document.versions.values())
    whole = _of(record, "all", names, versions)
    single = [_of(record, name, (name,), (version,)) for name, version in zip(names, versions, strict=True)]
    view = View(
        documents={document.uri: document},
        runs={str(path): (whole, *single)},
        pending={name: Pending(name, path, (name,), ("",)) for name in names},
        suggestions={document.uri: tuple(KernelSuggestion(n, n, "faster", 1.1, True, 1.0, "alike") for n in names)},
    )
    return view, document


def _of(record: RunRecord, run_id: str, kernels: tuple[str, ...], versions: tuple[str, ...]) -> RunView:
    return RunView(replace(record, run_id=run_id, spec=replace(record.spec, kernels=kernels, versions=versions)))


def test_what_is_known_about_all_kernels_is_gathered_once(tmp_path: Path) -> None:
    def work(count: int) -> Callable[[], object]:
        view, document = view_of(tmp_path, count)
        return lambda: view.kernels(document)

    assert steps(work(200)) < 2.5 * steps(work(100))


def test_asking_about_one_kernel_looks_at_that_one(tmp_path: Path) -> None:
    view, document = view_of(tmp_path, 50)
    found = view.kernel(document, "k7")
    assert found == next(k for k in view.kernels(document) if k.name == "k7")
    assert view.kernel(document, "gone") is None
    assert steps(lambda: view.kernel(document, "k7")) < steps(lambda: view.kernels(document)) / 2
