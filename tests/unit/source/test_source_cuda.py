"""CUDA kernels and launches, with the macros, templates and preprocessor lines of real files."""

# ruff: noqa: E501 -- source texts are read whole

from __future__ import annotations

import pytest

from evolve_core.source.model import Kernel, Language, LaunchSite, ParsedSource
from evolve_core.source.parse import parse


def read(text: str) -> ParsedSource:
    return parse(text, Language.CUDA)


def names(text: str) -> list[str]:
    return [k.qualified_name for k in read(text).kernels]


def only(text: str) -> Kernel:
    (kernel,) = read(text).kernels
    return kernel


@pytest.mark.parametrize(
    "declaration",
    [
        "__global__ void k(int a)",
        "void __global__ k(int a)",
        'extern "C" __global__ void k(int a)',
        "static inline __global__ void k(int a)",
        "__global__ void __launch_bounds__(256, 2) k(int a)",
        "__global__ __launch_bounds__(kThreads) void k(int a)",
        "template <typename T, int N = (4 > 3), class... Rest>\n__global__ void k(int a)",
        "template <typename T> requires Good<T>\n__global__ void k(int a)",
        "template <>\n__global__ void k<float>(int a)",
        "__global__ void k(int a) MAYBE_UNUSED_NOT_A_CALL",
        "[[maybe_unused]] __global__ void k(int a)",
        "MACRO(x) __global__ void k(int a)",
        "__attribute__((noinline)) __global__ void k(int a)",
        "__global__\n// why\nvoid\nk\n(int a)\n",
        "#define KERNEL __global__ void\nKERNEL k(int a)",
        '#define KERNEL extern "C" \\\n  __global__ void\nKERNEL k(int a)',
        "#define KERNEL(name) __global__ void name\nKERNEL(k)(int a)",
        "#define K(name, ...) __global__ void name(__VA_ARGS__)\nK(k, int a)",
        "#define INNER __global__\n#define OUTER INNER void\nOUTER k(int a)",
    ],
)
def test_a_kernel_in_every_declaration(declaration: str) -> None:
    text = declaration + " { int b = a; if (b) { } }\nint after;\n"
    kernel = only(text)
    assert kernel.qualified_name == "k"
    assert kernel.complete
    assert [(p.name, p.annotation) for p in kernel.parameters] == [("a", "int")]
    data = text.encode()
    assert data[kernel.span.start_byte : kernel.span.end_byte].endswith(b"{ int b = a; if (b) { } }")
    assert data[kernel.name_span.start_byte : kernel.name_span.end_byte] == b"k"
    assert read(text).problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "__global__ void declared(int a);",
        "// __global__ void k() { }",
        "/* __global__ void k() { } */",
        'const char* s = "__global__ void k() { }";',
        'const char* s = R"cu(__global__ void k() { } " )cu";',
        "#define K __global__ void k() { }",
        "#define K \\\n __global__ void k() \\\n { }\nint x;",
        "__device__ void helper() { }",
        "void my__global__x() { }",
    ],
)
def test_what_is_no_kernel(text: str) -> None:
    assert names(text) == []


def test_namespaces_classes_and_linkage() -> None:
    text = """
namespace a { namespace { __global__ void one() { } } }
namespace b::c { inline namespace v1 { __global__ void two() { } } }
extern "C" { __global__ void three() { } }
struct S { int x[2] = {1, 2}; enum E { A, B }; };
struct S make() { return S{}; }
int table[] = {1, 2, 3};
__global__ void four() { }
"""
    assert names(text) == ["a.one", "b.c.v1.two", "three", "four"]


def test_characters_and_strings_hold_no_braces() -> None:
    text = """__global__ void one() { char c = '{'; char d = '\\''; const char* s = "}{\\"{"; int n = 1'000'000; }
__global__ void two() { auto s = R"(}}})"; /* } */ // }
}
__global__ void three() { }
"""
    assert names(text) == ["one", "two", "three"]


def test_branches_of_the_preprocessor_keep_the_braces() -> None:
    text = """
#ifdef A
__global__ void k(int a) {
#elif B
__global__ void k(float a) {
#else
__global__ void k(double a) {
#endif
    a = 1;
}
__global__ void after() { }
"""
    assert names(text) == ["k", "k", "k", "after"]
    parsed = read(text)
    assert all(k.complete for k in parsed.kernels)
    assert parsed.problems == ()
    assert [k.parameters[0].annotation for k in parsed.kernels[:3]] == ["int", "float", "double"]


def test_a_missing_brace_hides_no_other_kernel() -> None:
    text = "__global__ void one() { if (x) {\n}\n__global__ void two() { }\ntemplate <int N>\n__global__ void three() { }\n"
    parsed = read(text)
    assert [(k.qualified_name, k.complete) for k in parsed.kernels] == [("one", False), ("two", True), ("three", True)]
    assert [p.message for p in parsed.problems] == ["the body of one is not closed: a } is missing"]


def test_an_open_comment_is_named() -> None:
    parsed = read("__global__ void one() { }\n/* and so\n__global__ void two() { }\n")
    assert [k.qualified_name for k in parsed.kernels] == ["one"]
    assert [(p.message, p.span.start_line) for p in parsed.problems] == [
        ("this comment is not closed: a */ is missing", 1)
    ]


