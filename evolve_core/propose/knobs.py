"""The discrete parameters of a kernel's launches, and where each stands in the text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from evolve_core.propose.edits import add_arguments
from evolve_core.propose.kernel_code import KernelCode, Launch, argument, bindings, host_value
from evolve_core.propose.roles import (
    KernelKind,
    Role,
    bounds_of,
    has_loading_loop,
    kernel_kind,
    pipelined_loops,
    role,
)
from evolve_core.propose.syntax import Splice, dotted, int_literal, names_in, same

SMALLEST_LINKED_LITERAL = 8
"""Literals below it are too common in host code to be taken for a block size."""


@dataclass(frozen=True, slots=True)
class Site:
    """Bytes [start, end) of the file spell ``prefix + str(value - less)``."""

    start: int
    end: int
    prefix: str = ""
    less: int = 0


@dataclass(frozen=True, slots=True)
class Knob:
    """``value`` is None where the text computes it. ``role`` is "num_warps" or "num_stages" for those options."""

    name: str
    role: str
    value: int | None
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """The knobs that are chosen together: those of one kernel.

    ``config`` spans the list of autotune configurations that a choice replaces; None for knobs at the launch.
    """

    kernel: str
    kind: KernelKind
    knobs: tuple[Knob, ...]
    config: Site | None = None
    config_type: str = ""

    def values(self) -> dict[str, int | None]:
        return {k.name: k.value for k in self.knobs}

    def edits(self, values: Mapping[str, int]) -> list[Splice]:
        """The text edits that give the knobs these values; knobs not named keep theirs."""
        if self.config is not None:
            return [Splice(self.config.start, self.config.end, self._config_text(values))]
        return [
            Splice(site.start, site.end, f"{site.prefix}{values[knob.name] - site.less}")
            for knob in self.knobs
            if knob.name in values and values[knob.name] != knob.value
            for site in knob.sites
        ]

    def _config_text(self, values: Mapping[str, int]) -> str:
        full = {k.name: values.get(k.name, k.value) for k in self.knobs}
        options = {"num_warps", "num_stages"}
        inside = ", ".join(f'"{n}": {v}' for n, v in full.items() if n not in options)
        outside = "".join(f", {n}={v}" for n, v in full.items() if n in options and v is not None)
        return f"[{self.config_type}({{{inside}}}{outside})]"


def find_panels(kernels: Iterable[KernelCode]) -> tuple[Panel, ...]:
    """One panel for each kernel that has something to choose; a site shared by two kernels belongs to the first."""
    panels: list[Panel] = []
    taken: set[Site] = set()
    for kernel in kernels:
        panel = _autotune_panel(kernel) or _launch_panel(kernel)
        knobs = tuple(k for k in panel.knobs if not taken & set(k.sites))
        taken |= {s for k in knobs for s in k.sites}
        if knobs:
            panels.append(Panel(panel.kernel, panel.kind, knobs, panel.config, panel.config_type))
    return tuple(panels)


def _launch_panel(kernel: KernelCode) -> Panel:
    knobs: list[Knob] = []
    if kernel.autotune is None:
        names = [name for name in kernel.parameters if name in kernel.constexprs]
        knobs = _without_ambiguous_sites([k for name in names if (k := _constexpr_knob(kernel, name))])
        knobs += filter(None, [_option_knob(kernel, "num_warps"), _option_knob(kernel, "num_stages")])
    loops = pipelined_loops(kernel)
    knobs += [
        Knob(f"loop {i + 1} num_stages", "num_stages", int_literal(node), (_site(kernel, node),))
        for i, node in enumerate(loops)
    ]
    return Panel(kernel.name, kernel_kind(kernel), tuple(knobs))


def _site(kernel: KernelCode, node: ast.expr, prefix: str = "", less: int = 0) -> Site:
    return Site(kernel.code.start(node), kernel.code.end(node), prefix, less)


def _without_ambiguous_sites(knobs: list[Knob]) -> list[Knob]:
    """A literal that two knobs lay claim to says nothing about which one it belongs to: neither is turned."""
    claims: dict[tuple[int, int], int] = {}
    for knob in knobs:
        for site in knob.sites:
            claims[site.start, site.end] = claims.get((site.start, site.end), 0) + 1
    return [k for k in knobs if all(claims[s.start, s.end] == 1 for s in k.sites)]


def _constexpr_knob(kernel: KernelCode, name: str) -> Knob | None:
    """A constexpr that every launch passes as a literal, directly or by a name bound once to one."""
    what = role(kernel, name)
    if what is Role.FIXED or not kernel.launches:
        return None
    sites: list[Site] = []
    found: set[int] = set()
    for launch in kernel.launches:
        if launch.arguments is None or name not in launch.arguments:
            return None
        literal = _literal(kernel, launch, launch.arguments[name])
        value = int_literal(literal)
        if literal is None or value is None or value <= 0:
            return None
        linked = _linked(kernel, launch, name, literal, value)
        if linked is None or not _grid_follows(kernel, launch, name, what, linked):
            return None
        found.add(value)
        sites += [_site(kernel, literal), *linked]
    if len(found) != 1:
        return None
    return Knob(name, what.value, found.pop(), tuple(dict.fromkeys(sites)))


def _literal(kernel: KernelCode, launch: Launch, passed: ast.expr) -> ast.expr | None:
    if int_literal(passed) is not None:
        return passed
    if isinstance(passed, ast.Name):
        return host_value(kernel.code, launch.host, passed.id, passed)
    return None


def _linked(kernel: KernelCode, launch: Launch, name: str, literal: ast.expr, value: int) -> list[Site] | None:
    """Where the host repeats the literal in a way that must follow it. None: it does so in a way we do not read."""
    if value < SMALLEST_LINKED_LITERAL or launch.host is None:
        return []
    own = {id(literal)} | {id(n) for n in _passed_elsewhere(kernel, launch)}
    sites: list[Site] = []
    understood: set[int] = set()
    for node in ast.walk(launch.host):
        if kernel.aliases.is_cdiv(node) and isinstance(node, ast.Call):
            if int_literal(node.args[1]) == value:
                understood.add(id(node.args[1]))
                if _means(kernel, launch, name, node.args[0], value):
                    sites.append(_site(kernel, node.args[1]))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
            parts = _rounding_up(node, value)
            understood |= {id(n) for n, _ in parts}
            if parts and _means(kernel, launch, name, node.left, value):
                sites += [_site(kernel, n, less=less) for n, less in parts]
        elif _is_remainder(node, kernel, launch, value):
            understood.add(id(node.right))
            if _means(kernel, launch, name, node.left, value):
                sites.append(_site(kernel, node.right))
    for node in ast.walk(launch.host):
        if int_literal(node) == value and id(node) not in own | understood:
            return None
    return sites


def _is_remainder(node: ast.AST, kernel: KernelCode, launch: Launch, value: int) -> TypeGuard[ast.BinOp]:
    """``n % 256`` among this launch's arguments (``EVEN=n % 256 == 0``) follows BLOCK=256."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mod) or int_literal(node.right) != value:
        return False
    return any(node is n for argument in (launch.arguments or {}).values() for n in ast.walk(argument))


