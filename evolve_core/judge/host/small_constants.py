"""A task without its epsilons: tiny constants in its text, tiny numbers among the inputs, and torch's own ``eps``.

What cannot be told this way, such as an epsilon in another module's code, stays as it is.
"""

from __future__ import annotations

import ast
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

TINY = 1e-3
"""The largest epsilon in common use (Keras' batch normalisation)."""


def without_small_constants(text: str) -> str | None:
    """The module's text with every float constant of at most ``TINY`` made zero; None where there is none."""
    zeroing = _Zeroing()
    tree = zeroing.visit(ast.parse(text))
    return ast.unparse(ast.fix_missing_locations(tree)) if zeroing.found else None


def without_small_inputs(inputs: dict[str, Any]) -> dict[str, Any] | None:
    """``inputs`` with tiny Python numbers made zero; None where there are none."""
    changed = {name: 0.0 for name, value in inputs.items() if type(value) is float and is_tiny(value)}
    return {**inputs, **changed} if changed else None


def is_tiny(number: float) -> bool:
    return 0.0 < abs(number) <= TINY


class _Zeroing(ast.NodeTransformer):
    def __init__(self) -> None:
        self.found = False

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not (type(node.value) is float and is_tiny(node.value)):
            return node
        self.found = True
        return ast.copy_location(ast.Constant(0.0), node)


class EpsDropped(TorchDispatchMode):
    """Enter it around a call: torch's operators that take an ``eps`` get none. ``found`` says whether any did."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, passed = dict(kwargs or {}), list(args)
        for position, argument in enumerate(func._schema.arguments):
            if argument.name != "eps":
                continue
            if argument.name in given:
                self.found, given[argument.name] = True, 0.0
            elif position < len(passed):
                self.found, passed[position] = True, 0.0
        return func(*passed, **given)
