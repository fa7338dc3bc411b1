"""The outline of a CUDA file: its functions, who encloses whom, and where something is launched.

One pass over braces, with comments, strings and preprocessor lines skipped. It needs no complete parse: a macro that a
C++ grammar would trip over does not hide the kernels around it. Where a ``#if`` has branches, each starts from the
braces that were open at the ``#if``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from evolve_core.source import cuda_tokens
from evolve_core.source.cuda_tokens import Token, angle_end, angle_start, group_end, tokens

LAUNCHERS = (
    rb"cudaLaunchKernelExC|cudaLaunchKernelEx|cudaLaunchKernel|cudaLaunchCooperativeKernel|cuLaunchKernel|"
    rb"cuLaunchCooperativeKernel|hipLaunchKernelGGL|hipLaunchKernel|cuModuleGetFunction|cuLibraryGetKernel"
)
_DEFINE = re.compile(rb"^[ \t]*\#[ \t]*define[ \t]+(\w+)(.*)", re.DOTALL)
_CONDITION = re.compile(rb"[ \t]*\#[ \t]*(ifdef|ifndef|if|elif|elifdef|elifndef|else|endif)\b")
# These take an argument list and are no function name.
_ATTRIBUTES = frozenset(
    {
        b"__launch_bounds__", b"__attribute__", b"__declspec", b"alignas", b"__align__", b"decltype", b"noexcept",
        b"explicit", b"__cluster_dims__", b"__block_size__", b"__maxnreg__", b"requires", b"throw", b"static_assert",
        b"if", b"for", b"while", b"switch", b"return", b"sizeof",
    }
)  # fmt: skip
_SPECIFIERS = frozenset(
    {
        b"extern", b"static", b"inline", b"__inline__", b"__forceinline__", b"__noinline__", b"constexpr", b"void",
        b"__host__", b"__device__", b"const", b"[", b"]",
    }
)  # fmt: skip


@dataclass(slots=True)
class Function:
    """A function with a body. Positions are bytes; ``end`` is behind the closing brace."""

    scope: tuple[str, ...]
    name: str
    is_kernel: bool
    header: list[Token]
    start: int
    name_start: int
    name_end: int
    parameters: list[Token]
    end: int = -1
    complete: bool = False

    @property
    def qualified_name(self) -> str:
        return ".".join((*self.scope, self.name))


@dataclass(slots=True)
class Launch:
    """``<<<`` or the name of a launching function, at a byte, inside a function."""

    start: int
    end: int
    host: Function | None
    scope: tuple[str, ...]


@dataclass(slots=True)
class Outline:
    functions: list[Function] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    unclosed_comment: int | None = None


@dataclass(frozen=True, slots=True)
class _Frame:
    scope: tuple[str, ...]
    function: Function | None
    declarative: bool
    """Whether functions may be defined directly inside: the file, namespaces, classes, extern "C"."""


def outline(data: bytes) -> Outline:
    """The outline of a file's bytes."""
    macros = _kernel_macros(data)
    return _Scanner(data, macros).run()


def _kernel_macros(data: bytes) -> frozenset[bytes]:
    """Macros of this file whose text holds ``__global__``, directly or through another such macro."""
    if b"define" not in data:
        return frozenset()
    defined: list[tuple[bytes, bytes]] = []
    for match in re.finditer(cuda_tokens.DIRECTIVE, data, re.MULTILINE | re.DOTALL):
        definition = _DEFINE.match(match[0])
        if definition is not None:
            defined.append((definition[1], definition[2]))
    found: set[bytes] = set()
    for name, body in defined:
        words = set(re.findall(rb"\w+", body))
        # A macro that holds a whole body with braces defines kernels itself; its uses have none to find.
        if b"{" not in body and (b"__global__" in words or words & found):
            found.add(name)
    return frozenset(found)


