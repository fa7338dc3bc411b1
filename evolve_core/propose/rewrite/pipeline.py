"""Loops whose loads run ahead of their use.

*What it does.* `for i in range(…)` becomes `for i in tl.range(…, num_stages=stages)`: Triton's pipeliner
then issues the loads of the next iterations before it needs them, also in loops without a matrix product,
which the launch option `num_stages` leaves alone.

*Why it computes the same.* Iterations run in the same order with the same values; only loads start earlier.
A load may be moved ahead because nothing in these loops writes memory: loops that store, or use atomics or
barriers, are left alone even where the tensors look different, since two arguments may be the same memory.

*When it refuses.* No loop that loads and does not store, or every such loop has its stages already.
"""

from __future__ import annotations

import ast

from evolve_core.propose.flow import range_bounds
from evolve_core.propose.kernel_code import KernelCode
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import ORDERED
from evolve_core.propose.syntax import Splice, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``stages``: iterations in flight."""
    loops = [n for s in kernel.body for n in ast.walk(s) if isinstance(n, ast.For) and _is_pipelinable(kernel, n)]
    if not loops:
        return Refusal("no plain range loop that loads and does not write memory")
    edits: list[Splice] = []
    for loop in loops:
        call = loop.iter
        if isinstance(call, ast.Call):
            last = max(call.args, key=kernel.code.end)
            edits.append(kernel.code.replace(call.func, f"{kernel.aliases.language}.range"))
            edits.append(kernel.code.after(last, f", num_stages={settings['stages']}"))
    return Rewritten(splice(kernel.code, edits), f"{len(loops)} loops with loads {settings['stages']} stages ahead")


def _is_pipelinable(kernel: KernelCode, loop: ast.For) -> bool:
    if range_bounds(kernel, loop) is None or not isinstance(loop.iter, ast.Call):
        return False
    if not isinstance(loop.iter.func, ast.Name) or loop.iter.keywords or not kernel.aliases.language:
        return False
    inside = [n for s in loop.body for n in ast.walk(s)]
    called = {kernel.aliases.call(n) for n in inside}
    if "load" not in called or called & {"store", *ORDERED} or any(isinstance(n, ast.For | ast.While) for n in inside):
        return False
    return not any(_is_unknown_call(kernel, n) for n in inside)


def _is_unknown_call(kernel: KernelCode, node: ast.AST) -> bool:
    """A function of the user's might store."""
    if not isinstance(node, ast.Call) or kernel.aliases.call(node):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id not in ("float", "int", "min", "max")
    return not (isinstance(node.func, ast.Attribute) and node.func.attr == "to")


RULE = Rule("software-pipeline", tuple({"stages": s} for s in ("3", "2", "4")), rewrite, __doc__)
