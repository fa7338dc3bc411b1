"""A Triton kernel with its launches, as the proposers edit them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from evolve_core.propose.syntax import (
    Code,
    FunctionNode,
    assigned_names,
    dotted,
    names_in,
    targets_of,
)

LAUNCH_OPTIONS = frozenset({"num_warps", "num_stages", "num_ctas", "maxnreg", "warmup", "grid", "stream"})


@dataclass(frozen=True)
class Aliases:
    """What the file calls ``triton`` and ``triton.language``; "" where it does not import it by a name."""

    triton: str
    language: str

    def call(self, node: ast.AST) -> str:
        """The name behind ``tl.`` (or ``tl.math.``) of a call, "" for any other call."""
        if not isinstance(node, ast.Call):
            return ""
        name = dotted(node.func)
        for prefix in (f"{self.language}.math.", f"{self.language}."):
            if self.language and name.startswith(prefix) and "." not in name[len(prefix) :]:
                return name[len(prefix) :]
        return ""

    def is_cdiv(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or len(node.args) != 2 or node.keywords:
            return False
        return dotted(node.func) in {f"{self.triton}.cdiv", f"{self.language}.cdiv"}


@dataclass(frozen=True, eq=False)
class Launch:
    """One ``kernel[grid](…)``. ``grid`` is the tuple behind it, None where the text does not show one.

    ``meta`` is the argument's name of a lambda grid, "" otherwise. ``arguments`` maps a kernel's parameter to what
    is passed; None where ``*args`` or ``**kwargs`` hide it. ``grid_shared`` says that another launch uses this grid.
    """

    call: ast.Call
    host: FunctionNode | None
    grid: tuple[ast.expr, ...] | None
    meta: str
    arguments: dict[str, ast.expr] | None
    options: dict[str, ast.expr]
    grid_shared: bool


@dataclass(frozen=True, eq=False)
class KernelCode:
    """One kernel inside its file. ``body`` is without the docstring."""

    code: Code
    aliases: Aliases
    node: ast.FunctionDef
    launches: tuple[Launch, ...]

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(a.arg for a in self.node.args.args)

    @property
    def constexprs(self) -> frozenset[str]:
        return frozenset(a.arg for a in self.node.args.args if is_constexpr(a))

    @property
    def body(self) -> list[ast.stmt]:
        body = self.node.body
        first = body[0]
        is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        return body[1:] if is_docstring and isinstance(first.value.value, str) else body  # type: ignore[attr-defined]

    @property
    def autotune(self) -> ast.Call | None:
        """The ``triton.autotune(…)`` decorator."""
        wanted = {f"{self.aliases.triton}.autotune", "autotune"}
        calls = (d for d in self.node.decorator_list if isinstance(d, ast.Call))
        return next((c for c in calls if dotted(c.func) in wanted), None)

    def fresh(self, wanted: str) -> str:
        """``wanted``, or that with a number behind it where the file already uses the name."""
        words = {n.id for n in ast.walk(self.code.tree) if isinstance(n, ast.Name)}
        words |= {n.arg for n in ast.walk(self.code.tree) if isinstance(n, ast.arg)}
        words |= {n.arg for n in ast.walk(self.code.tree) if isinstance(n, ast.keyword) and n.arg}
        if wanted not in words:
            return wanted
        return next(name for k in range(2, 1000) if (name := f"{wanted}_{k}") not in words)

    def tl_calls(self, *names: str) -> list[ast.Call]:
        """Calls of these ``tl`` functions in the body, in file order."""
        found = [n for s in self.body for n in ast.walk(s) if self.aliases.call(n) in names]
        return sorted((n for n in found if isinstance(n, ast.Call)), key=lambda n: (n.lineno, n.col_offset))

    def program_ids(self) -> list[tuple[ast.Call, int | None]]:
        """Every ``tl.program_id`` call with its axis, None where the axis is no literal."""
        return [(call, _axis(call)) for call in self.tl_calls("program_id")]


def _axis(call: ast.Call) -> int | None:
    node = argument(call, 0, "axis")
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int else None


def is_constexpr(arg: ast.arg) -> bool:
    return arg.annotation is not None and dotted(arg.annotation).split(".")[-1] == "constexpr"


def argument(call: ast.Call, index: int | None, name: str) -> ast.expr | None:
    """An argument by position or keyword; None where it is not given."""
    by_keyword = next((k.value for k in call.keywords if k.arg == name), None)
    if by_keyword is not None or index is None or index >= len(call.args):
        return by_keyword
    if any(isinstance(a, ast.Starred) for a in call.args[: index + 1]):
        return None
    return call.args[index]


def find_aliases(tree: ast.Module) -> Aliases:
    triton = language = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == "triton":
                    triton = name.asname or "triton"
                elif name.name == "triton.language":
                    language = name.asname or "triton.language"
        elif isinstance(node, ast.ImportFrom) and node.module == "triton":
            language = next((n.asname or n.name for n in node.names if n.name == "language"), language)
    return Aliases(triton, language)


@functools.lru_cache(maxsize=64)
def find_kernels(code: Code, qualified_names: tuple[str, ...]) -> tuple[KernelCode, ...]:
    """The named kernels that this text defines as ``@triton.jit`` functions, in the order asked for."""
    aliases = find_aliases(code.tree)
    functions = {name: node for name, node in _functions(code.tree, "") if _is_jit(node)}
    return tuple(
        KernelCode(code, aliases, functions[name], tuple(_launches(code, functions[name])))
        for name in qualified_names
        if name in functions
    )


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from _functions(child, prefix)


def _is_jit(node: ast.FunctionDef) -> bool:
    heads = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
    return any(dotted(h).split(".")[-1] == "jit" for h in heads)


def _launches(code: Code, kernel: ast.FunctionDef) -> Iterator[Launch]:
    for node in ast.walk(code.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Subscript):
            continue
        if dotted(node.func.value).split(".")[-1] == kernel.name:
            yield _launch(code, kernel, node)


def _launch(code: Code, kernel: ast.FunctionDef, call: ast.Call) -> Launch:
    if not isinstance(call.func, ast.Subscript):
        raise AssertionError("a launch is a call of a subscript")
    host = code.enclosing_function(call)
    written = call.func.slice
    resolved: ast.expr | None = written
    shared = False
    if isinstance(written, ast.Name):
        resolved = host_value(code, host, written.id, call)
        scope: ast.AST = host if host is not None else code.tree
        shared = sum(isinstance(n, ast.Name) and n.id == written.id for n in ast.walk(scope)) != 2
    meta = ""
    if isinstance(resolved, ast.Lambda) and len(resolved.args.args) == 1:
        meta, resolved = resolved.args.args[0].arg, resolved.body
    grid = tuple(resolved.elts) if isinstance(resolved, ast.Tuple) else None
    if grid is not None and any(isinstance(e, ast.Starred) for e in grid):
        grid = None
    options = {k.arg: k.value for k in call.keywords if k.arg in LAUNCH_OPTIONS}
    return Launch(call, host, grid, meta, _arguments(kernel, call), options, shared)


def _arguments(kernel: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr] | None:
    names = [a.arg for a in kernel.args.args]
    hidden = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
    if hidden or kernel.args.vararg or kernel.args.kwarg or len(call.args) > len(names):
        return None
    found = dict(zip(names, call.args, strict=False))
    return found | {k.arg: k.value for k in call.keywords if k.arg in names}


def bindings(code: Code, host: FunctionNode | None, name: str) -> list[tuple[ast.stmt, ast.expr | None]]:
    """Every statement that binds ``name`` in the host function (or in the module), with the value it gets.

    The value is None where the text does not show one (loops, augmented or unpacking assignments, ``with`` …).
    """
    scope: ast.AST = host if host is not None else code.tree
    found: list[tuple[ast.stmt, ast.expr | None]] = []
    for node in ast.walk(scope):
        if not isinstance(node, ast.stmt) or isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if code.enclosing_function(node) is not host:
            continue
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            found += [(node, value) for target, value in _pairs(node) if target == name]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found += [(node, node.value)] if node.target.id == name else []
        elif isinstance(node, ast.If | ast.Try | ast.While):
            continue  # their own statements are walked on their own
        elif isinstance(node, ast.For | ast.With):
            heads = [node.target] if isinstance(node, ast.For) else [i.optional_vars for i in node.items]
            found += [(node, None) for h in heads if h is not None and name in assigned_names(h)]
        elif name in assigned_names(node):
            found.append((node, None))
    return found


def _pairs(node: ast.Assign) -> Iterator[tuple[str, ast.expr | None]]:
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for t, v in zip(target.elts, value.elts, strict=True):
            if isinstance(t, ast.Name):
                yield t.id, v
    else:
        for t in targets_of(target):
            if isinstance(t, ast.Name):
                yield t.id, None


def host_value(code: Code, host: FunctionNode | None, name: str, use: ast.expr) -> ast.expr | None:
    """The one value that ``name`` can have at ``use``, as an expression that still means the same there.

    Looks in the function around it, then in the module. None where there are several values, or where a name inside
    the value is bound again before the use.
    """
    for scope in dict.fromkeys([host, None]):
        found = bindings(code, scope, name)
        is_argument = scope is not None and name in {a.arg for a in _all_arguments(scope)}
        if len(found) == 1 and not is_argument:
            statement, value = found[0]
            if value is None or (statement.lineno > use.lineno and scope is not None):
                return None
            return value if is_stable(code, scope, value, statement.lineno, use.lineno) else None
        if found or is_argument:
            return None
    return None


def _all_arguments(function: FunctionNode) -> list[ast.arg]:
    args = function.args
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]


def is_stable(code: Code, host: FunctionNode | None, value: ast.expr, first: int, last: int) -> bool:
    """Whether no name inside ``value`` is bound again on lines ``first`` < line <= ``last`` of the host."""
    return all(
        not first < statement.lineno <= last for name in names_in(value) for statement, _ in bindings(code, host, name)
    )


def host_statement(kernel: KernelCode, launch: Launch) -> ast.stmt:
    return kernel.code.enclosing_statement(launch.call)
