"""What a host function's text says about its inputs: which are tensors, their shapes and dtypes, shared sizes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import StrEnum

from evolve_core.source.model import Kernel
from evolve_core.task.infer_kernel import pointer_dimensions

_TENSOR_ATTRIBUTES = frozenset(
    {
        "shape", "stride", "numel", "device", "dtype", "size", "contiguous", "ndim", "dim", "view", "reshape",
        "data_ptr", "is_cuda", "is_contiguous", "T", "new_empty", "element_size", "flatten", "unsqueeze", "transpose",
    }
)  # fmt: skip
_SHAPE_KEEPING = frozenset({"contiguous", "clone", "detach", "to", "cuda", "float", "half"})
_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})
_INDEX_NAMES = ("label", "target", "index", "indices", "idx", "position", "token")


class ParameterKind(StrEnum):
    TENSOR = "tensor"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class HostParameter:
    """One parameter of the entry. ``dims`` are names of sizes; None where the text does not tell."""

    name: str
    kind: ParameterKind
    default: str | None = None
    dims: tuple[str, ...] | None = None
    dtype: str | None = None
    guessed: bool = False
    """Whether ``dims`` were taken over from another tensor."""
    is_index: bool = False
    """Whether the name says that it holds positions in another tensor."""
    high: str | None = None
    """the size that the values of an index stay below"""


@dataclass(slots=True)
class _Shapes:
    """Sizes of tensors seen so far: (tensor, axis) → name, and equalities between names."""

    axes: dict[tuple[str, int], str] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)
    """name of a number of elements → the tensor it counts"""
    same: dict[str, str] = field(default_factory=dict)

    def tensor(self, name: str) -> str:
        return self.aliases.get(name, name)

    def name(self, dim: str) -> str:
        while dim in self.same:
            dim = self.same[dim]
        return dim

    def set_axis(self, tensor: str, axis: int, dim: str) -> None:
        tensor = self.tensor(tensor)
        known = self.axes.get((tensor, axis))
        if known is None:
            self.axes[tensor, axis] = dim
        else:
            self.unify(known, dim)

    def unify(self, one: str, other: str) -> None:
        one, other = self.name(one), self.name(other)
        if one != other:
            self.same[other] = one


def host_parameters(function: ast.FunctionDef, kernels: tuple[Kernel, ...], kernel_text: str) -> list[HostParameter]:
    """The parameters of ``function``, which launches ``kernels``, with everything its text tells about them."""
    parameters = _declared(function)
    _kinds_from_use(function, parameters, kernels)
    shapes = _read_shapes(function, {p.name for p in parameters})
    tensors = [p for p in parameters if p.kind is ParameterKind.TENSOR]
    derived = pointer_dimensions(kernels, kernel_text)
    for parameter in tensors:
        parameter.dims = _dims_of(parameter.name, shapes)
        parameter.is_index = any(word in parameter.name.lower() for word in _INDEX_NAMES)
    known = {shapes.name(dim) for p in tensors for dim in p.dims or ()}
    first = next((p.dims for p in tensors if p.dims), None)
    for parameter in tensors:
        if parameter.dims is None:
            parameter.dims = _from_kernel(derived.get(parameter.name), shapes, known)
        if parameter.dims is None:
            # One index for each row of the tensor that it points into is what losses and gathers take.
            rows = first[:-1] if first is not None and parameter.is_index and len(first) > 1 else first
            parameter.dims, parameter.guessed = rows or ("n",), True
            first = first or parameter.dims
        if parameter.is_index and first is not None and len(first) > 1:
            parameter.high = first[-1]
    _dtypes(function, tensors)
    return parameters


def _declared(function: ast.FunctionDef) -> list[HostParameter]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True)) + list(
        zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    )
    return [
        HostParameter(
            argument.arg,
            _kind_of_annotation(argument.annotation, default),
            ast.unparse(default) if default is not None else None,
        )
        for argument, default in pairs
        if argument.arg not in ("self", "cls", "ctx")
    ]


def _kind_of_annotation(annotation: ast.expr | None, default: ast.expr | None) -> ParameterKind:
    text = ast.unparse(annotation).strip("'\"") if annotation is not None else ""
    if "Tensor" in text:
        return ParameterKind.TENSOR
    for kind in (ParameterKind.BOOL, ParameterKind.INT, ParameterKind.FLOAT):
        if kind.value in text.replace("|", " ").replace("[", " ").replace("]", " ").split():
            return kind
    if isinstance(default, ast.Constant):
        for kind, type_ in ((ParameterKind.BOOL, bool), (ParameterKind.INT, int), (ParameterKind.FLOAT, float)):
            if isinstance(default.value, type_):
                return kind
    return ParameterKind.UNKNOWN


def _kinds_from_use(function: ast.FunctionDef, parameters: list[HostParameter], kernels: tuple[Kernel, ...]) -> None:
    used_as_tensor = {
        node.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in _TENSOR_ATTRIBUTES
    }
    used_as_tensor |= {
        argument.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_like")
        for argument in node.args
        if isinstance(argument, ast.Name)
    }
    pointers = {
        argument.text
        for kernel in kernels
        for site in kernel.launches
        for index, argument in enumerate(site.arguments)
        if "ptr" in (argument.keyword or _parameter_name(kernel, index)).lower()
    }
    for parameter in parameters:
        if parameter.kind is ParameterKind.UNKNOWN and parameter.name in used_as_tensor | pointers:
            parameter.kind = ParameterKind.TENSOR


def _parameter_name(kernel: Kernel, index: int) -> str:
    return kernel.parameters[index].name if index < len(kernel.parameters) else ""


def _read_shapes(function: ast.FunctionDef, tensors: set[str]) -> _Shapes:
    shapes = _Shapes()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            _read_assignment(node.targets[0], node.value, tensors, shapes)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            _read_equality(node.left, node.comparators[0], shapes)
    return shapes


def _read_assignment(target: ast.expr, value: ast.expr, tensors: set[str], shapes: _Shapes) -> None:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, other in zip(target.elts, value.elts, strict=True):
            _read_assignment(one, other, tensors, shapes)
        return
    whole = _whole_shape(value)
    if isinstance(target, ast.Tuple) and whole is not None:
        if any(isinstance(e, ast.Starred) for e in target.elts):
            return
        shapes.ranks[shapes.tensor(whole)] = len(target.elts)
        for axis, element in enumerate(target.elts):
            if isinstance(element, ast.Name) and element.id != "_":
                shapes.set_axis(whole, axis, element.id)
        return
    if not isinstance(target, ast.Name):
        return
    axis_of = _one_axis(value)
    if axis_of is not None:
        shapes.set_axis(*axis_of, target.id)
        return
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        owner = value.func.value
        if value.func.attr == "numel" and isinstance(owner, ast.Name):
            shapes.flat[target.id] = shapes.tensor(owner.id)
        elif value.func.attr in _SHAPE_KEEPING and isinstance(owner, ast.Name) and target.id not in tensors:
            shapes.aliases[target.id] = shapes.tensor(owner.id)
        elif value.func.attr.endswith("_like") and value.args and isinstance(value.args[0], ast.Name):
            shapes.aliases[target.id] = shapes.tensor(value.args[0].id)


def _read_equality(left: ast.expr, right: ast.expr, shapes: _Shapes) -> None:
    """``a.shape[1] == b.shape[0]``, ``x.shape == y.shape``, ``x.ndim == 2``, ``K == b.shape[0]``"""
    one, other = _one_axis(left), _one_axis(right)
    if one is not None and other is not None:
        dim = shapes.axes.get((shapes.tensor(one[0]), one[1])) or shapes.axes.get((shapes.tensor(other[0]), other[1]))
        for tensor, axis in (one, other):
            shapes.set_axis(tensor, axis, dim or f"{one[0]}_{one[1]}")
    elif one is not None and isinstance(right, ast.Name):
        shapes.set_axis(*one, right.id)
    elif other is not None and isinstance(left, ast.Name):
        shapes.set_axis(*other, left.id)
    elif isinstance(left, ast.Name) and isinstance(right, ast.Name):
        if {left.id, right.id} <= set(shapes.axes.values()):
            shapes.unify(left.id, right.id)
    elif (a := _whole_shape(left)) is not None and (b := _whole_shape(right)) is not None:
        shapes.aliases[shapes.tensor(b)] = shapes.tensor(a)
    elif isinstance(right, ast.Constant) and isinstance(right.value, int):
        ranked = _rank_of(left)
        if ranked is not None:
            shapes.ranks[shapes.tensor(ranked)] = right.value


def _whole_shape(node: ast.expr) -> str | None:
    """``x.shape`` and ``x.size()``: the tensor's name."""
    if isinstance(node, ast.Call) and not node.args and not node.keywords:
        node, wanted = node.func, "size"
    else:
        wanted = "shape"
    if isinstance(node, ast.Attribute) and node.attr == wanted and isinstance(node.value, ast.Name):
        return node.value.id
    return None


