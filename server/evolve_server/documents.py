"""The open documents: text as the client has it, parsed as it is typed, with the kernels of the last good moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from evolve_core.source.model import ParsedSource
from evolve_core.source.parse import SourceTree, language_of
from evolve_server.positions import Encoding, byte_column, code_point_column

if TYPE_CHECKING:
    from lsprotocol import types

    from evolve_core.source.model import Kernel, Language

SLOW_PARSE_SECONDS = 0.03
"""A file whose edits cost more than this is parsed when typing pauses, so that the server keeps answering."""

TASK_SUFFIX = ".evolve.py"


def path_of(uri: str) -> Path | None:
    """The local path of a ``file:`` URI, None for anything else (unsaved buffers, notebooks, remote files)."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or not parts.path:
        return None
    return Path(unquote(parts.path))


def uri_of(path: Path) -> str:
    return "file://" + quote(str(path))


@dataclass(frozen=True, slots=True)
class Anchored:
    """A kernel and the line its lens stands on, which survives text that does not parse."""

    kernel: Kernel
    line: int
    """Zero-based line of the first decorator."""
    name_line: int
    parsed: bool
    """False where the kernel is kept from the last good parse."""


@dataclass(slots=True)
class Document:
    """One open document. ``lines`` has no line ends; ``\\n`` alone separates lines, a ``\\r`` stays with its line."""

    uri: str
    path: Path | None
    version: int
    lines: list[str]
    language: Language | None
    is_task: bool
    edited_at: float = float("-inf")
    """When the text last changed, on the monotonic clock …"""
    typed_at: float = 0.0
    """… and in seconds since the epoch."""
    parsed: ParsedSource | None = None
    anchored: tuple[Anchored, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    """Name of each anchored kernel → its version."""
    parse_is_due: bool = False
    revision: int = 0
    """Counts every change of the text; unlike ``version`` it cannot repeat or run backwards."""
    _tree: SourceTree | None = None
    _text: str | None = None
    _parse_seconds: tuple[float, float] = (0.0, 0.0)
    """What the last two parses cost: one slow one is an exception, two are the file."""

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = "\n".join(self.lines)
        return self._text

    @property
    def is_source(self) -> bool:
        return self.language is not None and not self.is_task

    def apply(self, change: types.TextDocumentContentChangeEvent, encoding: Encoding) -> None:
        """Apply one content change. The tree is edited with it; call ``parse`` when the whole batch is in."""
        span = getattr(change, "range", None)
        self.revision += 1
        self.edited_at, self.typed_at = time.monotonic(), time.time()
        if span is None:
            self.lines = change.text.split("\n")
            self._tree, self._text = None, change.text
            return
        start_line, start = self._clamp(span.start.line, span.start.character, encoding)
        end_line, end = self._clamp(span.end.line, span.end.character, encoding)
        if self._tree is not None:
            first = byte_column(self.lines[start_line], start)
            last = byte_column(self.lines[end_line], end)
            self._tree.edit(start_line, first, end_line, last, change.text)
        merged = self.lines[start_line][:start] + change.text + self.lines[end_line][end:]
        fresh = merged.split("\n")
        self.lines[start_line : end_line + 1] = fresh
        self._text = None
        self._shift(start_line, end_line, start_line + len(fresh) - 1)

    def parse(self, *, patiently: bool = False) -> bool:
        """Bring ``parsed`` and ``anchored`` up to date, unless that is slow and ``patiently`` says it may wait.

        Returns whether they are up to date.
        """
        if self.language is None or self.is_task:
            return True
        if patiently and min(self._parse_seconds) > SLOW_PARSE_SECONDS:
            self.parse_is_due = True
            return False
        # Processor time: a busy machine is no reason to show less.
        started = time.thread_time()
        tree, self._tree = self._tree, self._tree or SourceTree(self.text, self.language)
        self.parsed = self._tree.source
        # The first parse reads everything and says nothing about what an edit costs.
        seconds = time.thread_time() - started if tree is not None else 0.0
        self._parse_seconds = (self._parse_seconds[1], seconds)
        self.parse_is_due = False
        self.anchored = self._anchor(self.parsed)
        self.versions = {a.kernel.qualified_name: a.kernel.version for a in self.anchored}
        return True

    def kernel(self, qualified_name: str) -> Kernel | None:
        return next((a.kernel for a in self.anchored if a.kernel.qualified_name == qualified_name), None)

    def kernel_at(self, line: int) -> Kernel | None:
        """The innermost kernel whose decorators or body hold the line."""
        holding = [a.kernel for a in self.anchored if a.kernel.span.start_line <= line <= a.kernel.span.end_line]
        return max(holding, key=lambda k: k.span.start_line, default=None)

    def _clamp(self, line: int, column: int, encoding: Encoding) -> tuple[int, int]:
        if line >= len(self.lines):
            return len(self.lines) - 1, len(self.lines[-1])
        return line, code_point_column(self.lines[line], column, encoding)

    def _anchor(self, parsed: ParsedSource) -> tuple[Anchored, ...]:
        found = [Anchored(k, k.span.start_line, k.name_span.start_line, True) for k in parsed.kernels]
        if not parsed.problems:
            return tuple(found)
        # Half-typed text hides kernels: those of the last good parse stay where the edits have moved them.
        names = {kernel.qualified_name for kernel in parsed.kernels}
        kept = [
            replace(old, parsed=False)
            for old in self.anchored
            if old.kernel.qualified_name not in names and old.line < len(self.lines)
        ]
        return tuple(sorted((*found, *kept), key=lambda a: a.line))

    def _shift(self, start_line: int, old_end: int, new_end: int) -> None:
        delta = new_end - old_end
        if delta:
            self.anchored = tuple(
                replace(a, line=_shifted(a.line, start_line, delta), name_line=_shifted(a.name_line, start_line, delta))
                for a in self.anchored
            )


def _shifted(line: int, start_line: int, delta: int) -> int:
    return line if line <= start_line else max(start_line, line + delta)


def open_document(item: types.TextDocumentItem) -> Document:
    path = path_of(item.uri)
    is_task = path is not None and path.name.endswith(TASK_SUFFIX)
    document = Document(
        uri=item.uri,
        path=path,
        version=item.version,
        lines=item.text.split("\n"),
        language=language_of(path) if path is not None else None,
        is_task=is_task,
        _text=item.text,
    )
    document.parse()
    return document
