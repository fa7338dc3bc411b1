"""How much an operation of TTIR costs for each of its elements, in instructions of a GPU.

The same rough weights as of the interpreted language (interpret/counts.py, which names their sources); TTIR has folded
constants and moved what does not change out of loops before.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ttir.formats import is_float
from ..ttir.ir import Operation, size_of

_FLOAT = frozenset(
    ("arith.addf", "arith.subf", "arith.mulf", "arith.negf", "math.fma", "math.absf", "math.floor", "math.ceil",
     "arith.minimumf", "arith.minnumf", "arith.maximumf", "arith.maxnumf", "arith.sitofp", "arith.uitofp",
     "arith.fptosi", "arith.fptoui", "arith.extf", "arith.truncf", "tt.fp_to_fp", "arith.cmpf")
)  # fmt: skip
_SPECIAL = {
    "math.exp2": (0.0, 1.0),
    "math.exp": (1.0, 1.0),
    "math.log2": (1.0, 1.0),
    "math.log": (2.0, 1.0),
    "math.sin": (1.0, 1.0),
    "math.cos": (1.0, 1.0),
    "math.sqrt": (0.0, 1.0),
    "math.rsqrt": (0.0, 1.0),
    "tt.precise_sqrt": (6.0, 1.0),
    "arith.divf": (2.0, 1.0),
    "tt.precise_divf": (8.0, 1.0),
    "arith.remf": (8.0, 1.0),
    "math.erf": (12.0, 1.0),
    "tt.extern_elementwise": (12.0, 1.0),
    "tt.elementwise_inline_asm": (1.0, 0.0),
    "tt.clampf": (2.0, 0.0),
}
"""(plain instructions, special-function instructions)."""
_INTEGER = frozenset(
    ("arith.addi", "arith.subi", "arith.muli", "arith.shli", "arith.shrui", "arith.shrsi", "arith.andi", "arith.ori",
     "arith.xori", "math.absi", "tt.mulhiui", "arith.extsi", "arith.extui", "arith.trunci", "tt.addptr",
     "arith.minsi", "arith.minui", "arith.maxsi", "arith.maxui", "arith.cmpi")
)  # fmt: skip
_OTHER_MATH = (12.0, 1.0)
_DIVISIONS = frozenset(("arith.divsi", "arith.divui", "arith.remsi", "arith.remui"))
_RUNTIME_DIVISION, _CONSTANT_DIVISION, _POWER_OF_TWO_DIVISION = 20.0, 5.0, 2.0


@dataclass(frozen=True, slots=True)
class Weight:
    """Of one operation, over all its elements."""

    float_operations: float = 0.0
    special_operations: float = 0.0
    integer_operations: float = 0.0


def weight_of(operation: Operation, divisor: int | None) -> Weight:
    """``divisor``: what a division divides by, where the compiler knows it."""
    if not operation.result_types:
        return Weight()
    name, kind = operation.name, operation.result_types[0]
    elements = size_of(kind)
    if name in _FLOAT:
        return Weight(float_operations=elements)
    if name in _INTEGER:
        return Weight(integer_operations=elements)
    if name == "arith.select":
        return Weight(float_operations=elements) if is_float(kind) else Weight(integer_operations=elements)
    if name in _DIVISIONS:
        return Weight(integer_operations=elements * _division(divisor))
    if name in _SPECIAL or name.startswith("math."):
        plain, special = _SPECIAL.get(name, _OTHER_MATH)
        return Weight(elements * plain, elements * special)
    return Weight()


def _division(divisor: int | None) -> float:
    if not divisor:
        return _RUNTIME_DIVISION
    return _CONSTANT_DIVISION if divisor & (divisor - 1) else _POWER_OF_TWO_DIVISION


_PRODUCT_NAMES = {"f16": "fp16", "bf16": "bf16", "f32": "fp32", "f64": "fp64", "i8": "int8"}


def product_kind(element: str, precision: str) -> tuple[str, float]:
    """The data type that a target's table of peaks is asked for, and how many products are made for one."""
    if element != "f32":
        return ("fp8" if element.startswith("f8") else _PRODUCT_NAMES.get(element, element)), 1.0
    text = precision.upper()
    passes = 3.0 if "X3" in text else 6.0 if "X6" in text else 1.0
    if "BF16" in text:
        return "bf16", passes
    return ("tf32", passes) if "TF32" in text else ("fp32", 1.0)
