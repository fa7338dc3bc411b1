"""Kernels of a CUDA file: ``__global__`` functions with a body, and the places that launch them.

Qualified names join namespaces with dots, as everywhere here: ``ns::scale`` is ``ns.scale``. In a launch site the
block, the shared memory and the stream are options named ``block``, ``shared_bytes`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from evolve_core.source.cuda_scan import Function, Launch, Outline, outline
from evolve_core.source.cuda_tokens import Token, angle_start, group_end, normalised, split_commas, tokens
from evolve_core.source.identity import token_version
from evolve_core.source.model import (
    Argument,
    Kernel,
    Language,
    LaunchSite,
    Parameter,
    ParsedSource,
    SyntaxProblem,
)
from evolve_core.source.text import Document

_CONFIGURATION = ("grid", "block", "shared_bytes", "stream")
MAX_LAUNCH_TOKENS = 4000


def read(document: Document) -> ParsedSource:
    """The kernels of an open document."""
    found = outline(document.data)
    functions = sorted((f for f in found.functions if f.is_kernel), key=lambda f: f.start)
    launches = _launches(found, functions, document)
    kernels = tuple(_kernel(f, launches.get(f.qualified_name, []), document) for f in functions)
    return ParsedSource(Language.CUDA, kernels, _problems(found, functions, document))


def _kernel(function: Function, launches: list[LaunchSite], document: Document) -> Kernel:
    text = document.data[function.start : function.end]
    return Kernel(
        qualified_name=function.qualified_name,
        language=Language.CUDA,
        span=document.span(function.start, function.end),
        name_span=document.span(function.name_start, function.name_end),
        parameters=tuple(_parameters(function.parameters, document.data)),
        decorators=tuple(_bounds(function.header, document.data)),
        launches=tuple(launches),
        version=token_version(list(normalised(text))),
        complete=function.complete,
    )


def _parameters(items: list[Token], data: bytes) -> Iterator[Parameter]:
    for part in split_commas(items):
        equals = next((i for i, t in enumerate(part) if t.text == b"="), len(part))
        declared, default = part[:equals], part[equals + 1 :]
        array = next((i for i, t in enumerate(declared) if t.text == b"["), len(declared))
        name_at = _name_index(declared[:array])
        if name_at is None:
            continue
        name = declared[name_at]
        kind = [t for i, t in enumerate(declared) if i != name_at]
        yield Parameter(
            name.text.decode("utf-8", "replace"),
            _join(kind),
            _text(default, data) if default else None,
        )


def _name_index(declared: list[Token]) -> int | None:
    words = [i for i, t in enumerate(declared) if t.kind == "word"]
    pointer = next((i for i, t in enumerate(declared[1:], 1) if t.text == b"(" and i + 1 < len(declared)), None)
    if pointer is not None:
        # `int (*f)(int)`: the name is inside the first parentheses.
        inside = [i for i in words if i > pointer]
        return inside[0] if inside else None
    # A lone word is a type whose parameter has no name; `void` is no parameter at all.
    return words[-1] if len(words) > 1 or (words and len(declared) > 1) else None


def _bounds(header: list[Token], data: bytes) -> Iterator[str]:
    for index, token in enumerate(header):
        if token.text in (b"__launch_bounds__", b"__cluster_dims__", b"__block_size__", b"__maxnreg__"):
            end = group_end(header, index + 1) if index + 1 < len(header) else index
            yield _text(header[index : end + 1], data)


def _launches(found: Outline, kernels: list[Function], document: Document) -> dict[str, list[LaunchSite]]:
    resolve = _resolver(kernels)
    handles = dict(_handles(found, document.data))
    result: dict[str, list[LaunchSite]] = {}
    for launch in found.launches:
        word = document.data[launch.start : launch.end]
        site = (
            _chevrons(launch, document, resolve)
            if word == b"<<<"
            else _by_call(word, launch, document, resolve, handles)
        )
        if site is not None:
            result.setdefault(site.kernel, []).append(site)
    return result


Resolver = Callable[[str, tuple[str, ...]], str | None]


def _resolver(kernels: list[Function]) -> Resolver:
    """Name as written at a launch, scope of the launch → the kernel's qualified name."""
    known = {k.qualified_name for k in kernels}
    by_name: dict[str, str] = {}
    for kernel in kernels:
        by_name.setdefault(kernel.name, kernel.qualified_name)

    def resolve(written: str, scope: tuple[str, ...]) -> str | None:
        for depth in range(len(scope), -1, -1):
            name = ".".join((*scope[:depth], written))
            if name in known:
                return name
        # `using namespace` and aliases are not followed; a name that occurs once is clear without them.
        return by_name.get(written.rpartition(".")[2])

    return resolve


