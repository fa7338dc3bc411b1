"""The kernels found in packages nobody here wrote are exactly those that Python's own parser finds.

The reference below shares no code with the package: it walks ``ast`` and follows imports. It fails, and never skips,
where the corpus is there and differs; ``scripts/corpus.sh`` fetches the corpus.
"""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from evolve_core.source.model import Kernel, Language
from evolve_core.source.parse import SourceTree, parse
from evolve_core.task.skeleton import skeleton

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def corpus() -> list[Path]:
    script = ROOT / "scripts" / "corpus.sh"
    result = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=170, check=False)
    assert result.returncode == 0, f"the corpus could not be fetched: {result.stderr}"
    files = sorted(Path(result.stdout.strip()).rglob("*.py"))
    assert len(files) > 600
    return files


class Reference(ast.NodeVisitor):
    """(qualified name, line of `def`, parameters, constexpr parameters) of every function under a jit decorator."""

    def __init__(self, tree: ast.Module) -> None:
        self.scope: list[str] = []
        self.found: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = []
        self.jits = {"triton.jit", "triton.experimental.gluon.jit"}
        self.names: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        self.names[alias.asname] = alias.name
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        self.visit(tree)

    def full_name(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.full_name(node.value)}.{node.attr}"
        return "?"

    def is_jit(self, node: ast.expr) -> bool:
        return self.full_name(node.func if isinstance(node, ast.Call) else node) in self.jits

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        self.generic_visit(node)
        self.scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any(self.is_jit(decorator) for decorator in node.decorator_list):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            constexprs = [a.arg for a in arguments if a.annotation and "constexpr" in ast.unparse(a.annotation)]
            names = tuple(a.arg for a in arguments)
            self.found.append((".".join([*self.scope, node.name]), node.lineno, names, tuple(constexprs)))
        self.scope.append(node.name)
        self.generic_visit(node)
        self.scope.pop()


def ours(kernel: Kernel) -> tuple[str, int, tuple[str, ...], tuple[str, ...]]:
    names = tuple(p.name for p in kernel.parameters)
    return kernel.qualified_name, kernel.name_span.start_line + 1, names, kernel.constexprs


def test_the_same_kernels_as_pythons_own_parser(corpus: list[Path]) -> None:
    total = 0
    for path in corpus:
        text = path.read_text(encoding="utf-8")
        parsed = parse(text, Language.TRITON)
        expected = sorted(Reference(ast.parse(text)).found, key=lambda k: k[1])
        assert [ours(k) for k in parsed.kernels] == expected, path
        assert parsed.problems == (), path
        assert all(k.complete for k in parsed.kernels), path
        total += len(expected)
    assert total == 750


def launched_names(tree: ast.Module, kernels: set[str]) -> Counter[str]:
    """Direct launches ``name[…](…)`` of the file's own module-level kernels."""
    return Counter(
        node.func.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Subscript)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in kernels
    )


def test_every_direct_launch_is_found(corpus: list[Path]) -> None:
    total = 0
    for path in corpus:
        text = path.read_text(encoding="utf-8")
        parsed = parse(text, Language.TRITON)
        expected = launched_names(ast.parse(text), {k.qualified_name for k in parsed.kernels})
        for kernel in parsed.kernels:
            # A name may also be launched through an alias, so at least these.
            assert len(kernel.launches) >= expected[kernel.qualified_name], (path, kernel.qualified_name)
        total += sum(expected.values())
    assert total > 500


def test_spans_hold_the_text_of_the_kernel(corpus: list[Path]) -> None:
    for path in corpus:
        data = path.read_bytes()
        for kernel in parse(data.decode(), Language.TRITON).kernels:
            assert data[kernel.name_span.start_byte : kernel.name_span.end_byte].decode() == kernel.name
            source = data[kernel.span.start_byte : kernel.span.end_byte].decode()
            assert source.startswith("@")
            indented = " " * kernel.span.start_column + source
            (function,) = ast.parse(f"if True:\n{indented}" if kernel.span.start_column else indented).body
            assert isinstance(function, ast.If if kernel.span.start_column else ast.FunctionDef)


def test_every_skeleton_is_python_that_names_a_function_of_the_file(corpus: list[Path]) -> None:
    named = total = 0
    for path in corpus:
        text = path.read_text(encoding="utf-8")
        parsed = parse(text, Language.TRITON)
        functions = {d.qualified_name for d in parsed.definitions}
        # One kernel a file: those of one file mostly share their host.
        for kernel in parsed.kernels[:1]:
            module = ast.parse(skeleton(path, parsed, text, kernel))
            (entry,) = (n.value for n in module.body if isinstance(n, ast.Assign))
            assert isinstance(entry, ast.Constant)
            total += 1
            named += entry.value in functions
    assert named > 0.9 * total


def test_an_edit_in_each_file_gives_what_a_fresh_reading_gives(corpus: list[Path]) -> None:
    for path in [p for p in corpus if b"triton.jit" in p.read_bytes()][::4]:
        text = path.read_text(encoding="utf-8")
        tree = SourceTree(text, Language.TRITON)
        lines = text.count("\n")
        for line, new in ((lines // 2, "    x = (\n"), (lines // 3, "# note\n"), (2 * lines // 3, "import torch\n")):
            tree.edit(line, 0, line, 0, new)
            assert tree.source == parse(tree.text, Language.TRITON), path
