"""``tt.elementwise_inline_asm``: the few PTX instructions that kernels use it for, one float32 element at a time.

Softplus by ``ex2``/``lg2`` and approximate reciprocals are what is met in practice. An ``.approx`` instruction is
computed precisely and rounded to float32; ``.ftz`` (denormals to zero) is left out. Semantics: PTX ISA, "Floating-Point
Instructions" and "Comparison and Selection Instructions". Any other instruction is Unsupported by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from .errors import Unsupported
from .floats import TERNARY, UNARY
from .formats import Array, held_dtype, name_of
from .ir import Operation, Scalar, like, shape_of
from .state import Frame
from .values import Value

_NO_EFFECT = ("griddepcontrol.wait", "griddepcontrol.launch_dependents")
_INSTRUCTION = re.compile(r"(?:@(!?)(\w+)\s+)?([a-z][\w.]*)\s*(.*)", re.DOTALL)
_MODIFIERS = frozenset(("approx", "ftz", "rn", "full", "f32", "b32", "sat"))
_OPERATIONS: dict[str, Callable[..., Array]] = {
    "mov": lambda x: x,
    "neg": np.negative,
    "abs": np.abs,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fma": TERNARY["math.fma"],
    "max": np.fmax,
    "min": np.fmin,
    "ex2": np.exp2,
    "lg2": np.log2,
    "rcp": np.reciprocal,
    "sqrt": np.sqrt,
    "rsqrt": UNARY["math.rsqrt"],
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}
_OPERANDS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "max": 2, "min": 2, "fma": 3}
_COMPARISONS: dict[str, Callable[..., Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def inline_assembly(frame: Frame, operation: Operation, values: list[Value]) -> Value:
    """Raises Unsupported for an instruction, a type or a packing that is not interpreted."""
    text = _unescaped(operation.words[0]) if operation.words else ""
    kind = operation.result_types[0]
    instructions = [one for one in map(str.strip, re.split(r"[;{}]", _without_comments(text))) if one]
    if instructions and all(one.startswith(_NO_EFFECT) for one in instructions):
        return Value(kind, np.zeros((1,) * (1 + len(shape_of(kind))), held_dtype(kind)))
    floats = all(name_of(one) == "f32" for one in (kind, *operation.operand_types))
    if not floats or len(operation.results) != 1 or operation.attributes.get("packed_element") != 1:
        raise Unsupported(operation.name, f"of {kind} is not interpreted", operation.text_line)
    registers = {f"${place + 1}": value.data for place, value in enumerate(values)}
    for instruction in instructions:
        _execute(instruction, registers, operation)
    if "$0" not in registers:
        raise Unsupported(operation.name, "that sets no result is not interpreted", operation.text_line)
    return Value(like(kind, Scalar("f32")), registers["$0"])


def _unescaped(text: str) -> str:
    """MLIR writes a newline as ``\\0A``."""
    return re.sub(r"\\([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


def _execute(instruction: str, registers: dict[str, Array], operation: Operation) -> None:
    if instruction.startswith(".reg"):
        return
    match = _INSTRUCTION.fullmatch(instruction)
    if match is None:
        raise Unsupported(f"{operation.name} {instruction[:40]!r}", line=operation.text_line)
    negated, predicate, name, rest = match.groups()
    target, *sources = [part.strip() for part in rest.split(",")]
    result = _result(name, [_operand(source, registers, operation) for source in sources], operation)
    if predicate is not None:
        if predicate not in registers:
            raise Unsupported(f"{operation.name} @{predicate}", "is not set", operation.text_line)
        taken = ~registers[predicate] if negated else registers[predicate]
        result = np.where(taken, result, registers.get(target, np.float32(0)))
    registers[target] = result


def _result(name: str, sources: list[Array], operation: Operation) -> Array:
    first, *modifiers = name.split(".")
    if first == "setp" and len(sources) == 2 and modifiers[-1:] == ["f32"] and modifiers[0] in _COMPARISONS:
        return _COMPARISONS[modifiers[0]](*sources)
    known = first in _OPERATIONS and _MODIFIERS.issuperset(modifiers) and "sat" not in modifiers
    if not known or len(sources) != _OPERANDS.get(first, 1):
        raise Unsupported(f"{operation.name} {name}", line=operation.text_line)
    return _OPERATIONS[first](*sources)


def _operand(text: str, registers: dict[str, Array], operation: Operation) -> Array:
    """A register, a decimal number, or ``0f`` and eight hexadecimal digits."""
    if text in registers:
        return registers[text]
    if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}", text):
        return np.array(int(text[2:], 16), np.uint32).view(np.float32)
    if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return np.array(text, np.float32)
    raise Unsupported(f"{operation.name} with the operand {text[:20]!r}", line=operation.text_line)
