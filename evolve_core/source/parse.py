"""The text of a file → its kernels. ``SourceTree`` follows an open document; ``parse`` reads one text."""

from __future__ import annotations

from pathlib import Path

from tree_sitter import Tree

from evolve_core.source import cuda
from evolve_core.source.encoding import NotText, not_utf_8, text_of
from evolve_core.source.grammar import python_parser
from evolve_core.source.model import Kernel, Language, ParsedSource, Span, SyntaxProblem
from evolve_core.source.python_file import MAX_PROBLEMS, UnitReader
from evolve_core.source.text import Document, Replacement
from evolve_core.source.triton import KernelReader

SUFFIXES = {".py": Language.TRITON, ".cu": Language.CUDA, ".cuh": Language.CUDA}
# A generated file of 50,000 lines has about 2 MB. Beyond this size a keystroke would take noticeable time.
MAX_SOURCE_BYTES = 16_000_000
_NOWHERE = Span(0, 0, 0, 0, 0, 0)


def language_of(path: Path) -> Language | None:
    """The kernel language of a file by its suffix; None where such a file holds no kernels."""
    return SUFFIXES.get(path.suffix.lower())


def read_source(path: Path) -> str | SyntaxProblem:
    """The text of a file, or why it cannot be read as text. Line endings are kept as they are."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return SyntaxProblem(
            _NOWHERE, f"cannot read {path}: {error.strerror or error}; check the path and its permissions"
        )
    try:
        return text_of(data, path.name)
    except NotText as error:
        return SyntaxProblem(_NOWHERE, str(error))


def parse(text: str, language: Language) -> ParsedSource:
    """Everything one text says about its kernels. Never raises on any text."""
    return SourceTree(text, language).source


class SourceTree:
    """An open document: edits in, kernels out.

    After an edit tree-sitter reparses incrementally and only statements with a new text are analysed again.
    ``source`` is computed when asked for and kept until the next edit.
    """

    def __init__(self, text: str, language: Language) -> None:
        self.language = language
        self._document = Document(text)
        self._reader = UnitReader()
        self._kernels = KernelReader()
        self._healthy: Tree | None = None
        self._edits: list[Replacement] = []
        self._source: ParsedSource | None = None

    @property
    def text(self) -> str:
        return self._document.text

    def line(self, number: int) -> str:
        """The text of a zero-based line without its line feed; "" past the end of the file."""
        return self._document.line(number)

    def edit(self, start_line: int, start_byte_column: int, end_line: int, end_byte_column: int, new_text: str) -> None:
        """Replaces a range, as one ``didChange`` event says it, with columns in UTF-8 bytes.

        Positions outside the text are moved to its nearest edge, as the protocol asks. For columns in UTF-16 units see
        ``text.byte_column(tree.line(n), column)``.
        """
        self._edits.append(self._document.replace(start_line, start_byte_column, end_line, end_byte_column, new_text))
        self._source = None

    def replace_all(self, text: str) -> None:
        """The whole text anew, as a ``didChange`` event without a range says it."""
        self._document = Document(text)
        self._healthy = None
        self._edits.clear()
        self._source = None

    @property
    def source(self) -> ParsedSource:
        if self._source is None:
            self._source = self._read()
        return self._source

    def _read(self) -> ParsedSource:
        document = self._document
        if b"\0" in document.data:
            return self._without_kernels(SyntaxProblem(_NOWHERE, not_utf_8(document.text, "this file")))
        if len(document.data) > MAX_SOURCE_BYTES:
            megabytes = len(document.data) / 1e6
            limit = MAX_SOURCE_BYTES / 1e6
            return self._without_kernels(
                SyntaxProblem(
                    _NOWHERE,
                    f"this file has {megabytes:.0f} MB and only files up to {limit:.0f} MB are searched for kernels; "
                    "move the kernels to a file of their own",
                )
            )
        if self.language is Language.CUDA:
            return cuda.read(document)
        units, problems = self._reader.read(self._reparse(), document)
        definitions = tuple(d for unit in units for d in unit.facts.definitions)
        kernels = self._kernels.kernels(units)
        return ParsedSource(self.language, kernels, problems or _without_body(kernels), definitions)

    def _reparse(self) -> Tree:
        """Parses from the last tree without damage: with a repaired one, text passes that a fresh parse rejects."""
        parser, data = python_parser(), self._document.data
        if self._healthy is None:
            tree = parser.parse(data)
        else:
            for e in self._edits:
                self._healthy.edit(
                    e.start_byte, e.old_end_byte, e.new_end_byte, e.start_point, e.old_end_point, e.new_end_point
                )
            tree = parser.parse(data, self._healthy)
        self._edits.clear()
        if not tree.root_node.has_error:
            self._healthy = tree
        return tree

    def _without_kernels(self, problem: SyntaxProblem) -> ParsedSource:
        self._healthy = None
        self._edits.clear()
        return ParsedSource(self.language, (), (problem,))


def _without_body(kernels: tuple[Kernel, ...]) -> tuple[SyntaxProblem, ...]:
    """Where the parser repaired nothing, a kernel is incomplete only for want of a first statement."""
    message = "syntax error: expected an indented block after this function's head"
    return tuple(SyntaxProblem(k.name_span, message) for k in kernels if not k.complete)[:MAX_PROBLEMS]