class _Scanner:
    def __init__(self, data: bytes, macros: frozenset[bytes]) -> None:
        self.data = data
        self.markers = frozenset({b"__global__"}) | macros
        self.result = Outline()
        self.stack: list[_Frame] = [_Frame((), None, True)]
        self.branches: list[list[_Frame]] = []
        self.split: list[Function] = []
        """Functions whose head stands in one branch of an ``#if`` and whose body ends behind the ``#endif``."""
        self.header: list[tuple[int, int]] = []
        self.header_start = 0

    def run(self) -> Outline:
        for match in _pattern(self.markers).finditer(self.data):
            kind = match.lastgroup or ""
            if kind in ("skip", "delimiter"):
                self._skip(match)
            elif kind == "directive":
                self._directive(match)
            elif kind == "open":
                self._open(match.start())
            elif kind == "close":
                self._close(match.end())
            elif kind == "semicolon":
                self._restart_header(match.end())
            elif kind == "marker":
                self._marker(match.start())
            elif kind == "launch":
                frame = self.stack[-1]
                self.result.launches.append(Launch(match.start(), match.end(), frame.function, frame.scope))
        for function in [*(f.function for f in self.stack[1:]), *self.split]:
            self._finish(function, len(self.data), complete=False)
        return self.result

    def _skip(self, match: re.Match[bytes]) -> None:
        text = match[0]
        if text.startswith(b"/*") and not (text.endswith(b"*/") and len(text) > 3):
            self.result.unclosed_comment = match.start()

    def _directive(self, match: re.Match[bytes]) -> None:
        # Kept out of the header: what stands in a directive is no part of a declaration.
        self.header.append((self.header_start, match.start()))
        self.header_start = match.end()
        condition = _CONDITION.match(match[0])
        if condition is None:
            return
        word = condition[1]
        if word in (b"if", b"ifdef", b"ifndef"):
            self.branches.append(list(self.stack))
        elif word == b"endif":
            if self.branches:
                self.branches.pop()
        elif self.branches:
            self.split += [f.function for f in self.stack[len(self.branches[-1]) :] if f.function is not None]
            self.stack = list(self.branches[-1])

    def _open(self, at: int) -> None:
        frame = self.stack[-1]
        if not frame.declarative:
            self.stack.append(_Frame(frame.scope, frame.function, declarative=False))
        else:
            self.stack.append(self._classify(frame, self._header_tokens(at)))
        self._restart_header(at + 1)

    def _close(self, end: int) -> None:
        if len(self.stack) > 1:
            frame = self.stack.pop()
            if frame.function is not None and self.stack[-1].function is not frame.function:
                self._finish(frame.function, end, complete=True)
        self._restart_header(end)

    def _marker(self, at: int) -> None:
        """``__global__`` inside a function: a brace before it is missing, so that function ends here."""
        if self.stack[-1].declarative:
            return
        line_start = self.data.rfind(b"\n", 0, at) + 1
        start = self.header_start if self.header_start > line_start else line_start
        while not self.stack[-1].declarative:
            self._finish(self.stack.pop().function, start, complete=False)
        self.header.clear()
        self.header_start = min(start, at)

    def _restart_header(self, at: int) -> None:
        self.header.clear()
        self.header_start = at

    def _finish(self, function: Function | None, end: int, *, complete: bool) -> None:
        if function is not None and function.end < 0:
            for one in [function, *(f for f in self.split if f.qualified_name == function.qualified_name)]:
                if one.end < 0:
                    one.end = end
                    one.complete = complete

    def _header_tokens(self, at: int) -> list[Token]:
        pieces = [*self.header, (self.header_start, at)]
        return [token for start, end in pieces for token in tokens(self.data, start, end)]

    def _classify(self, frame: _Frame, header: list[Token]) -> _Frame:
        """What a brace at declaration level opens, by the tokens before it."""
        words = [token.text for token in header]
        if b"namespace" in words:
            names = [t.text.decode() for t in header[words.index(b"namespace") + 1 :] if t.kind == "word"]
            return _Frame((*frame.scope, *names), None, True)
        if words[:1] == [b"extern"] and len(words) == 2:
            return _Frame(frame.scope, None, True)
        body = _without_template(header)
        name = _class_name(body)
        if name is not None:
            return _Frame((*frame.scope, name), None, True)
        function = self._function(frame.scope, header)
        if function is None:
            return _Frame(frame.scope, None, declarative=False)
        self.result.functions.append(function)
        return _Frame(frame.scope, function, declarative=False)

    def _function(self, scope: tuple[str, ...], header: list[Token]) -> Function | None:
        marker = next((i for i, t in enumerate(header) if t.text in self.markers), None)
        found = _name_and_parameters(header, self.markers)
        if found is None:
            return None
        name, parameters = found
        start = name.start if marker is None else header[_declaration_start(header, marker)].start
        prefix: tuple[str, ...] = ()
        at = header.index(name)
        while at >= 2 and header[at - 1].text == b"::" and header[at - 2].kind == "word":
            prefix = (header[at - 2].text.decode(), *prefix)
            at -= 2
        return Function(
            scope=(*scope, *prefix),
            name=name.text.decode(),
            is_kernel=marker is not None,
            header=header,
            start=start,
            name_start=name.start,
            name_end=name.end,
            parameters=parameters,
        )


