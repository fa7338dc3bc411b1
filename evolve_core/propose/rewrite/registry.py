"""All rewrite rules, in the order in which they are tried."""

from __future__ import annotations

from evolve_core.propose.rewrite import (
    alignment,
    even_masks,
    eviction,
    exp2,
    hoist,
    persistent,
    pipeline,
    program_order,
    rows_per_program,
    single_pass,
)
from evolve_core.propose.rewrite.rule import Rule


def rules() -> tuple[Rule, ...]:
    """Every rule, those first that change most how a kernel moves its data."""
    return (
        single_pass.RULE,
        rows_per_program.RULE,
        program_order.RULE,
        even_masks.RULE,
        pipeline.RULE,
        hoist.RULE,
        alignment.RULE,
        eviction.RULE,
        exp2.RULE,
        persistent.RULE,
    )


def rule_named(name: str) -> Rule | None:
    return next((r for r in rules() if r.name == name), None)


def documentation() -> str:
    """The page ``docs/rewrite-rules.md``: what each rule does, when it refuses, why the result computes the same."""
    parts = [
        "# Rewrite rules",
        "",
        "Written by `evolve_core.propose.rewrite.registry.documentation()` from the rules' own docstrings.",
        "A rule changes the text of a kernel and of its launches, and nothing else; it reads structure, never names.",
        "Where it is not certain that the result computes the same, it refuses. The judge trusts none of this: every",
        "candidate is judged in full.",
    ]
    for rule in rules():
        title, _, body = rule.explanation.strip().partition("\n")
        settings = "; ".join(", ".join(f"{k} = {v or 'unchanged'}" for k, v in s.items()) for s in rule.settings if s)
        parts += ["", f"## `{rule.name}`", "", f"**{title}**", body.rstrip()]
        parts += ["", f"Settings tried: {settings}."] if settings else []
    return "\n".join(parts) + "\n"
