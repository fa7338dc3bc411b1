"""What a call of a plan gives and changes, as far as the plan says it: to be held against the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .plan import LaunchPlan


@dataclass(frozen=True)
class Effects:
    """``outputs``: name, dtype and shape of each, or its name alone where it is None; None: the entry returns nothing.
    ``aliased``: outputs in the memory of an input. ``changed``: inputs that something is written into.
    """

    outputs: list[list[Any]] | None
    aliased: list[str]
    changed: list[str]

    @classmethod
    def of(cls, plan: LaunchPlan, changed: list[str]) -> Effects:
        if plan.outputs is None:
            return cls(None, [], changed)
        outputs: list[list[Any]] = []
        aliased = []
        for one in plan.outputs:
            outputs.append([one.name] if one.view is None else [one.name, one.view.dtype, [*one.view.shape]])
            if one.view is not None and plan.memories[one.view.memory].given:
                aliased.append(one.name)
        return cls(outputs, aliased, changed)

    def beyond(self, own: Effects) -> str:
        """What a call has no business to do where the user's own kernel does not; "" for nothing."""
        if (self.outputs is None) != (own.outputs is None):
            return (
                "it returns outputs where your kernel changes its inputs"
                if own.outputs is None
                else "it returns nothing"
            )
        if self.outputs != own.outputs:
            return f"it gives {_shown(self.outputs)} where your kernel gives {_shown(own.outputs)}"
        if more := sorted(set(self.aliased) - set(own.aliased)):
            return f"{more[0]} is an input's memory"
        if more := sorted(set(self.changed) - set(own.changed)):
            return f"it changes its input {more[0]}, which your kernel leaves alone"
        return ""


def _shown(outputs: list[list[Any]] | None) -> str:
    return ", ".join(
        f"{name}={rest[0]}[{','.join(map(str, rest[1]))}]" if rest else f"{name}=None" for name, *rest in outputs or []
    )
