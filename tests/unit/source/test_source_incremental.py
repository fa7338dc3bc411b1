"""After any edits an open document says what a fresh reading of its text says."""

# ruff: noqa: E501 -- source texts are read whole

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolve_core.source import identity
from evolve_core.source.model import Language
from evolve_core.source.parse import SourceTree, parse
from evolve_core.source.text import Document, byte_column, utf16_column

TRITON = '''import triton
import triton.language as tl
from triton import jit as j


class Ops:
    @triton.jit
    def inner(x):
        """doc"""
        return x

    def host(self, x):
        self.inner[(1,)](x, num_warps=4)


if True:
    @j
    def branch(x_ptr, BLOCK: tl.constexpr):
        x = tl.load(x_ptr)
        tl.store(x_ptr, x)
else:
    branch = None


@triton.autotune(
    configs=[],
)
@triton.jit
def last(x, é="ß"):
    y = x + (1 + 2)
    return y


alias = last


def host(x):
    grid = (1,)
    bound = branch[grid]
    bound(x)
    alias[grid](x)
'''
CUDA = """#include <x.h>
#define KERNEL extern "C" __global__ void
namespace a {
template <typename T>
__global__ void one(const T* x, int n) { if (n) { x[0]; } }
}
// __global__ void no() { }
KERNEL two(float* y) { char c = '{'; }
#if X
__global__ void three() {
#else
__global__ void three(int a) {
#endif
}
void host() { a::one<float><<<1, 2>>>(x, n); two<<<dim3(1), 4, 5>>>(y); }
"""
PIECES = st.sampled_from(
    ["", "x", "\n", "(", ")", '"', "'''", "#", "@triton.jit\n", "@j\ndef new(x):\n    pass\n", "    ", "def ", "class A:\n",
     "alias = branch\n", "é𝄞", "\r\n", "import triton as t\n", "{", "}", "/*", "*/", "__global__ void n(int a) { }\n", "<<<", ";", "\\"]
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 50), st.integers(0, 3), st.integers(0, 40), PIECES), max_size=8
)
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(text: str, language: Language, edits: list[tuple[int, int, int, int, str]]) -> None:
    tree = SourceTree(text, language)
    expected = text.encode()
    assert tree.source == parse(text, language)
    for line, column, lines, width, new in edits:
        before = Document(tree.text)
        start, end = before.offset(line, column), before.offset(line + lines, column + width)
        # An edit may fall inside a character only if it takes all of it: an editor never splits one.
        while start > 0 and start < len(expected) and expected[start] & 0xC0 == 0x80:
            start -= 1
        while end < len(expected) and expected[end] & 0xC0 == 0x80:
            end += 1
        end = max(start, end)
        expected = expected[:start] + new.encode() + expected[end:]
        tree.edit(*before.point(start), *before.point(end), new)
        assert tree.text.encode() == expected
        assert tree.source == parse(tree.text, language)


@SLOW
@given(EDITS)
def test_triton_edits(edits: list[tuple[int, int, int, int, str]]) -> None:
    check(TRITON, Language.TRITON, edits)


@SLOW
@given(EDITS)
def test_cuda_edits(edits: list[tuple[int, int, int, int, str]]) -> None:
    check(CUDA, Language.CUDA, edits)


@SLOW
@given(st.text(alphabet="@tj \n()'\"#:=def[]{}x\t\\;é", max_size=300))
def test_any_text(text: str) -> None:
    tree = SourceTree("", Language.TRITON)
    tree.edit(0, 0, 0, 0, text)
    assert tree.source == parse(text, Language.TRITON)


@given(
    st.text(max_size=200),
    st.integers(-2, 12),
    st.integers(-2, 30),
    st.integers(-2, 12),
    st.integers(-2, 30),
    st.text(max_size=40),
)
def test_the_line_index_follows_edits(text: str, a: int, b: int, c: int, d: int, new: str) -> None:
    document = Document(text)
    start = document.offset(a, b)
    end = max(start, document.offset(c, d))
    expected = document.data[:start] + new.encode() + document.data[end:]
    document.replace(a, b, c, d, new)
    assert document.data == expected
    assert document.starts == [0, *(i + 1 for i, byte in enumerate(expected) if byte == 0x0A)]


@given(st.text(max_size=60))
def test_columns_of_editors(line: str) -> None:
    for index in range(len(line) + 1):
        utf16 = len(line[:index].encode("utf-16-le")) // 2
        utf8 = len(line[:index].encode())
        assert byte_column(line, utf16) == utf8
        assert utf16_column(line, utf8) == utf16
    assert byte_column(line, 10_000) == len(line.encode())
    assert byte_column(line, -1) == 0


def test_a_column_inside_a_surrogate_pair_is_its_start() -> None:
    assert byte_column("a𝄞b", 2) == 1
    assert byte_column("a𝄞b", 3) == 5


def test_replacing_everything() -> None:
    tree = SourceTree(TRITON, Language.TRITON)
    tree.edit(0, 0, 3, 0, "")
    tree.replace_all(TRITON)
    assert tree.source == parse(TRITON, Language.TRITON)
    assert tree.line(0) == "import triton"
    assert tree.line(10_000) == ""


def test_what_did_not_change_is_the_same_object() -> None:
    tree = SourceTree(TRITON, Language.TRITON)
    before = tree.source.kernel("branch")
    line = TRITON.split("\n").index("    y = x + (1 + 2)")
    tree.edit(line, 4, line, 5, "z")
    after = tree.source
    assert [k.qualified_name for k in after.kernels] == ["Ops.inner", "branch", "last"]
    again = after.kernel("branch")
    assert before is not None
    assert again is not None
    assert again.parameters is before.parameters
    assert after.kernel("last") != parse(TRITON, Language.TRITON).kernel("last")


def test_an_edit_of_a_file_of_thousands_of_kernels_reads_no_other_version_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = "".join(f"@triton.jit\ndef kernel_{n}(x):\n    return x\n" for n in range(5_001))
    tree = SourceTree(f"import triton\n{kernels}", Language.TRITON)
    assert len(tree.source.kernels) == 5_001
    monkeypatch.setattr(identity, "computed_version", pytest.fail)
    tree.edit(1, 0, 1, 0, "\n")
    assert len(tree.source.kernels) == 5_001
