"""Kernels of a Python file: functions under ``triton.jit`` in any spelling, and the places that launch them.

Gluon kernels (``triton.experimental.gluon.jit``) count: they are GPU functions of the same language family. Functions
under ``constexpr_function`` do not: they run at compile time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from evolve_core.source.facts import CallFact, FunctionFact, Range, Scope
from evolve_core.source.identity import triton_version
from evolve_core.source.model import Argument, Kernel, Language, LaunchSite, Parameter, Span
from evolve_core.source.names import Names, Unit, wrapped_functions
from evolve_core.source.terms import MAX_DEPTH, Call, Either, Item, Name, Term


class KernelReader:
    """Units → kernels. What did not move since the previous reading is handed out again."""

    def __init__(self) -> None:
        self._units: list[Unit] = []
        self._meaning: _Meaning | None = None
        self._read: dict[int, _UnitKernels] = {}

    def kernels(self, units: list[Unit]) -> tuple[Kernel, ...]:
        """The kernels of a file, in file order, each with its launch sites."""
        meaning = self._meaning
        if meaning is None or not meaning.adopt(self._units, units):
            meaning = _Meaning(units)
            self._read.clear()
        previous, self._read = self._read, {}
        launches: dict[str, list[LaunchSite]] = {}
        bare: list[Kernel] = []
        for index, unit in enumerate(units):
            known = previous.get(index)
            if known is None or not known.still_holds(unit):
                known = _UnitKernels(unit, tuple(meaning.kernels_in(unit)), tuple(meaning.launches_in(unit)))
            self._read[index] = known
            bare += known.kernels
            for site in known.launches:
                launches.setdefault(site.kernel, []).append(site)
        self._units, self._meaning = units, meaning
        found = [
            replace(kernel, launches=tuple(launches[kernel.qualified_name]))
            if kernel.qualified_name in launches
            else kernel
            for kernel in bare
        ]
        return tuple(sorted(found, key=lambda k: k.span.start_byte))


@dataclass(frozen=True, slots=True)
class _UnitKernels:
    unit: Unit
    kernels: tuple[Kernel, ...]
    """without launches"""
    launches: tuple[LaunchSite, ...]

    def still_holds(self, unit: Unit) -> bool:
        same_place = (self.unit.byte, self.unit.line) == (unit.byte, unit.line)
        return same_place and self.unit.facts is unit.facts


class _Meaning:
    """What the names of a file mean, and with that the kernels and launches of each unit."""

    def __init__(self, units: list[Unit]) -> None:
        self.names = Names(units)
        self.wrapped = wrapped_functions(self.names)
        self.parameter_names = {
            ".".join((*fact.scope, fact.name)): frozenset(p[0] for p in fact.parameters)
            for unit in units
            for fact in unit.facts.functions
            if self._is_kernel(fact)
        }
        aliases = {".".join(alias): ".".join(target) for target, alias in self.wrapped.items()}
        self.targets = _Targets(self.names, frozenset(self.parameter_names), aliases)

    def adopt(self, old: list[Unit], new: list[Unit]) -> bool:
        """Takes over an edit that changed nothing but the insides of functions; False where it changed more."""
        if len(old) != len(new):
            return False
        changed = [(o, n) for o, n in zip(old, new, strict=True) if o.facts is not n.facts]
        for before, after in changed:
            if before.scope != after.scope:
                return False
            if before.facts.interface(before.scope) != after.facts.interface(after.scope):
                return False
            if not self.names.shared.isdisjoint(before.facts.bindings.keys() | after.facts.bindings.keys()):
                return False
            for key in before.facts.bindings:
                self.names.bindings.pop(key, None)
            self.names.bindings.update(after.facts.bindings)
            if self._wraps(before) or self._wraps(after):
                return False
        return True

    def _wraps(self, unit: Unit) -> bool:
        return any(self.names.jitted(v, scope) for (scope, _), v in unit.facts.bindings.items())

    def kernels_in(self, unit: Unit) -> Iterator[Kernel]:
        return (_kernel(unit, fact, self.names) for fact in unit.facts.functions if self._is_kernel(fact))

    def launches_in(self, unit: Unit) -> Iterator[LaunchSite]:
        if self.parameter_names:
            for call in unit.facts.calls:
                for kernel, grid in dict(self.targets.of(call.function, call.scope)).items():
                    yield _site(unit, call, kernel, grid, self.parameter_names[kernel])

    def _is_kernel(self, fact: FunctionFact) -> bool:
        return (*fact.scope, fact.name) in self.wrapped or any(
            self.names.is_jit(term, fact.scope) for _, term in fact.decorators
        )


class _Targets:
    """Which kernels a callee launches."""

    def __init__(self, names: Names, known: frozenset[str], aliases: dict[str, str]) -> None:
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


def _kernel(unit: Unit, fact: FunctionFact, names: Names) -> Kernel:
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
        launches=(),
        version=triton_version(b" " * start_column + text),
        complete=fact.complete,
    )


def _is_constexpr(annotation: str, names: Names) -> bool:
    if "constexpr" in annotation:
        # Triton itself asks no more than this of an annotation, quoted or not.
        return True
    bare = annotation.strip("\"' ")
    return any(path.endswith(".constexpr") for path in names.paths(bare)) if bare.isidentifier() else False


def _span(unit: Unit, at: Range) -> Span:
    return Span(at[0] + unit.byte, at[1] + unit.byte, at[2] + unit.line, at[3], at[4] + unit.line, at[5])
