"""exp by way of exp2.

*What it does.* `tl.exp(x)` becomes `tl.exp2(x * log2(e))`, the form the hardware has an instruction for,
with the factor folded into a factor that is already there: a literal, a kernel parameter, or a sign.

*Why it computes the same.* exp(x) = 2^(x · log2 e) for every real x, and infinities and NaN pass through
alike. The product is rounded once, so the relative error grows by up to |x| · log2(e) half-units in the
last place: NVIDIA's own lowering of single-precision exp does the same, the interpreter's and double
precision's do not. The judge's precision policy decides.

*When it refuses.* Kernels without `tl.exp`.
"""

from __future__ import annotations

import ast

from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.syntax import Splice, parse_code, splice

LOG2_E = 1.4426950408889634
"""log2(e), to double precision."""


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """No settings."""
    calls = [c for c in kernel.tl_calls("exp") if len(c.args) == 1 and not c.keywords]
    if not calls:
        return Refusal("no exp in the kernel")
    edits = [e for call in calls for e in _edits(kernel, call)]
    text = splice(kernel.code, edits)
    if parse_code(text) is None:
        return Refusal("an exp whose text cannot be taken apart")
    return Rewritten(text, f"{len(calls)} exp as exp2, which rounds once more")


def _edits(kernel: KernelCode, call: ast.Call) -> list[Splice]:
    end = kernel.code.end(call.func)
    renamed = Splice(end - len("exp"), end, "exp2")
    inner = argument(call, 0, "x")
    if inner is None:
        raise AssertionError("calls without a positional argument were left out")
    return [renamed, *_scaled(kernel, inner)]


def _scaled(kernel: KernelCode, inner: ast.expr) -> list[Splice]:
    """Insertions only, so that an exp inside another one's argument keeps its own."""
    code = kernel.code
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult):
        factor = inner.right
        if isinstance(factor, ast.Name) and factor.id in kernel.parameters:
            return [code.before(factor, "("), code.after(factor, f" * {LOG2_E})")]
        if isinstance(factor, ast.Constant) and isinstance(factor.value, float):
            return [code.replace(factor, repr(factor.value * LOG2_E))]
    if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub) and isinstance(inner.operand, ast.Name):
        return [code.replace(inner, f"{inner.operand.id} * {-LOG2_E}")]
    if isinstance(inner, ast.Name | ast.Call):
        return [code.after(inner, f" * {LOG2_E}")]
    return [code.before(inner, "("), code.after(inner, f") * {LOG2_E}")]


RULE = Rule("exp-to-exp2", ({},), rewrite, __doc__)
