"""Shape inference for kernels that work on one row per program: which values differ by row, by column, or by
both.

Everything this does not know for certain ends in ``Unsupported``, with the reason: the caller refuses.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import IntFlag
from typing import TypeVar

from evolve_core.propose.kernel_code import KernelCode, argument
from evolve_core.propose.syntax import int_literal

ELEMENTWISE = frozenset(
    (
        *("exp", "exp2", "log", "log2", "sqrt", "rsqrt", "sqrt_rn", "div_rn", "fdiv", "fma", "umulhi", "cdiv"),
        *("abs", "sin", "cos", "erf", "sigmoid", "floor", "ceil", "maximum", "minimum", "clamp", "where", "cast"),
    )
)
REDUCED = ("sum", "max", "min", "xor_sum")
ORDERED = ("debug_barrier", "atomic_add", "atomic_max", "atomic_min", "atomic_cas", "atomic_xchg", "atomic_and")

Node = TypeVar("Node", bound=ast.AST)


class Shape(IntFlag):
    """Empty: the same for every row and column of the program's tile."""

    UNIFORM = 0
    ROW = 1
    COLUMN = 2


class UnsupportedError(Exception):
    """The kernel holds something whose shape this does not infer. Never leaves the rule that asked."""


@dataclass
class Findings:
    """What has to change when a row gets an axis of its own; nodes of the kernel's tree, each once."""

    program_ids: list[ast.Call] = field(default_factory=list)
    aranges: list[ast.Call] = field(default_factory=list)
    reductions: list[ast.Call] = field(default_factory=list)
    filled: list[ast.Call] = field(default_factory=list)
    """``tl.zeros``/``tl.full`` of one axis."""
    accesses: list[ast.Call] = field(default_factory=list)
    """Loads and stores whose address differs by row."""
    divisions: list[ast.BinOp] = field(default_factory=list)
    """``a / b`` where a differs by column and b does not."""
    widened: list[ast.expr] = field(default_factory=list)
    """Initial values (floating-point literals) of variables that a loop carries as one value per row."""