@lru_cache(maxsize=64)
def _pattern(markers: frozenset[bytes]) -> re.Pattern[bytes]:
    marker = rb"|".join(re.escape(m) for m in sorted(markers))
    return re.compile(
        rb"(?P<skip>"
        + rb"|".join([cuda_tokens.COMMENT, cuda_tokens.RAW_STRING, cuda_tokens.STRING, cuda_tokens.CHARACTER])
        + rb")|(?P<directive>"
        + cuda_tokens.DIRECTIVE
        + rb")|(?P<open>\{)|(?P<close>\})|(?P<semicolon>;)|(?P<marker>\b(?:"
        + marker
        + rb")\b)|(?P<launch><<<|\b(?:"
        + LAUNCHERS
        + rb")\b)",
        re.MULTILINE | re.DOTALL,
    )


def _without_template(header: list[Token]) -> list[Token]:
    while header and header[0].text == b"template" and len(header) > 1 and header[1].text == b"<":
        header = header[angle_end(header, 1) + 1 :]
    return header


def _class_name(header: list[Token]) -> str | None:
    for index, token in enumerate(header):
        if token.text in (b"class", b"struct", b"union"):
            name = None
            at = index + 1
            while at < len(header) and header[at].text not in (b":", b"<"):
                if header[at].text == b"(":
                    at = group_end(header, at)
                elif header[at].kind == "word" and header[at].text not in _ATTRIBUTES | {b"final"}:
                    name = header[at].text.decode()
                at += 1
            # `struct Params make(int n) {` returns one; it does not define one.
            tail = header[at:]
            return None if any(t.text == b"(" for t in header[index:at] if name is not None) and not tail else name
        if token.text in (b"(", b"=", b"enum"):
            return None
    return None


def _name_and_parameters(header: list[Token], markers: frozenset[bytes]) -> tuple[Token, list[Token]] | None:
    """The function's name and the tokens of its parameters: the last ``name(…)`` outside of brackets."""
    body = _without_template(header)
    found: tuple[Token, list[Token]] | None = None
    index = 0
    while index < len(body):
        token = body[index]
        if token.text in (b"=", b"enum") and found is None:
            return None
        if token.text == b":" and found is not None:
            break
        if token.text == b"<" and index and body[index - 1].kind == "word":
            closing = angle_end(body, index)
            if closing + 1 < len(body) and body[closing + 1].text == b"(":
                # An explicit specialisation, `name<float>(…)`.
                end = group_end(body, closing + 1)
                found = (body[index - 1], body[closing + 2 : end])
                index = end + 1
                continue
            index = closing + 1 if closing < len(body) else index + 1
            continue
        if token.text == b"(":
            end = group_end(body, index)
            inside = body[index + 1 : end]
            name = _name_before(body, index, markers)
            if name is not None and name.text in markers:
                # `KERNEL(name, parameters…)`: the macro spells the declaration out.
                words = [t for t in inside if t.kind == "word"]
                if words:
                    found = (words[0], inside[inside.index(words[0]) + 2 :])
            elif name is not None and name.text not in _ATTRIBUTES:
                found = (name, inside)
            index = end + 1
            continue
        index += 1
    return found


def _name_before(body: list[Token], opening: int, markers: frozenset[bytes]) -> Token | None:
    """What stands before a parenthesis: a name, or for ``MACRO(name)(…)`` the name inside."""
    if opening == 0:
        return None
    before = body[opening - 1]
    if before.kind == "word":
        return before
    if before.text == b")":
        start = opening - 1
        depth = 0
        while start >= 0:
            depth += (body[start].text == b")") - (body[start].text == b"(")
            if depth == 0:
                break
            start -= 1
        if start >= 1 and body[start - 1].text in markers:
            words = [t for t in body[start:opening] if t.kind == "word"]
            return words[-1] if words else None
    return None


def _declaration_start(header: list[Token], marker: int) -> int:
    """Index of the first token of the declaration around ``__global__``: template, extern "C", static …"""
    at = marker
    while at > 0:
        before = header[at - 1]
        if before.text in _SPECIFIERS or before.kind == "string":
            at -= 1
        elif before.text in (b">", b">>"):
            opening = angle_start(header, at - 1)
            if opening < 1 or header[opening - 1].text != b"template":
                break
            at = opening - 1
        else:
            break
    return at
