"""Triton kernels in every spelling people use, their parameters and their launches."""

from __future__ import annotations

import pytest

from evolve_core.source.model import Kernel, Language, ParsedSource
from evolve_core.source.parse import parse

BODY = "def k(x, n: tl.constexpr):\n    pass\n"


def read(text: str) -> ParsedSource:
    return parse(text, Language.TRITON)


def kernel(text: str, name: str = "k") -> Kernel:
    found = read(text).kernel(name)
    assert found is not None, f"{name} is not among {[k.qualified_name for k in read(text).kernels]}"
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import triton\n@triton.jit\n",
        "import triton as tr\n@tr.jit\n",
        "from triton import jit\n@jit\n",
        "from triton import jit as j\n@j\n",
        "from triton import *\n@jit\n",
        "from triton.runtime.jit import jit\n@jit\n",
        "import triton.runtime.jit\n@triton.runtime.jit.jit\n",
        "from triton.runtime import jit\n@jit.jit\n",
        "import triton\n@triton.jit(do_not_specialize=['n'])\n",
        "import triton\n@triton.jit()\n",
        "import triton\n@triton.autotune(configs=[\n    triton.Config({'n': 1}),\n], key=['n'])\n@triton.jit\n",
        "import triton\n@triton.jit\n@wrapped\n",
        "import triton\n@libentry()\n@triton.heuristics({'n': lambda a: 1})\n@triton.jit\n",
        "import triton\nmy_jit = triton.jit\n@my_jit\n",
        "import triton\nmy_jit = other = triton.jit\n@other\n",
        "import functools, triton\n@functools.partial(triton.jit, debug=True)\n",
        "from functools import partial\nimport triton\nj = partial(triton.jit, debug=True)\n@j\n",
        "import triton\nj = triton.jit(debug=True)\n@j\n",
        "import triton\nj = triton.jit if FAST else (lambda f: f)\n@j\n",
        "try:\n    import triton\nexcept ImportError:\n    triton = None\n@triton.jit\n",
        "from mylib.compat import triton\n@triton.jit\n",
        "@triton.jit\n",
        "from triton.experimental import gluon\n@gluon.jit\n",
        "from triton.experimental.gluon import jit\n@jit\n",
        "import triton\n@triton.jit  # a comment\n",
        "import triton\n@triton.jit\n# between\n",
        "import triton\n\n\n@ triton . jit\n",
    ],
)
def test_a_kernel_in_every_spelling(text: str) -> None:
    parsed = read(text + BODY)
    assert [k.qualified_name for k in parsed.kernels] == ["k"]
    assert parsed.problems == ()
    found = parsed.kernels[0]
    assert found.complete
    assert found.constexprs == ("n",)


@pytest.mark.parametrize(
    "text",
    [
        "import torch\n@torch.jit.script\n",
        "from numba import jit\n@jit\n",
        "from jax import jit as j\n@j\n",
        "import triton\n@triton.autotune(configs=[], key=[])\n",
        "from triton.experimental import gluon\n@gluon.constexpr_function\n",
        "import tilelang\n@tilelang.jit\n",
        "import functools, torch\n@functools.partial(torch.jit.script, x=1)\n",
        "",
        "# @triton.jit\n",
    ],
)
def test_what_is_no_kernel(text: str) -> None:
    assert read(text + BODY).kernels == ()


def test_a_kernel_in_a_string_is_none() -> None:
    assert read(f'import triton\nTEMPLATE = """\n@triton.jit\n{BODY}"""\n').kernels == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("class A:\n    class B:\n        @triton.jit\n        def k(): pass\n", "A.B.k"),
        ("def make():\n    @triton.jit\n    def k(): pass\n    return k\n", "make.k"),
        ("if X:\n    @triton.jit\n    def k(): pass\n", "k"),
        ("try:\n    import y\nexcept E:\n    pass\nelse:\n    @triton.jit\n    def k(): pass\n", "k"),
        ("with c:\n    for i in r:\n        @triton.jit\n        def k(): pass\n", "k"),
        ("def f():\n    class C:\n        def g():\n            @triton.jit\n            def k(): pass\n", "f.C.g.k"),
        ("@dataclass\nclass D:\n    @staticmethod\n    @triton.jit\n    def k(): pass\n", "D.k"),
        ("match x:\n    case 1:\n        @triton.jit\n        def k(): pass\n", "k"),
    ],
)
def test_nesting_names_the_kernel(text: str, name: str) -> None:
    assert [k.qualified_name for k in read("import triton\n" + text).kernels] == [name]
    assert kernel("import triton\n" + text, name).name == "k"


def test_both_branches_of_a_definition_are_kernels() -> None:
    text = "if A:\n    @triton.jit\n    def k(x): pass\nelse:\n    @triton.jit\n    def k(x): return\n"
    first, second = read(text).kernels
    assert first.qualified_name == second.qualified_name == "k"
    assert first.version != second.version


def test_a_function_jitted_by_a_call() -> None:
    text = """
import triton
def slow(x, n): pass
fast = triton.jit(slow)
tuned = triton.autotune(configs=[], key=[])(triton.jit(other))
def other(x): pass
def host(x):
    fast[(1,)](x, 2)
    tuned[grid](x)
"""
    parsed = read(text)
    assert [k.qualified_name for k in parsed.kernels] == ["slow", "other"]
    assert [k.hosts for k in parsed.kernels] == [("host",), ("host",)]


