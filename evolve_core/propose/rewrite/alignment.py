"""Wider accesses where sizes and strides are multiples of less than 16.

*What it does.* Triton takes an integer argument for aligned only if 16 divides it. The host passes, for
each length and stride that addresses or masks are made of, its largest divisor among 1, 2, 4, 8 and 16 as a
constexpr D, and the kernel starts with `n = n // D * D`: from then on the compiler knows that D divides n
and can load several elements at once (8 halves are 128 bits).

*Why it computes the same.* D is `math.gcd(n, 16)` of the very value that is passed, so `n // D * D` is n.
It is arithmetic, not a promise: unlike `tl.multiple_of` on its own it cannot say something false about the
address.

*When it refuses.* No integer parameter that bounds an index or scales one, parameters that the kernel
assigns to, lengths passed as literals, arguments that might differ when evaluated twice, modules where
`math` is another name, autotuned kernels.
"""

from __future__ import annotations

import ast

from evolve_core.propose.edits import add_arguments, add_parameters, is_repeatable, why_not_launchable
from evolve_core.propose.kernel_code import KernelCode
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.roles import derived_names, reads_memory
from evolve_core.propose.syntax import Splice, assigned_names, int_literal, names_in, splice

MOST_PARAMETERS = 6
"""Each may take five values, and every combination that occurs is a compilation of its own."""


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """No settings."""
    why_not = why_not_launchable(kernel)
    if why_not:
        return Refusal(why_not)
    names = _index_parameters(kernel)
    if not names:
        return Refusal("no integer parameter bounds or scales an index")
    imported = _math_import(kernel)
    if imported is None or not kernel.code.owns_its_lines(kernel.body[0]):
        return Refusal("`math` is something else in this module, or the kernel's first statement shares its line")
    tl = kernel.aliases.language
    divisors = {name: kernel.fresh(f"{name}_divisor") for name in names}
    added = add_parameters(kernel, [(f"{d}: {tl}.constexpr", "1") for d in divisors.values()])
    if isinstance(added, str):
        return Refusal(added)
    lines = [f"{name} = {name} // {d} * {d}" for name, d in divisors.items()]
    edits = [*imported, *added, kernel.code.insert_lines(kernel.body[0], lines)]
    for launch in kernel.launches:
        passed = {name: (launch.arguments or {}).get(name) for name in names}
        pairs = [
            (divisors[name], f"math.gcd({kernel.code.text(p)}, 16)") for name, p in passed.items() if p is not None
        ]
        placed = add_arguments(kernel, launch, pairs)
        if placed is None or len(pairs) != len(names):
            return Refusal("a launch does not show a length or a stride")
        edits.append(placed)
    return Rewritten(splice(kernel.code, edits), f"the compiler learns what divides {', '.join(names)}")


def _index_parameters(kernel: KernelCode) -> list[str]:
    """Runtime parameters that an index is compared with or multiplied by, if every launch passes an expression."""
    indices = derived_names(kernel, None, [*kernel.tl_calls("arange"), *(call for call, _ in kernel.program_ids())])
    assigned = {name for s in kernel.body for name in assigned_names(s)}
    runtime = [p for p in kernel.parameters if p not in kernel.constexprs | assigned]
    found: set[str] = set()
    for node in (n for s in kernel.body for n in ast.walk(s)):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt):
            pairs = [(node.left, node.comparators[0])]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            pairs = [(node.left, node.right), (node.right, node.left)]
        for index, parameter in pairs:
            roots = any(kernel.aliases.call(n) in ("arange", "program_id") for n in ast.walk(index))
            is_index = (names_in(index) & indices or roots) and not reads_memory(kernel, index)
            if isinstance(parameter, ast.Name) and parameter.id in runtime and is_index:
                found.add(parameter.id)
    names = [p for p in runtime if p in found and all(_is_shown(kernel, x.arguments or {}, p) for x in kernel.launches)]
    return names[:MOST_PARAMETERS]


def _is_shown(kernel: KernelCode, arguments: dict[str, ast.expr], name: str) -> bool:
    passed = arguments.get(name)
    return passed is not None and int_literal(passed) is None and is_repeatable(kernel, passed)


def _math_import(kernel: KernelCode) -> list[Splice] | None:
    """What makes ``math`` available; None where the module uses the name for something else."""
    imports = [s for s in kernel.code.tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
    for node in ast.walk(kernel.code.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == "math":
                    plain = isinstance(node, ast.Import) and alias.name == "math" and node in imports
                    return [] if plain else None
        elif (isinstance(node, ast.arg) and node.arg == "math") or "math" in assigned_names(node):
            return None
    plain_imports = [s for s in imports if not (isinstance(s, ast.ImportFrom) and s.module == "__future__")]
    if not plain_imports or not kernel.code.owns_its_lines(plain_imports[0]):
        return None
    return [kernel.code.insert_lines(plain_imports[0], ["import math"])]


RULE = Rule("alignment-hint", ({},), rewrite, __doc__)
