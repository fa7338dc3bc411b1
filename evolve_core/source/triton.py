"""Kernels of a Python file: functions under ``triton.jit`` in any spelling, and the places that launch them.

Gluon kernels (``triton.experimental.gluon.jit``) count: they are GPU functions of the same language family. Functions
under ``constexpr_function`` do not: they run at compile time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evolve_core.source.facts import CallFact, Facts, FunctionFact, Range, Scope
from evolve_core.source.identity import triton_version
from evolve_core.source.model import Argument, Kernel, Language, LaunchSite, Parameter, Span
from evolve_core.source.terms import MAX_DEPTH, Call, Either, Item, Name, Term

JIT_PATHS = frozenset(
    {
        "triton.jit",
        "triton.runtime.jit.jit",
        "triton.experimental.gluon.jit",
        "triton.experimental.gluon._runtime.jit",
    }
)
STAR_MODULES = frozenset(path.rpartition(".")[0] for path in JIT_PATHS)
PARTIAL_PATHS = frozenset({"functools.partial"})


@dataclass(frozen=True, slots=True)
class Unit:
    """The facts of one statement and where the statement stands now."""

    facts: Facts
    scope: Scope
    byte: int
    line: int
    text: bytes


class _Names:
    """What the names of one file stand for."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.imports: dict[str, set[str]] = {}
        self.stars: set[str] = set()
        self.bindings: dict[tuple[Scope, str], Term] = {}
        for unit in units:
            for local, path in unit.facts.imports:
                self.imports.setdefault(local, set()).add(path)
            self.stars.update(unit.facts.star_imports)
            self.bindings.update(unit.facts.bindings)

    def paths(self, dotted: str) -> set[str]:
        """Every full path that a dotted name may stand for."""
        first, _, rest = dotted.partition(".")
        suffix = f".{rest}" if rest else ""
        known = {path + suffix for path in self.imports.get(first, ())}
        if not known:
            known.add(dotted)
        if not rest:
            known.update(f"{module}.{dotted}" for module in self.stars)
        return known

    def bound(self, name: str, scope: Scope) -> Term | None:
        """What an undotted name was assigned, seen from ``scope`` outwards."""
        for depth in range(len(scope), -1, -1):
            value = self.bindings.get((scope[:depth], name))
            if value is not None:
                return value
        return None

    def is_jit(self, value: Term, scope: Scope, depth: int = 0) -> bool:
        """Whether a term is ``triton.jit`` itself or makes the same decorator with arguments filled in."""
        if depth > MAX_DEPTH:
            return False
        match value:
            case Name(dotted):
                if any(_is_jit_path(path) for path in self.paths(dotted)):
                    return True
                bound = None if "." in dotted else self.bound(dotted, scope)
                return bound is not None and bound != value and self.is_jit(bound, scope, depth + 1)
            case Call(function, arguments):
                if self._is_partial(function):
                    return bool(arguments) and self.is_jit(arguments[0], scope, depth + 1)
                return not arguments and self.is_jit(function, scope, depth + 1)
            case Either(first, second):
                return self.is_jit(first, scope, depth + 1) or self.is_jit(second, scope, depth + 1)
        return False

    def _is_partial(self, function: Term) -> bool:
        return isinstance(function, Name) and not PARTIAL_PATHS.isdisjoint(self.paths(function.dotted))

    def jitted(self, value: Term, scope: Scope, depth: int = 0) -> str | None:
        """The function inside ``triton.jit(function)``, also under ``triton.autotune(…)(triton.jit(function))``."""
        if not isinstance(value, Call) or not value.arguments or depth > MAX_DEPTH:
            return None
        argument = value.arguments[0]
        if isinstance(argument, Name) and self.is_jit(value.function, scope):
            return argument.dotted
        return self.jitted(argument, scope, depth + 1)


def _is_jit_path(path: str) -> bool:
    # `from mylib.compat import triton` is a common guard for machines without Triton.
    return path in JIT_PATHS or path.endswith((".triton.jit", ".gluon.jit"))


def kernels(units: list[Unit]) -> tuple[Kernel, ...]:
    """The kernels of a file, in file order, each with its launch sites."""
    names = _Names(units)
    wrapped = _wrapped(names)
    found = [
        (unit, fact)
        for unit in units
        for fact in unit.facts.functions
        if any(names.is_jit(term, fact.scope) for _, term in fact.decorators) or (*fact.scope, fact.name) in wrapped
    ]
    known = frozenset(".".join((*fact.scope, fact.name)) for _, fact in found)
    aliases = {".".join(alias): ".".join(target) for target, alias in wrapped.items() if alias}
    parameter_names = {
        ".".join((*fact.scope, fact.name)): frozenset(p[0] for p in fact.parameters) for _, fact in found
    }
    launches: dict[str, list[LaunchSite]] = {}
    targets = _Targets(names, known, aliases)
    if known:
        for unit in units:
            for call in unit.facts.calls:
                for kernel, grid in dict(targets.of(call.function, call.scope)).items():
                    site = _site(unit, call, kernel, grid, parameter_names[kernel])
                    launches.setdefault(kernel, []).append(site)
    return tuple(sorted((_kernel(u, f, names, launches) for u, f in found), key=lambda k: k.span.start_byte))


