"""Work that does not change from lane to lane, or from step to step, done once.

*What it does.* `what = division`: a division of a row's values by one value per row (`x / total`) becomes a
product with its reciprocal, so that there is one division a row and not one an element. `what = address`:
arithmetic inside a loop on values that the loop never changes (`x_ptr + row * stride`) moves in front of
the loop.

*Why it computes the same.* Moved arithmetic is the same operations on the same values in the same order,
exact to the bit; it has no effect of its own, so doing it for a loop that runs zero times changes nothing.
The reciprocal rounds twice where the division rounds once: up to one and a half units in the last place,
and it overflows where the divisor is below the reciprocal of the largest number. The judge's precision
policy decides; the summary says that it rounds once more.

*When it refuses.* Divisions whose divisor is not certain to be one value per row, kernels whose shapes
cannot be inferred (for divisions), loops without such arithmetic; integer division and remainder are never
moved.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evolve_core.propose.kernel_code import KernelCode
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import Inference, UnsupportedError
from evolve_core.propose.syntax import Splice, assigned_names, names_in, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Setting ``what``: ``division`` or ``address``."""
    return _reciprocals(kernel) if settings["what"] == "division" else _addresses(kernel)


def _reciprocals(kernel: KernelCode) -> Rewritten | Refusal:
    try:
        divisions = Inference(kernel).run().divisions
    except UnsupportedError as unsupported:
        return Refusal(f"shapes are not certain: {unsupported}")
    if not divisions:
        return Refusal("no division of a row's values by one value per row")
    edits: list[Splice] = []
    for node in divisions:
        code = kernel.code
        gap = code.data[code.end(node.left) : code.start(node.right)]
        if gap.count(b"/") != 1 or b"#" in gap:
            return Refusal("a division whose text cannot be taken apart")
        place = code.end(node.left) + gap.index(b"/")
        edits += [Splice(place, place + 1, "* (1.0 /"), *_closed(kernel, node)]
    return Rewritten(splice(kernel.code, edits), "one division a row instead of one an element (rounds once more)")


def _closed(kernel: KernelCode, node: ast.BinOp) -> list[Splice]:
    """The closing parenthesis stands behind the divisor's own, if it has some."""
    return [Splice(kernel.code.end(node), kernel.code.end(node), ")")]


def _addresses(kernel: KernelCode) -> Rewritten | Refusal:
    code = kernel.code
    edits: list[Splice] = []
    moved = 0
    known = set(kernel.parameters)
    for statement in kernel.body:
        if isinstance(statement, ast.For) and code.owns_its_lines(statement.body[0]):
            fixed = known - assigned_names(statement)
            names: dict[str, str] = {}
            for node in _invariant(kernel, statement.body, fixed):
                text = code.text(node)
                if text not in names:
                    moved += 1
                    names[text] = kernel.fresh(f"fixed_{moved}")
                edits.append(code.replace(node, names[text]))
            edits.append(code.insert_lines(statement, [f"{name} = {text}" for text, name in names.items()]))
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            known |= assigned_names(statement)
    if not moved:
        return Refusal("no loop repeats arithmetic on values that it never changes")
    return Rewritten(splice(code, edits), f"{moved} address computations moved in front of their loops")


def _invariant(kernel: KernelCode, body: list[ast.stmt], fixed: set[str]) -> Iterator[ast.BinOp]:
    """The largest invariant sums and products that hold a product."""
    waiting: list[ast.AST] = [*reversed(body)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BinOp) and _is_invariant(kernel, node, fixed):
            yield node
        else:
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _is_invariant(kernel: KernelCode, node: ast.BinOp, fixed: set[str]) -> bool:
    allowed = (
        ast.BinOp,
        ast.Name,
        ast.Load,
        ast.Add,
        ast.Sub,
        ast.Mult,
        ast.Subscript,
        ast.Slice,
        ast.Tuple,
        ast.Constant,
    )
    inside = list(ast.walk(node))
    if not all(isinstance(n, allowed) for n in inside) or "\n" in kernel.code.text(node):
        return False
    names = names_in(node)
    has_product = any(isinstance(n, ast.Mult) for n in inside)
    return has_product and names <= fixed and not names <= kernel.constexprs


RULE = Rule("hoist-invariant", ({"what": "division"}, {"what": "address"}), rewrite, __doc__)