def test_parameters() -> None:
    kernel = only(
        "__global__ void k(const T* __restrict__ a, unsigned long long n = 1 << 3, float (*f)(int, int), int b[4][2], "
        "std::vector<std::pair<int, int>> v, const __grid_constant__ CUtensorMap map, dim3 d = dim3(1, 2)) { }"
    )
    assert [(p.name, p.annotation, p.default) for p in kernel.parameters] == [
        ("a", "const T * __restrict__", None),
        ("n", "unsigned long long", "1 << 3"),
        ("f", "float(*)(int, int)", None),
        ("b", "int[4][2]", None),
        ("v", "std::vector<std::pair<int, int>>", None),
        ("map", "const __grid_constant__ CUtensorMap", None),
        ("d", "dim3", "dim3(1, 2)"),
    ]
    assert only("__global__ void k(void) { }").parameters == ()


def test_bounds_are_decorators() -> None:
    kernel = only("__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(128, MIN) k() { }")
    assert kernel.decorators == ("__cluster_dims__(2, 1, 1)", "__launch_bounds__(128, MIN)")


KERNEL = (
    "template <typename T, int N> __global__ void k(T* x, int n) { }\nnamespace ns { __global__ void m(int a) { } }\n"
)


def launch(statement: str, kernel: str = "k") -> LaunchSite:
    parsed = read(KERNEL + f"namespace h {{ void Host::run(int n) {{ {statement} }} }}\n")
    found = parsed.kernel(kernel)
    assert found is not None
    (site,) = found.launches
    assert site.host == "h.Host.run"
    return site


@pytest.mark.parametrize(
    ("statement", "grid", "options", "arguments"),
    [
        ("k<<<1, 2>>>(x, n);", "1", [("block", "2")], ["x", "n"]),
        (
            "k<float, 4><<<dim3(a, b), 256, 4 * sizeof(T), stream>>>(x, f(n, 1));",
            "dim3(a, b)",
            [("block", "256"), ("shared_bytes", "4 * sizeof(T)"), ("stream", "stream")],
            ["x", "f(n, 1)"],
        ),
        ("k<T, (N > 2)><<<g, b>>>(x, n);", "g", [("block", "b")], ["x", "n"]),
        ("k<std::pair<int, int>, 2>\n    <<<g,\n  b>>>\n (x,\n n);", "g", [("block", "b")], ["x", "n"]),
        ("if (n < 4) k<float, 1><<<n >> 2, b>>>(x, n);", "n >> 2", [("block", "b")], ["x", "n"]),
        ("::k<float, 1><<<g, b>>>(reinterpret_cast<T*>(x), std::max<int>(n, 2));", "g", [("block", "b")],
         ["reinterpret_cast<T*>(x)", "std::max<int>(n, 2)"]),
        ("cudaLaunchKernel((void*)k<float, 4>, g, b, args, 0, st);", "g",
         [("block", "b"), ("arguments", "args"), ("shared_bytes", "0"), ("stream", "st")], []),
        ("cudaLaunchCooperativeKernel((const void*)&k<float, 4>, g, b, args);", "g", [("block", "b"), ("arguments", "args")], []),
        ("cudaLaunchKernelEx(&config, k<float, 4>, x, n);", "", [("configuration", "&config")], ["x", "n"]),
        ("hipLaunchKernelGGL(k, g, b, 0, st, x, n);", "g", [("block", "b"), ("shared_bytes", "0"), ("stream", "st")], ["x", "n"]),
        ('CUfunction f; cuModuleGetFunction(&f, mod, "k"); cuLaunchKernel(f, 1, 2, 3, 4, 5, 6, 0, st, args, 0);', "1, 2, 3",
         [("block_x", "4"), ("block_y", "5"), ("block_z", "6"), ("shared_bytes", "0"), ("stream", "st"), ("arguments", "args")], []),
    ],
)  # fmt: skip
def test_launches(statement: str, grid: str, options: list[tuple[str, str]], arguments: list[str]) -> None:
    site = launch(statement)
    assert site.grid == grid
    assert [(o.keyword, o.text) for o in site.options] == options
    assert [a.text for a in site.arguments] == arguments


@pytest.mark.parametrize("statement", ["ns::m<<<1, 2>>>(3);", "using namespace ns; m<<<1, 2>>>(3);"])
def test_a_launch_across_namespaces(statement: str) -> None:
    assert launch(statement, "ns.m").grid == "1"


def test_what_launches_nothing() -> None:
    text = KERNEL + "void f() { a <<< 3; unknown<<<1, 2>>>(x); // k<<<1, 2>>>(x, n);\n}\n#define L k<<<1, 2>>>(x, n)\n"
    assert all(k.launches == () for k in read(text).kernels)


def test_a_launch_being_typed_reads_no_further_than_its_statement() -> None:
    text = KERNEL + "void f() { k<float, 1><<<1, \n}\nvoid g() { k<float, 2><<<3, 4>>>(x, n); }\n"
    kernel = read(text).kernel("k")
    assert kernel is not None
    assert kernel.hosts == ("g",)


def test_a_host_that_is_no_kernel_names_the_launch() -> None:
    text = KERNEL + "template <class T> auto run(T t) -> decltype(f(t)) { k<T, 1><<<1, 2>>>(t, 3); return t; }\n"
    kernel = read(text).kernel("k")
    assert kernel is not None
    assert kernel.hosts == ("run",)
