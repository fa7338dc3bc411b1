"""What names stand for in one Python file: through imports, aliases and wrappers, as far as the text says it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evolve_core.source.facts import Facts, Scope
from evolve_core.source.terms import MAX_DEPTH, Call, Either, Name, Term

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


class Names:
    """What the names of one file stand for."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.imports: dict[str, set[str]] = {}
        self.stars: set[str] = set()
        self.bindings: dict[tuple[Scope, str], Term] = {}
        self.shared: set[tuple[Scope, str]] = set()
        """Bound in more than one statement, as where both branches of an ``if`` define a function."""
        for unit in units:
            for local, path in unit.facts.imports:
                self.imports.setdefault(local, set()).add(path)
            self.stars.update(unit.facts.star_imports)
            self.shared.update(self.bindings.keys() & unit.facts.bindings.keys())
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


def wrapped_functions(names: Names) -> dict[Scope, Scope]:
    """Functions jitted by a call, ``fast = triton.jit(slow)``: the function's scoped name → the new name's."""
    result: dict[Scope, Scope] = {}
    for (scope, name), value in names.bindings.items():
        function = names.jitted(value, scope)
        if function is not None:
            result[(*scope, *function.split("."))] = (*scope, name)
    return result
