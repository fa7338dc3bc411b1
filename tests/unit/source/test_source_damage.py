"""Text that does not parse: the kernels that can be seen are seen, and one clear message says where it hurts."""

# ruff: noqa: E501 -- source texts and messages are read whole

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from evolve_core.source.model import Language, ParsedSource, SyntaxProblem
from evolve_core.source.parse import MAX_SOURCE_BYTES, SourceTree, language_of, parse, read_source

GOOD = "import triton\n\n@triton.jit\ndef first(x):\n    y = x + 1\n    return y\n\n"
LAST = "\n@triton.autotune(\n    configs=[],\n)\n@triton.jit\ndef last(x):\n    return x\n\ndef host(x):\n    last[(1,)](x)\n"


def read(text: str) -> ParsedSource:
    return parse(text, Language.TRITON)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ("@triton.jit\ndef broken(x, n\n    y = tl.load(x)\n", "'(' was never closed"),
        ("@triton.jit\ndef broken(x):\n    y = tl.load(x + (\n", "'(' was never closed"),
        ("@triton.jit\ndef broken(x):\n    y = = 3\n    return y\n", "invalid syntax"),
        ("@triton.jit\ndef broken(x):\n", "expected an indented block"),
        ("@triton.jit\ndef broken(x)\n    return x\n", "expected ':'"),
        ("@triton.jit\ndef broken(x):\n    if x\n        return x\n", "expected ':'"),
        ("@triton.jit\ndef broken(x):\n    for\n", "invalid syntax"),
        ("@triton.jit\ndef broken(x):\n    s = 'abc\n    return x\n", "unterminated string literal"),
    ],
)
def test_damage_in_one_kernel_stays_there(middle: str, message: str) -> None:
    parsed = read(GOOD + middle + LAST)
    complete = {k.qualified_name: k.complete for k in parsed.kernels}
    assert complete == {"first": True, "broken": False, "last": True}
    last = parsed.kernel("last")
    assert last is not None
    assert last.hosts == ("host",)
    assert last.decorators[0].startswith("triton.autotune(")
    assert last.version == read("import triton\n" + LAST).kernels[0].version
    assert parsed.problems[0].message.startswith("syntax error: ")
    assert message in parsed.problems[0].message
    first_line = GOOD.count("\n")
    assert first_line <= parsed.problems[0].span.start_line <= first_line + middle.count("\n")


def test_a_damaged_host_does_not_hide_a_kernel() -> None:
    parsed = read(GOOD + "def host(x):\n    first[(1,)](x\n" + LAST)
    assert [k.qualified_name for k in parsed.kernels] == ["first", "last"]
    assert all(k.complete for k in parsed.kernels)


def test_a_damaged_decorator_does_not_hide_the_kernels_after_it() -> None:
    parsed = read(GOOD + "@triton.autotune(configs=[\n@triton.jit\ndef broken(x):\n    pass\n" + LAST)
    names = [k.qualified_name for k in parsed.kernels]
    assert names[0] == "first"
    assert names[-1] == "last"


def test_a_kernel_keeps_its_name_while_its_class_is_typed() -> None:
    text = "import triton\nclass A:\n    @triton.jit\n    def k(x):\n        return x\n\n    def host(self, x):\n        self.k[(\n\n    @triton.jit\n    def z(x):\n        return x\n"
    assert [k.qualified_name for k in read(text).kernels] == ["A.k", "A.z"]


def test_few_problems_out_of_many() -> None:
    parsed = read("\n".join(f"def f{i}(:\n    pass\n" for i in range(50)))
    assert 1 <= len(parsed.problems) <= 5
    assert parsed.problems[0].span.start_line == 0


def test_new_syntax_of_python_is_no_problem() -> None:
    text = "type X[T] = list[T]\ndef f[T](x: T) -> T: return x\n" + GOOD
    assert read(text).kernel("first") is not None


@pytest.mark.parametrize(
    "text",
    ["", "\n", "\r\n\r\n", "\ufeffimport triton\n@triton.jit\ndef k(): pass\n", "@", "@triton.jit", "def", "\t\t\t", "'''", "(" * 3000,
     "x = " + "[" * 5000, "if x:\n" * 300, "@triton.jit\n" * 500, "\x0c\x1c\u2028\u2029", "\ud800", "def \ud800(): pass"],
)  # fmt: skip
def test_no_text_raises(text: str) -> None:
    read(text)
    parse(text, Language.CUDA)


