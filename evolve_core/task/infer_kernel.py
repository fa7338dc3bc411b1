"""Sizes of a tensor as its kernel uses it: what the offsets added to its pointer are compared with."""

from __future__ import annotations

import ast
import textwrap

from evolve_core.source.model import Kernel

_MEMORY_CALLS = frozenset({"load", "store"})


def pointer_dimensions(kernels: tuple[Kernel, ...], text: str) -> dict[str, tuple[str, ...]]:
    """Host variable → the host variables that bound its offsets, outermost first, where the text tells all of them.

    ``tl.load(weight_ptr + cols, mask=cols < n_cols)`` launched with ``weight`` and ``n_cols`` gives
    ``{"weight": ("n_cols",)}``. A pointer with a term that nothing bounds is left out.
    """
    data = text.encode("utf-8", "surrogatepass")
    result: dict[str, tuple[str, ...]] = {}
    for kernel in kernels:
        function = _function(data[kernel.span.start_byte : kernel.span.end_byte], kernel.span.start_column)
        if function is None:
            continue
        bounds = _bounds(function)
        for site in kernel.launches:
            host = {
                argument.keyword or _name(kernel, index): argument.text for index, argument in enumerate(site.arguments)
            }
            for pointer, limits in bounds.items():
                names = tuple(host.get(limit, "") for limit in limits)
                if pointer in host and all(name.isidentifier() for name in names):
                    result.setdefault(host[pointer], names)
    return result


def _name(kernel: Kernel, index: int) -> str:
    return kernel.parameters[index].name if index < len(kernel.parameters) else ""


def _function(source: bytes, column: int) -> ast.FunctionDef | None:
    dedented = textwrap.dedent(" " * column + source.decode("utf-8", "surrogatepass"))
    try:
        body = ast.parse(dedented).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    return next((node for node in body if isinstance(node, ast.FunctionDef)), None)


def _bounds(function: ast.FunctionDef) -> dict[str, tuple[str, ...]]:
    """Pointer parameter → the parameters that bound its offsets."""
    parameters = {a.arg for a in function.args.args}
    assigned: dict[str, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, node.value)
    result: dict[str, tuple[str, ...]] = {}
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
            continue
        if call.func.attr not in _MEMORY_CALLS:
            continue
        address = _expand(call.args[0], assigned, parameters)
        terms = _sum_terms(address)
        pointer = next((t.id for t in terms if isinstance(t, ast.Name) and t.id in parameters), None)
        limits = _limits(call, assigned)
        offsets = [t for t in terms if not (isinstance(t, ast.Name) and t.id == pointer)]
        names = [next((limits[n] for n in _names(t) if n in limits), None) for t in offsets]
        if pointer is not None and offsets and all(name is not None and name in parameters for name in names):
            result.setdefault(pointer, tuple(name for name in names if name is not None))
    return result


def _expand(node: ast.expr, assigned: dict[str, ast.expr], parameters: set[str]) -> ast.expr:
    """Follows ``c_ptrs`` to ``c_ptr + …``; offsets keep their names, which the masks speak about."""
    seen: set[str] = set()
    while isinstance(node, ast.Name) and node.id not in parameters and node.id in assigned and node.id not in seen:
        seen.add(node.id)
        node = assigned[node.id]
    return node


def _sum_terms(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_sum_terms(node.left), *_sum_terms(node.right)]
    return [node]


def _limits(call: ast.Call, assigned: dict[str, ast.expr]) -> dict[str, str]:
    """``offset < limit`` for every comparison in the call's mask: offset → limit."""
    mask = next((k.value for k in call.keywords if k.arg == "mask"), None)
    if isinstance(mask, ast.Name):
        mask = assigned.get(mask.id)
    result: dict[str, str] = {}
    for node in ast.walk(mask) if mask is not None else ():
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt):
            limit = node.comparators[0]
            if isinstance(limit, ast.Name):
                result.update(dict.fromkeys(_names(node.left), limit.id))
    return result


def _names(node: ast.expr) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
