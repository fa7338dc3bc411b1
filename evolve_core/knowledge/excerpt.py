"""The part of a file that an insight is about: its kernels, and the functions that launch them.

The host functions belong to it because a change of ``num_warps`` or of the grid happens there and nowhere else.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Mapping, Sequence

from evolve_core.source.model import Kernel, Language
from evolve_core.source.parse import parse


def kernel_text(source: str, kernel: Kernel) -> str:
    """The kernel's own source, decorators included, without the indentation of where it stands."""
    encoded = source.encode("utf-8")
    start = kernel.span.start_byte - kernel.span.start_column
    return textwrap.dedent(encoded[start : kernel.span.end_byte].decode("utf-8", "replace"))


def excerpt(source: str, language: Language, kernels: Sequence[str]) -> str:
    """The named kernels and their host functions in file order, separated by blank lines; "" where there are none."""
    found = [k for k in parse(source, language).kernels if k.qualified_name in kernels]
    return compose(source, found, host_functions(source, language))


def compose(source: str, kernels: Sequence[Kernel], functions: Mapping[str, tuple[int, str]]) -> str:
    """The excerpt for kernels that were found already; ``functions`` are those of ``host_functions``."""
    hosts = {host for kernel in kernels for host in kernel.hosts}
    pieces = [(k.span.start_line, kernel_text(source, k)) for k in kernels]
    pieces += [functions[host] for host in hosts if host in functions]
    return "\n\n".join(text.rstrip() for _, text in sorted(pieces)) + "\n" if pieces else ""


def host_functions(source: str, language: Language) -> dict[str, tuple[int, str]]:
    """The functions of a Python file by qualified name: first line and text. None of CUDA, or of a file with errors."""
    if language is not Language.TRITON:
        return {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    # Not splitlines: it also cuts at form feeds, which Python does not count as lines.
    lines = source.split("\n")
    found: dict[str, tuple[int, str]] = {}
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, prefix = stack.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _SCOPES):
                stack.append((child, prefix))
                continue
            name = f"{prefix}{child.name}"
            stack.append((child, f"{name}."))
            if not isinstance(child, ast.ClassDef):
                start = min([child.lineno, *(d.lineno for d in child.decorator_list)]) - 1
                found.setdefault(name, (start, textwrap.dedent("\n".join(lines[start : child.end_lineno]))))
    return found


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def normalised(text: str, language: Language) -> str:
    """Text that is equal for sources that differ in layout and comments only."""
    if language is Language.TRITON:
        try:
            return ast.dump(ast.parse(textwrap.dedent(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return " ".join(re.sub(r"#.*", "", text).split())
    return " ".join(re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL).split())