def _one_axis(node: ast.expr) -> tuple[str, int] | None:
    """``x.shape[1]`` and ``x.size(1)``: the tensor's name and the axis."""
    tensor: str | None
    index: ast.expr | None
    if isinstance(node, ast.Subscript):
        tensor, index = _whole_shape(node.value), node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "size":
        tensor = node.func.value.id if isinstance(node.func.value, ast.Name) else None
        index = node.args[0] if len(node.args) == 1 else None
    else:
        return None
    if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub) and isinstance(index.operand, ast.Constant):
        index = ast.Constant(-index.operand.value) if isinstance(index.operand.value, int) else index
    if tensor is None or not isinstance(index, ast.Constant) or not isinstance(index.value, int):
        return None
    return tensor, index.value


def _rank_of(node: ast.expr) -> str | None:
    """``x.ndim``, ``x.dim()`` and ``len(x.shape)``: the tensor's name."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1:
            return _whole_shape(node.args[0])
        node = node.func
    if isinstance(node, ast.Attribute) and node.attr in ("ndim", "dim") and isinstance(node.value, ast.Name):
        return node.value.id
    return None


def _dims_of(tensor: str, shapes: _Shapes) -> tuple[str, ...] | None:
    owner = shapes.tensor(tensor)
    axes = {axis: dim for (name, axis), dim in shapes.axes.items() if name == owner}
    rank = shapes.ranks.get(owner)
    if rank is None and axes:
        # `x.shape[-1]` alone: at least two axes, or the row it belongs to would need no name.
        rank = max(max((a + 1 for a in axes if a >= 0), default=0), max((-a for a in axes if a < 0), default=0))
        rank = max(rank, 2) if any(a < 0 for a in axes) else rank
    if rank is None:
        if any(counted == owner for counted in shapes.flat.values()):
            return (next(name for name, counted in shapes.flat.items() if counted == owner),)
        return None
    placed = {axis % rank: dim for axis, dim in axes.items() if -rank <= axis < rank}
    return tuple(shapes.name(placed.get(axis, f"{tensor}_{axis}")) for axis in range(rank))


def _from_kernel(dims: tuple[str, ...] | None, shapes: _Shapes, known: set[str]) -> tuple[str, ...] | None:
    if not dims:
        return None
    if len(dims) == 1 and dims[0] in shapes.flat:
        return _dims_of(shapes.flat[dims[0]], shapes)
    names = tuple(shapes.name(dim) for dim in dims)
    return names if all(name in known for name in names) else None


def _dtypes(function: ast.FunctionDef, tensors: list[HostParameter]) -> None:
    for parameter in tensors:
        parameter.dtype = "int64" if parameter.is_index else None
    by_name = {p.name: p for p in tensors}
    fallback: str | None = None
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.Is):
            left, dtype = node.left, _torch_dtype(node.comparators[0])
            if not (dtype and isinstance(left, ast.Attribute) and left.attr == "dtype"):
                continue
            if isinstance(left.value, ast.Name) and left.value.id in by_name:
                by_name[left.value.id].dtype = dtype
        elif isinstance(node, ast.Call):
            found = next((_torch_dtype(k.value) for k in node.keywords if k.arg == "dtype"), None)
            fallback = fallback or (found if found in ("float16", "bfloat16") else None)
    for parameter in tensors:
        parameter.dtype = parameter.dtype or fallback


def _torch_dtype(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
        return node.attr if node.attr in _DTYPES else None
    return None