def _rounding_up(node: ast.BinOp, value: int) -> list[tuple[ast.expr, int]]:
    """The literals of ``(n + 255) // 256`` or ``(n + 256 - 1) // 256``, with what each is less than the block."""
    if int_literal(node.right) != value or not isinstance(node.left, ast.BinOp):
        return []
    whole = [(n, 0) for n in ast.walk(node.left) if int_literal(n) == value]
    one_less = [(n, 1) for n in ast.walk(node.left) if int_literal(n) == value - 1]
    inner = whole or one_less
    if len(inner) != 1 or not isinstance(inner[0][0], ast.expr):
        return []
    return [(node.right, 0), (inner[0][0], inner[0][1])]


def _passed_elsewhere(kernel: KernelCode, launch: Launch) -> list[ast.AST]:
    """Literals that reach a kernel's parameter at some launch, or bind a name that does: knobs of their own."""
    out: list[ast.AST] = []
    for node in ast.walk(launch.host) if launch.host is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
            for passed in [*node.args, *(k.value for k in node.keywords)]:
                out.append(passed)
                if isinstance(passed, ast.Name):
                    out += [v for _, v in bindings(kernel.code, launch.host, passed.id) if v is not None]
    return out


def _means(kernel: KernelCode, launch: Launch, name: str, divided: ast.expr, value: int) -> bool:
    """Whether ``cdiv(divided, value)`` counts tiles of ``name`` and not of another constexpr with the same value."""
    arguments = launch.arguments or {}
    rivals = [
        other
        for other in kernel.constexprs - {name}
        if other in arguments and int_literal(_literal(kernel, launch, arguments[other])) == value
    ]
    if not rivals:
        return True
    held = {p for p, passed in arguments.items() if same(passed, divided) or _inside(passed, divided)}
    return bool(held & bounds_of(kernel, name)) or not any(held & bounds_of(kernel, r) for r in rivals)


