"""Which values are defined where the parser is, and of what type."""

from __future__ import annotations

from .errors import BadIr
from .ir import Type

MAX_VALUES = 1 << 18
"""Values of one module. The largest kernel seen has some 6,000."""


class Scopes:
    """Nested regions see what is around them; nothing may be defined twice."""

    def __init__(self) -> None:
        self._nested: list[dict[str, Type]] = []
        self._defined = 0

    def push(self) -> None:
        self._nested.append({})

    def pop(self) -> None:
        self._nested.pop()

    def isolate(self) -> list[dict[str, Type]]:
        """A function sees nothing around it. Give what this returns to ``restore``."""
        kept, self._nested = self._nested, []
        return kept

    def restore(self, kept: list[dict[str, Type]]) -> None:
        self._nested = kept

    def define(self, name: str, kind: Type, line: int) -> None:
        self._defined += 1
        if self._defined > MAX_VALUES:
            raise BadIr(f"more than {MAX_VALUES} values", line)
        if any(name in scope for scope in self._nested):
            raise BadIr(f"{name} is defined twice", line)
        self._nested[-1][name] = kind

    def type_of(self, name: str, line: int) -> Type:
        for scope in reversed(self._nested):
            if name in scope:
                return scope[name]
        raise BadIr(f"{name} is not defined here", line)

    def check(self, operands: tuple[str, ...], types: tuple[Type, ...], line: int) -> None:
        """Every operand is of the type that the operation says. Raises BadIr."""
        if len(operands) != len(types):
            raise BadIr(f"{len(operands)} operands and {len(types)} types", line)
        for name, said in zip(operands, types, strict=True):
            known = self.type_of(name, line)
            if known != said:
                raise BadIr(f"{name} is of type {known} and used as {said}", line)