def _chevrons(launch: Launch, document: Document, resolve: Resolver) -> LaunchSite | None:
    """``kernel<T, 4><<<grid, block, shared, stream>>>(arguments)``"""
    data = document.data
    line_limit = max(0, launch.start - 2000)
    before = list(tokens(data, _statement_start(data, line_limit, launch.start), launch.start))
    named = _callee(before)
    after = _some_tokens(data, launch.end)
    closing = _chevron_end(after)
    if named is None or closing is None or closing + 1 >= len(after) or after[closing + 1].text != b"(":
        return None
    kernel = resolve(named[1], launch.scope)
    if kernel is None:
        return None
    end = min(group_end(after, closing + 1), len(after) - 1)
    configuration = [_argument(p, document) for p in split_commas(after[:closing])]
    options = tuple(
        Argument(a.text, a.span, keyword) for a, keyword in zip(configuration[1:], _CONFIGURATION[1:], strict=False)
    )
    return LaunchSite(
        kernel,
        launch.host.qualified_name if launch.host else "",
        document.span(named[0], after[end].end),
        configuration[0].text if configuration else "",
        tuple(_argument(p, document) for p in split_commas(after[closing + 2 : end])),
        options,
    )


def _by_call(
    word: bytes, launch: Launch, document: Document, resolve: Resolver, handles: dict[str, str]
) -> LaunchSite | None:
    """``cudaLaunchKernel(kernel, grid, block, arguments, shared, stream)`` and its relatives."""
    after = _some_tokens(document.data, launch.end)
    if not after or after[0].text != b"(":
        return None
    end = min(group_end(after, 0), len(after) - 1)
    parts = split_commas(after[1:end])
    layout = _LAYOUTS.get(word)
    if layout is None or len(parts) < 2:
        return None
    named: dict[str, Argument] = {}
    for keyword, part in zip(layout, parts, strict=False):
        argument = _argument(part, document)
        named[keyword] = Argument(argument.text, argument.span, keyword)
    callee = _callee(parts[layout.index("kernel")])
    if callee is None:
        return None
    written = handles.get(callee[1], callee[1])
    kernel = resolve(written, launch.scope)
    if kernel is None:
        return None
    options = tuple(a for k, a in named.items() if k not in ("kernel", "grid", "") and not k.startswith("grid_"))
    grid = named["grid"].text if "grid" in named else ", ".join(a.text for k, a in named.items() if "grid" in k)
    rest = parts[len(layout) :] if word in _VARIADIC else []
    return LaunchSite(
        kernel,
        launch.host.qualified_name if launch.host else "",
        document.span(launch.start, after[end].end),
        grid,
        tuple(_argument(p, document) for p in rest),
        options,
    )


_BY_POINTER = ("kernel", "grid", "block", "arguments", "shared_bytes", "stream")
_BY_HANDLE = (
    "kernel", "grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_bytes", "stream", "arguments",
)  # fmt: skip
# Parameter order: CUDA Runtime API and CUDA Driver API reference, "Execution Control"; HIP for its macro.
_LAYOUTS: dict[bytes, tuple[str, ...]] = {
    b"cudaLaunchKernel": _BY_POINTER,
    b"cudaLaunchCooperativeKernel": _BY_POINTER,
    b"hipLaunchKernel": _BY_POINTER,
    b"cudaLaunchKernelEx": ("configuration", "kernel"),
    b"cudaLaunchKernelExC": ("configuration", "kernel", "arguments"),
    b"hipLaunchKernelGGL": ("kernel", "grid", "block", "shared_bytes", "stream"),
    b"cuLaunchKernel": _BY_HANDLE,
    b"cuLaunchCooperativeKernel": _BY_HANDLE,
}
_VARIADIC = frozenset({b"cudaLaunchKernelEx", b"hipLaunchKernelGGL"})