def _wrapped(names: _Names) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Functions jitted by a call, ``fast = triton.jit(slow)``: the function's scoped name → the new name's."""
    result: dict[tuple[str, ...], tuple[str, ...]] = {}
    for (scope, name), value in names.bindings.items():
        function = names.jitted(value, scope) if isinstance(value, Call) else None
        if function is not None:
            result[(*scope, *function.split("."))] = (*scope, name)
    return result


class _Targets:
    """Which kernels a callee launches."""

    def __init__(self, names: _Names, known: frozenset[str], aliases: dict[str, str]) -> None:
        self.names = names
        self.known = known
        self.aliases = aliases

    def of(self, callee: Term, scope: Scope) -> Iterator[tuple[str, str]]:
        """(kernel, grid text) of everything that calling ``callee`` may launch."""
        if isinstance(callee, Item):
            for kernel in self._kernels(callee.value, scope):
                yield kernel, callee.index
        elif isinstance(callee, Name):
            owner, _, method = callee.dotted.rpartition(".")
            if owner and method in ("run", "warmup"):
                for kernel in self._kernels(Name(owner), scope):
                    yield kernel, ""
            elif not owner:
                bound = self.names.bound(callee.dotted, scope)
                for item in _items(bound):
                    yield from self.of(item, scope)

    def _kernels(self, value: Term, scope: Scope, depth: int = 0) -> Iterator[str]:
        if depth > MAX_DEPTH:
            return
        if isinstance(value, Either):
            yield from self._kernels(value.first, scope, depth + 1)
            yield from self._kernels(value.second, scope, depth + 1)
        elif isinstance(value, Call):
            function = self.names.jitted(value, scope)
            if function is not None:
                yield from self._kernels(Name(function), scope, depth + 1)
        elif isinstance(value, Name):
            direct = self._lookup(value.dotted, scope)
            if direct is not None:
                yield direct
                return
            bound = None if "." in value.dotted else self.names.bound(value.dotted, scope)
            if bound is not None and bound != value:
                yield from self._kernels(bound, scope, depth + 1)

    def _lookup(self, dotted: str, scope: Scope) -> str | None:
        first, _, rest = dotted.partition(".")
        if first in ("self", "cls") and rest:
            dotted = rest
        for depth in range(len(scope), -1, -1):
            name = ".".join((*scope[:depth], dotted))
            name = self.aliases.get(name, name)
            if name in self.known:
                return name
        return None


def _items(value: Term | None) -> Iterator[Item]:
    match value:
        case Item():
            yield value
        case Either(first, second):
            yield from _items(first)
            yield from _items(second)


def _site(unit: Unit, call: CallFact, kernel: str, grid: str, parameters: frozenset[str]) -> LaunchSite:
    arguments: list[Argument] = []
    options: list[Argument] = []
    for text, keyword, at in call.arguments:
        argument = Argument(text, _span(unit, at), keyword)
        if keyword is None or keyword in parameters:
            arguments.append(argument)
        elif keyword == "grid" and not grid:
            grid = text
        else:
            # Triton takes a keyword that is no parameter of the kernel as an option of the launch.
            options.append(argument)
    host = ".".join(call.scope)
    return LaunchSite(kernel, host, _span(unit, call.range), grid, tuple(arguments), tuple(options))


def _kernel(unit: Unit, fact: FunctionFact, names: _Names, launches: dict[str, list[LaunchSite]]) -> Kernel:
    qualified_name = ".".join((*fact.scope, fact.name))
    start_column = fact.range[3]
    text = unit.text[fact.range[0] : fact.range[1]]
    return Kernel(
        qualified_name=qualified_name,
        language=Language.TRITON,
        span=_span(unit, fact.range),
        name_span=_span(unit, fact.name_range),
        parameters=tuple(
            Parameter(name, annotation, default, _is_constexpr(annotation, names))
            for name, annotation, default in fact.parameters
        ),
        decorators=tuple(text for text, _ in fact.decorators),
        launches=tuple(launches.get(qualified_name, ())),
        version=triton_version(b" " * start_column + text),
        complete=fact.complete,
    )


def _is_constexpr(annotation: str, names: _Names) -> bool:
    if "constexpr" in annotation:
        # Triton itself asks no more than this of an annotation, quoted or not.
        return True
    bare = annotation.strip("\"' ")
    return any(path.endswith(".constexpr") for path in names.paths(bare)) if bare.isidentifier() else False


def _span(unit: Unit, at: Range) -> Span:
    return Span(at[0] + unit.byte, at[1] + unit.byte, at[2] + unit.line, at[3], at[4] + unit.line, at[5])
