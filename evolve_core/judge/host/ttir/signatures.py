"""The types of an operation's operands and results, out of the types that its text lists.

MLIR prints no more types than an operation's definition needs: ``arith.addi %a, %b : T`` means three of ``T``. What the
text claims is compared with how the operands were defined, so an operation that gets this far is well typed.
"""

from __future__ import annotations

from . import rules
from .errors import BadIr, Unsupported

_RULES: dict[str, rules.Rule] = {
    "arith.cmpi": rules.compare_rule,
    "arith.cmpf": rules.compare_rule,
    "arith.select": rules.select_rule,
    "arith.addui_extended": rules.carry_rule,
    "tt.addptr": rules.add_pointer_rule,
    "tt.atomic_rmw": rules.atomic_rule,
    "tt.atomic_cas": rules.atomic_rule,
    "tt.dot": rules.dot_rule,
    "math.fpowi": rules.first_rule,
    "math.isnan": rules.predicate_rule,
    "math.isinf": rules.predicate_rule,
    "math.isfinite": rules.predicate_rule,
    "tt.load": rules.load_rule,
    "tt.store": rules.store_rule,
    "tt.atomic_store": rules.store_rule,
    "scf.condition": rules.condition_rule,
    "tt.unsplat": rules.unsplat_rule,
    "tt.assert": rules.assertion_rule,
    "llvm.intr.assume": rules.assertion_rule,
    "tt.make_range": rules.result_only_rule,
    "tt.get_program_id": rules.result_only_rule,
    "tt.get_num_programs": rules.result_only_rule,
    "tt.make_tensor_descriptor": rules.make_descriptor_rule,
    "tt.descriptor_load": rules.descriptor_load_rule,
    "tt.descriptor_store": rules.descriptor_store_rule,
    "tt.descriptor_reduce": rules.descriptor_store_rule,
    "tt.make_tensor_ptr": rules.make_block_pointer_rule,
    "tt.advance": rules.move_rule,
    "ub.poison": rules.result_only_rule,
}
_CONVERSIONS = frozenset(
    (
        "arith.extf",
        "arith.truncf",
        "arith.extsi",
        "arith.extui",
        "arith.trunci",
        "arith.sitofp",
        "arith.uitofp",
        "arith.fptosi",
        "arith.fptoui",
        "arith.bitcast",
        "arith.index_cast",
        "arith.index_castui",
        "tt.bitcast",
        "tt.fp_to_fp",
        "tt.int_to_ptr",
        "tt.ptr_to_int",
        "tt.splat",
        "tt.broadcast",
        "tt.expand_dims",
        "tt.reshape",
        "tt.trans",
        "tt.join",
        "tt.split",
        "tt.cat",
    )
)
_LISTED = frozenset(
    (
        "tt.call",
        "tt.reduce",
        "tt.scan",
        "tt.gather",
        "tt.return",
        "tt.reduce.return",
        "tt.scan.return",
        "scf.yield",
        "tt.print",
        "tt.extern_elementwise",
        "tt.elementwise_inline_asm",
        "tt.descriptor_gather",
        "tt.descriptor_scatter",
        "ttg.barrier",
        "gpu.barrier",
        "tt.grid_dependency_wait",
        "tt.grid_dependency_launch_dependents",
    )
)
_RULES |= dict.fromkeys(_CONVERSIONS, rules.convert_rule)
_RULES |= dict.fromkeys(_LISTED, rules.listed_rule)
_RULES["tt.histogram"] = rules.histogram_rule
_SAME = ("arith.", "math.", "tt.clampf", "tt.precise_", "tt.approx_divf", "tt.mulhiui")


_OPERANDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("arith.negf", "tt.precise_sqrt"), (1, 1)),
    **dict.fromkeys(("math.powf", "math.atan2", "math.copysign", "math.fpowi", "tt.join", "tt.cat"), (2, 2)),
    **dict.fromkeys(("math.fma", "tt.clampf", "arith.select", "tt.atomic_cas"), (3, 3)),
    "tt.load": (1, 3),
    "tt.store": (2, 3),
    "tt.atomic_rmw": (2, 3),
    "tt.histogram": (1, 2),
    "tt.gather": (2, 2),
    "tt.reduce": (1, 64),
    "tt.scan": (1, 64),
    "tt.advance": (1, 8),
    "tt.descriptor_load": (1, 8),
    "tt.descriptor_store": (2, 8),
    "tt.descriptor_reduce": (2, 8),
}
"""Fewest and most, where the types listed do not say it themselves."""


_MOST_OPERANDS = 4096
"""Of what lists its types, as a loop does that carries an unrolled kernel's every value."""


def _operands(name: str) -> tuple[int, int]:
    if name in _OPERANDS:
        return _OPERANDS[name]
    if name in _CONVERSIONS or name.startswith("math."):
        return 1, 1
    return (2, 2) if name.startswith(_SAME) else (0, _MOST_OPERANDS)


def types_of(name: str, listed: rules.Listed, line: int) -> rules.Types:
    """Types of operands and results. Raises BadIr where the text's do not fit, Unsupported for an unknown operation."""
    rule = _RULES.get(name)
    if rule is None:
        if not name.startswith(_SAME):
            raise Unsupported(name, line=line)
        rule = rules.same_rule
    try:
        operands, results = rule(listed)
    except (IndexError, ValueError):
        raise BadIr(f"the types of {name} do not fit it", line) from None
    fewest, most = _operands(name)
    if not fewest <= listed.operands <= most or len(operands) != listed.operands or len(results) != listed.results:
        raise BadIr(
            f"{name} has {listed.operands} operands and {listed.results} results, which its types do not fit", line
        )
    return operands, results