def test_deeply_nested_code_is_read() -> None:
    text = "".join(f"{' ' * depth}if x:\n" for depth in range(90)) + " " * 90 + "pass\n"
    assert read(GOOD + text).kernel("first") is not None
    deep = "x = " + "(" * 4000 + "1" + ")" * 4000 + "\n"
    assert read(GOOD + deep).kernel("first") is not None


def test_a_binary_file_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_bytes(b"\x7fELF\x02\x01\x01\x00" * 100_000)
    problem = read_source(path)
    assert isinstance(problem, SyntaxProblem)
    assert problem.message == (
        "kernel.py holds NUL bytes: it is not source text, so it was not searched for kernels; save it as UTF-8 if it "
        "is meant to be source, or give it another suffix if it is data"
    )
    parsed = read(path.read_bytes().decode("latin-1"))
    assert parsed.kernels == ()
    assert parsed.problems[0].message.startswith("this file holds NUL bytes")


@pytest.mark.parametrize(
    ("codec", "mark", "said"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE, "UTF-16"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16"),
        ("utf-16-le", b"", "UTF-16"),
        ("utf-16-be", b"", "UTF-16"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "UTF-32"),
    ],
)
def test_text_in_wide_characters_is_named_as_such(tmp_path: Path, codec: str, mark: bytes, said: str) -> None:
    path = tmp_path / "kernel.py"
    path.write_bytes(mark + f"# é\n{GOOD}".encode(codec))
    problem = read_source(path)
    assert isinstance(problem, SyntaxProblem)
    assert problem.message == f"kernel.py is not UTF-8 (it looks like {said}): save it as UTF-8"
    if said == "UTF-16":
        parsed = read(path.read_bytes().decode("latin-1"))
        assert parsed.kernels == ()
        assert parsed.problems[0].message == "this file is not UTF-8 (it looks like UTF-16): save it as UTF-8"


def test_text_in_another_encoding_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_bytes("# é\n".encode("latin-1"))
    problem = read_source(path)
    assert isinstance(problem, SyntaxProblem)
    assert problem.message == (
        "kernel.py is not UTF-8 text (line 1 has the byte 0xe9); save it as UTF-8, or give it another suffix if it is data"
    )
    assert isinstance(read_source(tmp_path / "missing.py"), SyntaxProblem)
    path.write_bytes(b"\xef\xbb\xbfab\nabc\xff\n")
    problem = read_source(path)
    assert isinstance(problem, SyntaxProblem) and "(line 2 has the byte 0xff)" in problem.message
    path.write_text("\ufeffx = 'é'\r\n", newline="")
    assert read_source(path) == "x = 'é'\r\n"


def test_a_file_that_is_too_large_says_so() -> None:
    parsed = read("#" * (MAX_SOURCE_BYTES + 1))
    assert parsed.kernels == ()
    assert parsed.problems[0].message == (
        "this file has 16 MB and only files up to 16 MB are searched for kernels; move the kernels to a file of their own"
    )


def test_a_document_may_become_binary_and_text_again() -> None:
    tree = SourceTree(GOOD, Language.TRITON)
    tree.edit(0, 0, 0, 0, "\0")
    assert tree.source.kernels == ()
    tree.edit(0, 0, 0, 1, "")
    assert tree.source == read(GOOD)


def test_fifty_thousand_lines() -> None:
    kernel = "@triton.jit\ndef k{0}(x):\n    y = tl.load(x + {0})\n    tl.store(x, y)\n\n"
    text = "import triton\n" + "".join(kernel.format(i) for i in range(10_000))
    assert text.count("\n") > 50_000
    assert len(read(text).kernels) == 10_000


def test_the_language_is_told_by_the_suffix() -> None:
    assert language_of(Path("a.py")) is Language.TRITON
    assert language_of(Path("a.cu")) is language_of(Path("a.CUH")) is Language.CUDA
    assert language_of(Path("a.cpp")) is language_of(Path("py")) is None