def _handles(found: Outline, data: bytes) -> Iterator[tuple[str, str]]:
    """``cuModuleGetFunction(&handle, module, "name")``: the handle's name and the kernel's."""
    for launch in found.launches:
        if data[launch.start : launch.end] not in (b"cuModuleGetFunction", b"cuLibraryGetKernel"):
            continue
        after = _some_tokens(data, launch.end)
        parts = split_commas(after[1 : group_end(after, 0)]) if after else []
        if len(parts) == 3 and parts[2][0].kind == "string":
            handle = _callee(parts[0])
            if handle is not None:
                yield handle[1], parts[2][0].text.decode("utf-8", "replace").strip('"')


def _callee(items: list[Token]) -> tuple[int, str] | None:
    """(start byte, dotted name) of the name that ``items`` end with, template arguments left out."""
    at = len(items) - 1
    while at >= 0 and items[at].text == b")":
        at -= 1
    if at >= 0 and items[at].text in (b">", b">>", b">>>"):
        at = angle_start(items, at) - 1
    if at < 0 or items[at].kind != "word":
        return None
    parts = [items[at].text.decode("utf-8", "replace")]
    while at >= 2 and items[at - 1].text == b"::" and items[at - 2].kind == "word":
        at -= 2
        parts.insert(0, items[at].text.decode("utf-8", "replace"))
    return items[at].start, ".".join(parts)


def _chevron_end(items: list[Token]) -> int | None:
    depth = 0
    for index, token in enumerate(items):
        depth += (token.text in (b"(", b"[", b"{")) - (token.text in (b")", b"]", b"}"))
        if depth < 0 or token.text == b";":
            return None
        if depth == 0 and token.text == b">>>":
            return index
    return None


def _statement_start(data: bytes, low: int, high: int) -> int:
    return max(low, data.rfind(b";", low, high) + 1, data.rfind(b"{", low, high) + 1, data.rfind(b"}", low, high) + 1)


def _some_tokens(data: bytes, start: int) -> list[Token]:
    """The tokens up to the end of the statement; a launch whose end is missing must not read the whole file."""
    result: list[Token] = []
    depth = 0
    for token in tokens(data, start):
        result.append(token)
        depth += (token.text in (b"(", b"[", b"{")) - (token.text in (b")", b"]", b"}"))
        if (token.text == b";" and depth <= 0) or depth < 0 or len(result) > MAX_LAUNCH_TOKENS:
            break
    return result


def _argument(part: list[Token], document: Document) -> Argument:
    return Argument(_text(part, document.data), document.span(part[0].start, part[-1].end))


def _text(items: list[Token], data: bytes) -> str:
    if not items:
        return ""
    return data[items[0].start : items[-1].end].decode("utf-8", "replace")


def _join(items: list[Token]) -> str:
    """A type, spelled with single spaces: ``const float *``."""
    text = " ".join(t.text.decode("utf-8", "replace") for t in items)
    for mark in ("::", "<", ">", ",", "(", ")", "[", "]"):
        text = text.replace(f" {mark}", mark).replace(f"{mark} ", mark if mark != "," else ", ")
    return text


def _problems(found: Outline, kernels: list[Function], document: Document) -> tuple[SyntaxProblem, ...]:
    # Without expanding macros most of what a C++ parser would object to is no error; these two are.
    problems = [
        SyntaxProblem(
            document.span(kernel.name_start, kernel.name_end),
            f"the body of {kernel.qualified_name} is not closed: a }} is missing",
        )
        for kernel in kernels
        if not kernel.complete
    ]
    if found.unclosed_comment is not None:
        start = found.unclosed_comment
        problems.append(SyntaxProblem(document.span(start, start + 2), "this comment is not closed: a */ is missing"))
    return tuple(problems[:5])
