"""A kernel's version moves when, and only when, a change could alter what the kernel does."""

# ruff: noqa: E501 -- source texts are read whole

from __future__ import annotations

import textwrap

import pytest

from evolve_core.source.model import Language
from evolve_core.source.parse import parse

BASE = """
import triton
import triton.language as tl

@triton.autotune(configs=[triton.Config({"B": 64}, num_warps=4)], key=["n"])
@triton.jit
def k(x_ptr, n, B: tl.constexpr):
    offs = tl.arange(0, B)
    if n > 0:
        x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
        y = (x + 1) * 2
    tl.store(x_ptr + offs, y)
"""


def version(text: str) -> str:
    (kernel,) = parse(text, Language.TRITON).kernels
    return kernel.version


def changed(old: str, new: str) -> str:
    assert BASE.count(old) == 1
    return BASE.replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        changed("    offs = tl.arange(0, B)\n", "    # a comment\n    offs = tl.arange(0, B)  # and here\n\n\n"),
        changed("    offs = ", '    """A docstring,\n    of two lines."""\n    offs = '),
        changed("    offs = tl.arange(0, B)\n", "    offs = tl.arange(\n        0,\n        B,\n    )\n"),
        changed("    offs = tl.arange(0, B)\n    if", "    offs = tl.arange(0, B);\n    if"),
        changed("mask=offs < n", "mask=(offs < n)"),
        changed("mask=offs < n", "mask=offs<n"),
        changed("x + 1", "x + \\\n            1"),
        changed('key=["n"]', "key=['n']"),
        changed("import triton\n", "import triton\n\ndef unrelated(): return 1\n"),
        changed("def k(x_ptr, n, B: tl.constexpr)", "def k(\n    x_ptr,  # the input\n    n,\n    B: tl.constexpr,\n)"),
        BASE.replace("\n", "\r\n"),
        BASE.replace("    ", "\t"),
        "import triton.language as tl, triton\nclass C:\n" + textwrap.indent(BASE.split("as tl\n", 1)[1], "  "),
    ],
)
def test_layout_comments_and_docstrings_do_not_count(text: str) -> None:
    assert version(text) == version(BASE)


@pytest.mark.parametrize(
    "text",
    [
        changed("x + 1", "x - 1"),
        changed("x + 1", "x + 1.0"),
        changed("other=0.0", "other=1.0"),
        changed("num_warps=4", "num_warps=8"),
        changed('key=["n"]', 'key=["m"]'),
        changed("B: tl.constexpr", "B"),
        changed("(x + 1) * 2", "x + 1 * 2"),
        changed("        y = (x + 1) * 2\n", "    y = (x + 1) * 2\n"),
        changed("@triton.jit\n", "@triton.jit(noinline=True)\n"),
        changed("x_ptr, n, B", "x_ptr, B, n"),
        changed("def k(", "def k2("),
        changed("tl.store(x_ptr + offs, y)", "tl.store(x_ptr + offs, y)\n    tl.store(x_ptr + offs, y)"),
        changed("offs = tl.arange(0, B)", "offs = tl.arange(0, B),"),
        changed("offs < n", "offs <= n"),
        changed("y = (x + 1) * 2", "y = x + 1\n        -2"),
    ],
)
def test_what_could_alter_the_kernel_counts(text: str) -> None:
    assert version(text) != version(BASE)


def test_statements_on_two_lines_are_not_one_expression() -> None:
    one = "@triton.jit\ndef k(x):\n    y = x\n    -x\n"
    other = "@triton.jit\ndef k(x):\n    y = x - x\n"
    assert version(one) != version(other)


def test_strings_count_by_their_content() -> None:
    def with_string(literal: str) -> str:
        return version(f"@triton.jit\ndef k(x):\n    tl.static_print({literal})\n")

    assert with_string("'a'") == with_string('"a"')
    assert with_string("'a b'") != with_string("'a  b'")
    assert with_string("'# a'") != with_string("'# b'")
    assert with_string("r'a'") != with_string("'a'")
    assert with_string("'it\\'s'") != with_string('"its"')


def test_a_string_that_does_something_is_no_docstring() -> None:
    plain = version("@triton.jit\ndef k(x):\n    f'{g(x)}'\n    return x\n")
    assert plain != version("@triton.jit\ndef k(x):\n    return x\n")


CUDA = "template <typename T>\n__global__ void k(const T* x, int n) {\n    // note\n    x[n] + +1;\n#if A\n    f();\n#endif\n}\n"


def cuda_version(text: str) -> str:
    (kernel,) = parse(text, Language.CUDA).kernels
    return kernel.version


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    // note\n", ""),
        ("{\n", "\n{\n\n"),
        ("const T* x", "const T *x"),
        ("int n", "int /* count */ n"),
        ("\n", "\r\n"),
        ("f();", "f( );"),
    ],
)
def test_cuda_layout_does_not_count(old: str, new: str) -> None:
    assert cuda_version(CUDA.replace(old, new)) == cuda_version(CUDA)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ +1", "++1"),
        ("#if A", "#if B"),
        ("#if A\n", "#if A "),
        ("f();", "f(1);"),
        ("typename T", "class T"),
        ("const T*", "T*"),
        ("int n", "int m"),
    ],
)
def test_cuda_tokens_count(old: str, new: str) -> None:
    assert cuda_version(CUDA.replace(old, new)) != cuda_version(CUDA)
