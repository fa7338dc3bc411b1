"""Cache hints: data used once leaves the cache first, data that every program reads stays.

*What it does.* A load whose address depends on the program, and which is the last to read its tensor, gets
`eviction_policy="evict_first"`; loads that come back to the same tensor later, and loads that are the same
for every program (weights), get `"evict_last"`.

*Why it computes the same.* An eviction policy is advice to the cache; it changes no value, no address and
no order.

*When it refuses.* Kernels with matrix products (their tiles are shared between programs in ways that the
text does not show), loads that carry a policy or cache modifier already, and kernels where no load
qualifies.
"""

from __future__ import annotations

import ast

from evolve_core.propose.flow import State, Walk
from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.syntax import Splice, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """No settings."""
    if kernel.tl_calls("dot", "dot_scaled"):
        return Refusal("a matrix product shares its tiles between programs")
    loads = _loads(kernel)
    if any({"eviction_policy", "cache_modifier", "volatile"} & {k.arg for k in node.keywords} for node, _, _ in loads):
        return Refusal("a load carries a cache hint already")
    if any(len(node.args) > 3 for node, _, _ in loads):
        return Refusal("a load passes its options by position")
    last = {tensor: node for node, tensor, _ in loads}
    edits: list[Splice] = []
    for node, tensor, by_program in loads:
        streamed = by_program and last[tensor] is node
        arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
        policy = "evict_first" if streamed else "evict_last"
        edits.append(kernel.code.after(max(arguments, key=kernel.code.end), f', eviction_policy="{policy}"'))
    if not edits:
        return Refusal("no load whose tensor the text shows")
    return Rewritten(splice(kernel.code, edits), f"cache hints on {len(edits)} loads")


def _loads(kernel: KernelCode) -> list[tuple[ast.Call, str, bool]]:
    """Loads in file order with the parameter they read through, and whether the address depends on the program."""
    found: dict[int, tuple[ast.Call, str, bool]] = {}

    def visit(statement: ast.stmt, state: State) -> None:
        if isinstance(statement, ast.For | ast.If | ast.While):
            return
        for node in ast.walk(statement):
            pointer = argument(node, 0, "pointer") if isinstance(node, ast.Call) else None
            if kernel.aliases.call(node) != "load" or pointer is None or not isinstance(node, ast.Call):
                continue
            resolved = state.resolve(pointer)
            tensor = _leftmost(resolved)
            if tensor in kernel.parameters:
                by_program = any(kernel.aliases.call(n) == "program_id" for n in ast.walk(resolved))
                found[id(node)] = (node, tensor, by_program)

    Walk(kernel, visit)
    return sorted(found.values(), key=lambda f: (f[0].lineno, f[0].col_offset))


def _leftmost(node: ast.expr) -> str:
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        node = node.left
    return node.id if isinstance(node, ast.Name) else ""


RULE = Rule("eviction-hints", ({},), rewrite, __doc__)