@pytest.mark.parametrize(
    "annotation",
    ["tl.constexpr", '"tl.constexpr"', "triton.language.constexpr", "constexpr", "ce", "gl.constexpr", "'constexpr'"],
)
def test_constexpr_in_every_spelling(annotation: str) -> None:
    text = f"""
import triton, triton.language as tl
from triton.language import constexpr
from triton.language import constexpr as ce
@triton.jit
def k(x_ptr, n: {annotation} = 4, *, m: int = 3): pass
"""
    found = kernel(text)
    assert found.constexprs == ("n",)
    assert [(p.name, p.annotation, p.default) for p in found.parameters] == [
        ("x_ptr", "", None),
        ("n", annotation, "4"),
        ("m", "int", "3"),
    ]


HEAD = "import triton\n@triton.jit\ndef k(x, n, num_stages, BLOCK): pass\n@triton.jit\ndef other(x): pass\n"


@pytest.mark.parametrize(
    ("launch", "grid"),
    [
        ("k[(n,)](x, n, BLOCK=4)", "(n,)"),
        ("k[grid](x, n, BLOCK=4)", "grid"),
        ("k[lambda meta: (1, 2)](x, n, BLOCK=4)", "lambda meta: (1, 2)"),
        ("k[1, 2](x, n, BLOCK=4)", "1, 2"),
        ("k[\n        (n, 1)\n    ](x, n, BLOCK=4)", "(n, 1)"),
        ("k.run(x, n, grid=(n,), BLOCK=4)", "(n,)"),
        ("k.warmup(x, n, BLOCK=4, grid=(1,))", "(1,)"),
        ("alias = k\n    alias[grid](x, n, BLOCK=4)", "grid"),
        ("alias = k if n else other\n    alias[grid](x, n, BLOCK=4)", "grid"),
        ("bound = k[grid]\n    bound(x, n, BLOCK=4)", "grid"),
        ("y = k[grid](x, n, BLOCK=4)", "grid"),
        ("return f(k[grid](x, n, BLOCK=4))", "grid"),
    ],
)
def test_launches(launch: str, grid: str) -> None:
    found = kernel(HEAD + f"def host(x, n):\n    {launch}\n")
    (site,) = found.launches
    assert (site.kernel, site.host, site.grid) == ("k", "host", grid)
    assert [(a.keyword, a.text) for a in site.arguments] == [(None, "x"), (None, "n"), ("BLOCK", "4")]
    assert site.options == ()


def test_a_keyword_that_is_no_parameter_is_an_option() -> None:
    found = kernel(HEAD + "k[g](x, num_stages=2, num_warps=4, maxnreg=64, waves_per_eu=1)\n")
    (site,) = found.launches
    assert site.host == ""
    assert [a.keyword for a in site.arguments] == [None, "num_stages"]
    assert [(a.keyword, a.text) for a in site.options] == [("num_warps", "4"), ("maxnreg", "64"), ("waves_per_eu", "1")]


def test_an_alias_of_two_kernels_launches_both() -> None:
    text = HEAD + "def host(x):\n    if x:\n        f = k\n    else:\n        f = other\n    f[g](x)\n"
    assert [k.hosts for k in read(text).kernels] == [("host",), ("host",)]


def test_an_alias_in_one_function_means_nothing_in_another() -> None:
    text = HEAD + "def a(x):\n    f = k\n    f[g](x)\ndef b(x, f):\n    f[g](x)\n"
    assert kernel(text).hosts == ("a",)


def test_methods_launch_by_self_and_class() -> None:
    text = """
class Op:
    @staticmethod
    @triton.jit
    def k(x): pass
    def run(self, x):
        self.k[(1,)](x)
    def again(self, x):
        Op.k[(1,)](x)
"""
    assert kernel(text, "Op.k").hosts == ("Op.run", "Op.again")


def test_a_device_function_has_no_launch() -> None:
    text = "@triton.jit\ndef helper(x): return x\n@triton.jit\ndef k(x):\n    helper(x)\ndef h(x):\n    k[(1,)](x)\n"
    parsed = read(text)
    assert [k.qualified_name for k in parsed.kernels] == ["helper", "k"]
    assert parsed.kernels[0].launches == ()


def test_the_innermost_kernel_of_a_name_is_launched() -> None:
    text = "@triton.jit\ndef k(x): pass\ndef f(x):\n    @triton.jit\n    def k(x): return\n    k[(1,)](x)\n"
    outer, inner = read(text).kernels
    assert (outer.qualified_name, outer.launches) == ("k", ())
    assert (inner.qualified_name, inner.hosts) == ("f.k", ("f",))


def test_spans_count_bytes() -> None:
    text = "s = 'é𝄞'; import triton\n@triton.jit\ndef kérnel(x):  # ü\n    return 'ß'\ny = kérnel[('é',)](x)\n"
    found = kernel(text, "kérnel")
    data = text.encode()
    assert data[found.name_span.start_byte : found.name_span.end_byte].decode() == "kérnel"
    assert (found.name_span.start_line, found.name_span.start_column, found.name_span.end_column) == (2, 4, 11)
    assert data[found.span.start_byte : found.span.end_byte].decode().endswith("return 'ß'")
    (site,) = found.launches
    assert (site.span.start_line, site.span.start_column) == (4, 4)
    assert site.grid == "('é',)"


def test_windows_line_endings() -> None:
    text = (HEAD + "def host(x):\n    k[g](x)\n").replace("\n", "\r\n")
    assert kernel(text).hosts == ("host",)
    assert kernel(text).version == kernel(text.replace("\r\n", "\n")).version
