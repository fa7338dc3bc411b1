"""What the text of a file says about its kernels.

Positions are zero-based. Columns count UTF-8 bytes from the start of the line, as tree-sitter gives them;
``evolve_server`` converts them to the client's encoding at the protocol boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    TRITON = "triton"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of a file, both as bytes of its UTF-8 text and as (line, byte column) pairs."""

    start_byte: int
    end_byte: int
    start_line: int
    start_column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel. ``annotation`` is the text behind the colon (Triton) or the type (CUDA)."""

    name: str
    annotation: str = ""
    default: str | None = None
    is_constexpr: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument at a launch. ``keyword`` is None for a positional one; ``text`` is its source."""

    text: str
    span: Span
    keyword: str | None = None


@dataclass(frozen=True, slots=True)
class LaunchSite:
    """Where a kernel is launched: ``kernel[grid](...)``, ``kernel.run(...)``, ``kernel<<<g, b, s>>>(...)``.

    ``host`` is the qualified name of the function around it, "" at module level. ``options`` are the arguments
    that steer the launch instead of reaching the kernel (num_warps, num_stages, num_ctas, maxnreg …).
    """

    kernel: str
    host: str
    span: Span
    grid: str
    arguments: tuple[Argument, ...]
    options: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One GPU function in a source file. Identity: file + ``qualified_name``. Version: ``version``.

    ``span`` covers decorators and body, ``name_span`` the name alone, ``decorators`` their source without the @.
    ``version`` is the hash of the normalised source (see ``identity.py``): it moves when, and only when, a change
    could alter what the kernel does; comments, docstrings and layout do not count.
    ``complete`` is False where the parser had to repair the text inside the kernel.
    """

    qualified_name: str
    language: Language
    span: Span
    name_span: Span
    parameters: tuple[Parameter, ...]
    decorators: tuple[str, ...]
    launches: tuple[LaunchSite, ...]
    version: str
    complete: bool = True

    @property
    def name(self) -> str:
        return self.qualified_name.rsplit(".", 1)[-1]

    @property
    def constexprs(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters if p.is_constexpr)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Qualified names of the functions that launch it, in file order, each once."""
        return tuple(dict.fromkeys(site.host for site in self.launches if site.host))


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """A place where the parser had to repair the text."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A Python function, kernels included, or a name assigned outside of functions, with the names it uses.

    ``references`` are identifiers and dotted names as written, without those of functions nested inside.
    """

    qualified_name: str
    is_function: bool
    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class ParsedSource:
    """Everything the text of one file says. ``kernels`` are in file order.

    Two kernels may share a qualified name where two branches of an ``if`` define it, or where C++ overloads it.
    ``definitions`` is empty for CUDA.
    """

    language: Language
    kernels: tuple[Kernel, ...]
    problems: tuple[SyntaxProblem, ...] = ()
    definitions: tuple[Definition, ...] = ()

    def kernel(self, qualified_name: str) -> Kernel | None:
        return next((k for k in self.kernels if k.qualified_name == qualified_name), None)


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replace the half-open line range [start_line, end_line) by ``new_text`` (whole lines)."""

    start_line: int
    end_line: int
    new_text: str