@dataclass
class Inference:
    """Walks a kernel's body; ``findings`` are complete after ``run``."""

    kernel: KernelCode
    findings: Findings = field(default_factory=Findings)
    env: dict[str, Shape] = field(default_factory=dict)
    initial: dict[str, ast.expr] = field(default_factory=dict)

    def run(self) -> Findings:
        self.env = dict.fromkeys(self.kernel.parameters, Shape.UNIFORM)
        self._block(self.kernel.body)
        return self.findings

    def _block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._bind(name, self._shape(value), value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._bind(name, self._shape(value), value)
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                self._bind(name, self._name(name) | self._shape(value), None)
            case ast.Expr(value=value):
                self._shape(value)
            case ast.For():
                self._loop(node)
            case ast.If():
                self._branches(node)
            case ast.Pass():
                pass
            case _:
                raise UnsupportedError(f"line {node.lineno}: {type(node).__name__} statement")

    def _bind(self, name: str, shape: Shape, value: ast.expr | None) -> None:
        self.env[name] = shape
        self.initial.pop(name, None)
        if value is not None and _is_float_literal(value):
            self.initial[name] = value

    def _loop(self, node: ast.For) -> None:
        if not isinstance(node.target, ast.Name) or not isinstance(node.iter, ast.Call) or node.orelse:
            raise UnsupportedError(f"line {node.lineno}: a loop of another form than `for name in range(…)`")
        plain = isinstance(node.iter.func, ast.Name) and node.iter.func.id == "range"
        if not plain and self.kernel.aliases.call(node.iter) not in ("range", "static_range"):
            raise UnsupportedError(f"line {node.lineno}: a loop over something else than a range")
        if any(self._shape(a) for a in [*node.iter.args, *(k.value for k in node.iter.keywords)]):
            raise UnsupportedError(f"line {node.lineno}: the loop's bounds differ by row")
        self.env[node.target.id] = Shape.UNIFORM
        before, initial = dict(self.env), dict(self.initial)
        self._block(node.body)
        for name, shape in before.items():
            if self.env.get(name) is None:
                raise UnsupportedError(f"line {node.lineno}: {name} has one shape or another inside the loop")
            if self.env[name] != shape:
                start = initial.get(name)
                if start is None or self.env[name] != Shape.ROW:
                    raise UnsupportedError(f"line {node.lineno}: {name} changes its shape inside the loop")
                if start not in self.findings.widened:
                    self.findings.widened.append(start)
                before[name] = Shape.ROW
        self.env = self.env | before
        self._block(node.body)
        if any(self.env.get(name) != shape for name, shape in before.items()):
            raise UnsupportedError(f"line {node.lineno}: shapes inside the loop do not settle")

    def _branches(self, node: ast.If) -> None:
        if self._shape(node.test):
            raise UnsupportedError(f"line {node.lineno}: a condition differs by row")
        before = dict(self.env)
        self._block(node.body)
        after_body, self.env = self.env, dict(before)
        self._block(node.orelse)
        agreed = {n: s for n, s in self.env.items() if after_body.get(n, s) == s}
        self.env = {n: s for n, s in after_body.items() if self.env.get(n, s) == s} | agreed
        self.initial.clear()

    def _name(self, name: str) -> Shape:
        if name not in self.env:
            raise UnsupportedError(f"{name} has no single shape, or is defined outside the kernel")
        return self.env[name]

    def _shape(self, node: ast.expr) -> Shape:
        match node:
            case ast.Constant():
                return Shape.UNIFORM
            case ast.Name(id=name):
                return self._name(name)
            case ast.BinOp(left=left, op=op, right=right):
                shapes = self._shape(left), self._shape(right)
                if isinstance(op, ast.Div) and Shape.COLUMN in shapes[0] and Shape.COLUMN not in shapes[1]:
                    _add(self.findings.divisions, node)
                return shapes[0] | shapes[1]
            case ast.UnaryOp(operand=operand):
                return self._shape(operand)
            case ast.Compare(left=left, comparators=[right]):
                return self._shape(left) | self._shape(right)
            case ast.BoolOp(values=values):
                return self._uniform(values, node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._uniform([test], node)
                return self._shape(body) | self._shape(orelse)
            case ast.Attribute(value=value):
                return self._attribute(value)
            case ast.Call():
                return self._call(node)
            case _:
                raise UnsupportedError(f"line {node.lineno}: {type(node).__name__} expression")

    def _uniform(self, nodes: list[ast.expr], at: ast.expr) -> Shape:
        if any(self._shape(n) for n in nodes):
            raise UnsupportedError(f"line {at.lineno}: a condition differs by row or column")
        return Shape.UNIFORM

    def _attribute(self, node: ast.expr) -> Shape:
        """``x_ptr.dtype.element_ty``, ``tl.float32``: facts about types."""
        while isinstance(node, ast.Attribute):
            node = node.value
        if isinstance(node, ast.Name) and (node.id in self.env or node.id == self.kernel.aliases.language):
            return Shape.UNIFORM
        raise UnsupportedError(f"line {node.lineno}: an attribute of something unknown")

    def _call(self, node: ast.Call) -> Shape:
        name = self.kernel.aliases.call(node)
        values = [*node.args, *(k.value for k in node.keywords)]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "to" and not name:
            return self._shape(node.func.value)
        if isinstance(node.func, ast.Name) and node.func.id in ("float", "int", "min", "max"):
            return self._uniform(values, node)
        if name in ELEMENTWISE:
            shapes = [self._shape(v) for v in values]
            return Shape(sum({int(bit) for bit in Shape if any(bit in s for s in shapes)}))
        if name == "program_id":
            return self._program_id(node)
        if name in REDUCED:
            return self._reduction(node)
        if name == "arange":
            _add(self.findings.aranges, node)
            return Shape.COLUMN
        if name in ("zeros", "full"):
            return self._filled(node)
        if name == "load":
            return self._load(node)
        if name == "store":
            return self._store(node)
        if name == "static_assert":
            return Shape.UNIFORM
        raise UnsupportedError(f"line {node.lineno}: a call of {ast.unparse(node.func)}")

    def _program_id(self, node: ast.Call) -> Shape:
        axis = int_literal(argument(node, 0, "axis"))
        if axis is None:
            raise UnsupportedError(f"line {node.lineno}: a program id whose axis is no literal")
        if axis != 0:
            return Shape.UNIFORM
        _add(self.findings.program_ids, node)
        return Shape.ROW

    def _reduction(self, node: ast.Call) -> Shape:
        axis = argument(node, 1, "axis")
        known = axis is None or int_literal(axis) == 0 or (isinstance(axis, ast.Constant) and axis.value is None)
        if not known or len(node.args) > 2 or {k.arg for k in node.keywords} - {"axis", "input", "dtype"}:
            raise UnsupportedError(f"line {node.lineno}: a reduction of another form than over the one axis there is")
        reduced = argument(node, 0, "input")
        if reduced is None or self._shape(reduced) != Shape.ROW | Shape.COLUMN:
            raise UnsupportedError(f"line {node.lineno}: the reduced value is the same for every row")
        _add(self.findings.reductions, node)
        return Shape.ROW

    def _filled(self, node: ast.Call) -> Shape:
        shape = argument(node, 0, "shape")
        if not isinstance(shape, ast.List | ast.Tuple) or len(shape.elts) != 1:
            raise UnsupportedError(f"line {node.lineno}: a tensor of another shape than one edge")
        value = argument(node, 1, "value") if self.kernel.aliases.call(node) == "full" else None
        if value is not None and self._shape(value):
            raise UnsupportedError(f"line {node.lineno}: a tensor filled with a value that differs by row")
        _add(self.findings.filled, node)
        return Shape.ROW | Shape.COLUMN

    def _load(self, node: ast.Call) -> Shape:
        pointer, mask, other = (argument(node, i, n) for i, n in enumerate(("pointer", "mask", "other")))
        if pointer is None or argument(node, None, "boundary_check") is not None:
            raise UnsupportedError(f"line {node.lineno}: a load of another form than pointer and mask")
        shape = self._shape(pointer)
        for part in (mask, other):
            if part is not None and self._shape(part) & ~shape:
                raise UnsupportedError(f"line {node.lineno}: a mask or fill that varies where the address does not")
        if Shape.ROW in shape:
            _add(self.findings.accesses, node)
        return shape

    def _store(self, node: ast.Call) -> Shape:
        pointer, value, mask = (argument(node, i, n) for i, n in enumerate(("pointer", "value", "mask")))
        if pointer is None or value is None or argument(node, None, "boundary_check") is not None:
            raise UnsupportedError(f"line {node.lineno}: a store of another form than pointer, value and mask")
        shape = self._shape(pointer)
        if Shape.ROW not in shape:
            raise UnsupportedError(f"line {node.lineno}: every row stores to the same place")
        for part in (value, mask):
            if part is not None and self._shape(part) & ~shape:
                raise UnsupportedError(f"line {node.lineno}: a stored value that varies where the address does not")
        _add(self.findings.accesses, node)
        return Shape.UNIFORM


def _is_float_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_float_literal(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        return all(isinstance(a, ast.Constant) for a in node.args)
    return isinstance(node, ast.Constant) and type(node.value) is float


def _add(found: list[Node], node: Node) -> None:
    if not any(n is node for n in found):
        found.append(node)
