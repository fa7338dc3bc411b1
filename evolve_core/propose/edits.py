"""Edits that a kernel and its launches need together: new parameters, new arguments, another grid."""

from __future__ import annotations

import ast

from evolve_core.propose.kernel_code import KernelCode, Launch
from evolve_core.propose.syntax import Code, Splice, dotted


def add_parameters(kernel: KernelCode, declarations: list[tuple[str, str]]) -> list[Splice] | str:
    """New parameters behind the last one, as (declaration, default); why not, where that is impossible.

    The default is written only where the parameter in front has one, since Python then asks for it.
    """
    args = kernel.node.args
    if not args.args or args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs:
        return "the kernel's parameter list has a form that this does not extend"
    place: ast.expr | ast.arg = args.defaults[-1] if args.defaults else args.args[-1]
    end = kernel.code.end(place)
    if args.defaults and kernel.code.data[: kernel.code.start(place)].rstrip().endswith(b"("):
        return "the last parameter's default stands in parentheses"
    tail = " = {}" if args.defaults else ""
    return [Splice(end, end, "".join(f", {d}{tail.format(default)}" for d, default in declarations))]


def add_arguments(kernel: KernelCode, launch: Launch, pairs: list[tuple[str, str]]) -> Splice | None:
    """New keyword arguments behind the last one of a launch. None where there is nothing to stand behind."""
    arguments: list[ast.expr | ast.keyword] = [*launch.call.args, *launch.call.keywords]
    if not arguments:
        return None
    last = max(arguments, key=kernel.code.end)
    value = last.value if isinstance(last, ast.keyword) else last
    end = _past_parentheses(kernel.code, value, kernel.code.end(value), kernel.code.end(launch.call))
    return Splice(end, end, "".join(f", {name}={value}" for name, value in pairs))


def _past_parentheses(code: Code, node: ast.expr, end: int, limit: int) -> int:
    """``(value)`` ends, as a node, inside its parentheses; the place behind them is wanted."""
    opened = 0
    head = code.data[: code.start(node)].rstrip()
    while head.endswith(b"(") and not _opens_a_call(head):
        head = head[:-1].rstrip()
        opened += 1
    position = end
    while opened and position < limit:
        if code.data[position : position + 1] == b")":
            opened -= 1
            end = position + 1
        position += 1
    return end


def _opens_a_call(head: bytes) -> bool:
    before = head[:-1].rstrip()[-1:]
    return before.isalnum() or before in {b"_", b"]", b")"}


def why_not_launchable(kernel: KernelCode) -> str:
    """Why the launches cannot be edited, "" where they can: at least one, nothing hidden behind ``*`` or ``**``."""
    if not kernel.launches:
        return "no launch of the kernel is in this file"
    if any(launch.arguments is None for launch in kernel.launches):
        return "a launch passes its arguments through * or **, so that the text does not show them"
    if kernel.autotune is not None:
        return "the kernel is autotuned: its launches do not show the values it runs with"
    if any("heuristics" in dotted(d.func) for d in kernel.node.decorator_list if isinstance(d, ast.Call)):
        return "@triton.heuristics computes arguments that the launches do not show"
    return ""


def why_no_grid(kernel: KernelCode) -> str:
    """Why the grids cannot be edited, "" where they can."""
    for launch in kernel.launches:
        if launch.grid is None or not launch.grid:
            return "a launch's grid is not written as a tuple"
        if launch.grid_shared:
            return "another launch uses the same grid"
        if not kernel.aliases.triton:
            return "the file does not import triton by name"
        if any(not is_repeatable(kernel, element) for element in launch.grid):
            return "the grid calls a function, which might not give the same value twice"
    return ""


def is_repeatable(kernel: KernelCode, element: ast.expr) -> bool:
    """Whether evaluating the expression twice is as good as once: arithmetic, sizes, ``triton.cdiv`` and the like."""
    for node in ast.walk(element):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            pure = {f"{kernel.aliases.triton}.{f}" for f in ("cdiv", "next_power_of_2")} | {"min", "max", "int", "len"}
            if name not in pure and name.split(".")[-1] not in ("numel", "size", "stride", "dim"):
                return False
        elif isinstance(node, ast.Await | ast.Yield | ast.NamedExpr | ast.Lambda):
            return False
    return True


def grid_in_call(kernel: KernelCode, launch: Launch, axis: int) -> str | None:
    """The grid's element as an expression that may stand among the launch's arguments; None where there is none.

    ``META["BLOCK"]`` becomes what the launch passes for BLOCK.
    """
    if launch.grid is None or axis >= len(launch.grid) or launch.arguments is None:
        return None
    element = launch.grid[axis]
    text = kernel.code.data[kernel.code.start(element) : kernel.code.end(element)]
    offset = kernel.code.start(element)
    for node in sorted(ast.walk(element), key=lambda n: -getattr(n, "col_offset", 0)):
        if not launch.meta or not isinstance(node, ast.Name) or node.id != launch.meta:
            continue
        subscript = kernel.code.parents[node]
        key = subscript.slice if isinstance(subscript, ast.Subscript) else None
        passed = launch.arguments.get(str(key.value)) if isinstance(key, ast.Constant) else None
        if passed is None or not isinstance(subscript, ast.Subscript) or subscript.lineno != element.lineno:
            return None
        start, end = kernel.code.start(subscript) - offset, kernel.code.end(subscript) - offset
        text = text[:start] + f"({kernel.code.text(passed)})".encode() + text[end:]
    return text.decode()
