"""What a rewrite rule is, and how one is applied to a file."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from evolve_core.propose.kernel_code import KernelCode, find_kernels
from evolve_core.propose.syntax import parse_code

Settings: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The rule does not apply here, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A whole file after a rule, and one line for people."""

    source: str
    summary: str


Rewrite: TypeAlias = Callable[[KernelCode, Settings], Rewritten | Refusal]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rewrite. ``settings`` are the parameter sets worth trying, best first; ``rewrite`` refuses or rewrites.

    ``explanation`` says what the rule does, when it refuses, and why the result computes the same.
    """

    name: str
    settings: tuple[Settings, ...]
    rewrite: Rewrite
    explanation: str


def apply_rule(rule: Rule, source: str, kernel_name: str, settings: Settings) -> Rewritten | Refusal:
    """The file with ``rule`` applied to one kernel. Whatever comes back parses and keeps every function's signature,

    the kernel's own excepted: a rule may add parameters to it, behind those it has.
    """
    code = parse_code(source)
    kernels = find_kernels(code, (kernel_name,)) if code is not None else ()
    if not kernels:
        return Refusal(f"the file has no Triton kernel {kernel_name}, or does not parse")
    kernel = kernels[0]
    if kernel.node.args.vararg or kernel.node.args.kwonlyargs:
        return Refusal("the kernel takes *args or keyword-only parameters")
    chosen = _known_settings(rule, settings)
    if chosen is None:
        return Refusal(f"{rule.name} has no such settings: {dict(settings)}")
    made = rule.rewrite(kernel, chosen)
    if isinstance(made, Rewritten) and not _keeps_signatures(kernel, made.source):
        return Refusal(f"{rule.name} would change a function's signature here")
    return made


def _known_settings(rule: Rule, settings: Settings) -> Settings | None:
    """The rule's first settings with those given in their place; None for a value that is neither known nor a number.

    Settings end up in source text and may come from somebody else's recipe: nothing but a number or a known word may.
    """
    chosen = dict(rule.settings[0])
    for name, value in settings.items():
        known = {s[name] for s in rule.settings if name in s}
        is_number = value.isdecimal() and value.isascii() and any(k.isdecimal() for k in known)
        if known and value not in known and not is_number:
            return None
        if known:
            chosen[name] = value
    return chosen


def _keeps_signatures(kernel: KernelCode, source: str) -> bool:
    after = parse_code(source)
    if after is None or source == kernel.code.source:
        return False
    old, new = _signatures(kernel.code.tree), _signatures(after.tree)
    if list(old) != list(new):
        return False
    return all(
        new[name] == signature or (name == kernel.name and new[name][: len(signature)] == signature)
        for name, signature in old.items()
    )


def _signatures(tree: ast.Module) -> dict[str, list[str]]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return {f.name: [ast.dump(a) for a in f.args.args] for f in functions}
