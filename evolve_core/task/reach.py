"""Which kernels a call of the entry may run, by following the names that functions use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from evolve_core.source.model import ParsedSource

# Only what the call itself runs is judged. A backward pass runs later, if at all: its kernels belong to another task.
_NOT_RUN_BY_A_CALL = frozenset({"backward", "jvp", "vmap", "setup_context"})


def entry_names(parsed: ParsedSource) -> frozenset[str]:
    """Names that an entry may have: functions and assignments at module level."""
    return frozenset(d.qualified_name for d in parsed.definitions if "." not in d.qualified_name)


def kernels_from(entry: str, parsed: ParsedSource) -> tuple[str, ...]:
    """Qualified names of the kernels that calling ``entry`` may launch, device functions included, in file order."""
    return CallGraph(parsed).kernels_from(entry)


class CallGraph:
    """The definitions of one file and the names they use.

    Making it reads every definition: whoever asks more than one question about a file makes one and keeps it.
    """

    def __init__(self, parsed: ParsedSource) -> None:
        self.parsed = parsed
        self.entries = entry_names(parsed)
        self.kernels = {k.qualified_name: place for place, k in reversed(tuple(enumerate(parsed.kernels)))}
        """Qualified name → place of its first definition among the file's kernels."""
        self.uses: dict[str, frozenset[str]] = {}
        self.inside: dict[str, list[str]] = {}
        for definition in parsed.definitions:
            name = definition.qualified_name
            self.uses[name] = self.uses.get(name, frozenset()) | definition.references
            self.inside.setdefault(name.rpartition(".")[0], []).append(name)

    def kernels_from(self, entry: str) -> tuple[str, ...]:
        """As ``kernels_from`` of the module."""
        reached = _closure([entry], self.targets)
        return tuple(sorted(reached & self.kernels.keys(), key=self.kernels.__getitem__))

    def reaching(self, kernels: Iterable[str]) -> set[str]:
        """Names of the definitions whose call may launch one of ``kernels``, these included."""
        users: dict[str, list[str]] = {}
        for user in self.uses:
            for target in self.targets(user):
                users.setdefault(target, []).append(user)
        return _closure(kernels, lambda name: users.get(name, ()))

    def targets(self, name: str) -> Iterator[str]:
        for reference in self.uses.get(name, ()):
            yield from self._resolve(reference, name)

    def _resolve(self, reference: str, user: str) -> Iterator[str]:
        """The definitions that a name used inside ``user`` may stand for, looked for from the inside outwards."""
        first, _, rest = reference.partition(".")
        if first in ("self", "cls") and rest:
            reference = rest
        scope = user
        while True:
            found = self._defined_as(f"{scope}." if scope else "", reference)
            if found or not scope:
                yield from found
                return
            scope = scope.rpartition(".")[0]

    def _defined_as(self, prefix: str, reference: str) -> list[str]:
        """A definition of this name, what it is an attribute of, or what a class of this name runs when called."""
        name = prefix + reference
        if name in self.uses:
            return [name]
        owner, _, attribute = reference.rpartition(".")
        if owner and prefix + owner in self.uses:
            # `kernel.run`, `kernel.warmup`, `function.attribute`
            return [prefix + owner]
        if attribute == "apply" and f"{prefix}{owner}.forward" in self.uses:
            return [f"{prefix}{owner}.forward"]
        return [m for m in self.inside.get(name, ()) if m.rpartition(".")[2] not in _NOT_RUN_BY_A_CALL]


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """Everything that can be reached from ``start``, itself included."""
    reached = set(start)
    pending = list(reached)
    while pending:
        for name in following(pending.pop()):
            if name not in reached:
                reached.add(name)
                pending.append(name)
    return reached