def _inside(passed: ast.expr, divided: ast.expr) -> bool:
    return isinstance(passed, ast.Name) and passed.id in names_in(divided)


def _grid_follows(kernel: KernelCode, launch: Launch, name: str, what: Role, linked: list[Site]) -> bool:
    """A tile's edge may only move where the grid moves with it."""
    if what not in (Role.TILE, Role.ROWS):
        return True
    if launch.grid is None:
        return False
    passed = (launch.arguments or {})[name]
    for element in launch.grid:
        span = range(kernel.code.start(element), kernel.code.end(element) + 1)
        if any(site.start in span for site in linked):
            return True
        names = names_in(element)
        if isinstance(passed, ast.Name) and (passed.id in names or _via_names(kernel, launch, names, passed.id)):
            return True
        if launch.meta and _uses_meta(element, launch.meta, name):
            return True
        if any(_holds_site(kernel, launch, n, linked) for n in names):
            return True
    return False


def _via_names(kernel: KernelCode, launch: Launch, names: Iterable[str], wanted: str) -> bool:
    """Whether one of the grid's names is bound to an expression that holds ``wanted``."""
    values = (v for n in names for _, v in bindings(kernel.code, launch.host, n) if v is not None)
    return any(wanted in names_in(v) for v in values)


def _holds_site(kernel: KernelCode, launch: Launch, name: str, linked: list[Site]) -> bool:
    values = [v for _, v in bindings(kernel.code, launch.host, name) if v is not None]
    spans = [(kernel.code.start(v), kernel.code.end(v)) for v in values]
    return any(start <= site.start < end for start, end in spans for site in linked)


def _uses_meta(element: ast.expr, meta: str, name: str) -> bool:
    subscripts = (n for n in ast.walk(element) if isinstance(n, ast.Subscript) and dotted(n.value) == meta)
    return any(isinstance(s.slice, ast.Constant) and s.slice.value == name for s in subscripts)


def _option_knob(kernel: KernelCode, name: str) -> Knob | None:
    """``num_warps`` or ``num_stages`` at every launch; the keyword is added where it is missing."""
    if not kernel.launches or (name == "num_stages" and not has_loading_loop(kernel)):
        return None
    default = {"num_warps": 4, "num_stages": 3}[name]
    sites: list[Site] = []
    values: set[int | None] = set()
    for launch in kernel.launches:
        if launch.arguments is None:
            return None
        given = launch.options.get(name)
        if given is None:
            place = add_arguments(kernel, launch, [(name, "")])
            if place is None:
                return None
            sites.append(Site(place.start, place.end, place.text))
            values.add(default)
            continue
        literal = _literal(kernel, launch, given)
        target = literal if literal is not None and int_literal(literal) is not None else given
        sites.append(_site(kernel, target))
        values.add(int_literal(target))
    value = values.pop() if len(values) == 1 else None
    return Knob(name, name, value, tuple(dict.fromkeys(sites)))


def _autotune_panel(kernel: KernelCode) -> Panel | None:
    """The knobs of ``@triton.autotune``: what its configurations name. One configuration replaces the list."""
    call = kernel.autotune
    configs = argument(call, 0, "configs") if call is not None else None
    calls = _config_calls(configs)
    if configs is None or not calls:
        return None
    knobs: dict[str, Knob] = {}
    for config in calls:
        values = argument(config, 0, "kwargs")
        extra = {k.arg for k in config.keywords} - {"kwargs", "num_warps", "num_stages"}
        if not isinstance(values, ast.Dict) or extra or len(config.args) > 1:
            return None
        for key, value in zip(values.keys, values.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None
            what = role(kernel, key.value)
            if what is Role.FIXED and int_literal(value) is None:
                return None
            knobs.setdefault(key.value, Knob(key.value, what.value, int_literal(value), ()))
        for option, default in (("num_warps", 4), ("num_stages", 3)):
            given = argument(config, None, option)
            number = default if given is None else int_literal(given)
            knobs.setdefault(option, Knob(option, option, number, ()))
    where = _site(kernel, configs)
    return Panel(kernel.name, kernel_kind(kernel), tuple(knobs.values()), where, dotted(calls[0].func))


def _config_calls(configs: ast.expr | None) -> list[ast.Call]:
    elements = configs.elts if isinstance(configs, ast.List) else []
    elements = [configs.elt] if isinstance(configs, ast.ListComp) else elements
    calls = [e for e in elements if isinstance(e, ast.Call) and dotted(e.func).endswith("Config")]
    return calls if len(calls) == len(elements) else []
