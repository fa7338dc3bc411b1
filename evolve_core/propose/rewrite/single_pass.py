"""One pass over a row that fits in registers.

*What it does.* A kernel that walks a row in several loops over the same range (`for start in range(0, n,
BLOCK)`: mean, then variance, then the result) gets a second form, chosen by a constexpr that the host
computes: where the whole row fits, BLOCK is `next_power_of_2(n)`, each loop's body runs once, and what an
earlier loop has loaded is not loaded again. Longer rows run the code as it was.

*Why it computes the same.* The host takes the new form only where `0 < n <= limit`, so each of the loops
would run exactly once with start 0: its body, once, with the loop variable 0, is the same program. Every
access inside the loops is masked by an index below `n`, so the lanes that the larger block adds touch no
memory; and what those lanes hold is neutral in every value that the loops hand on (zero in sums, minus
infinity in maxima), as followed from the fill values through the loop's arithmetic. A load is replaced by
an earlier one only if address, mask and fill are equal as resolved expressions and no store or atomic
stands between them. The order inside a reduction changes, as it does with any other block size; the sums
stay plain sums of centred values (no E[x²] − E[x]²).

*When it refuses.* Fewer than two such loops, loops whose step or bound differ, an unmasked access inside a
loop, lanes beyond the row's end that may reach a result, a value of the last chunk that is used after its
loop, a block size that appears in the grid or anywhere else than in the loops, `break`, `continue`,
`return`, atomics, and hosts where the block size or the row length is not visible.
"""

from __future__ import annotations

import ast
import textwrap

from evolve_core.propose.edits import add_arguments, add_parameters, why_not_launchable
from evolve_core.propose.flow import State, Walk, arange_edge, index_terms, range_bounds
from evolve_core.propose.kernel_code import KernelCode, Launch, argument, host_statement
from evolve_core.propose.rewrite.lanes import Lanes, leaked_names
from evolve_core.propose.rewrite.rule import Refusal, Rewritten, Rule, Settings
from evolve_core.propose.rewrite.shapes import ORDERED
from evolve_core.propose.syntax import Splice, int_literal, names_in, parse_code, splice


def rewrite(kernel: KernelCode, settings: Settings) -> Rewritten | Refusal:
    """Settings ``limit`` (longest row, elements) and ``num_warps`` (of the launch; "" leaves it)."""
    loops = [s for s in kernel.body if isinstance(s, ast.For)]
    chunked = _same_range(kernel, loops)
    if isinstance(chunked, str):
        return Refusal(chunked)
    length, block = chunked
    why_not = (
        why_not_launchable(kernel) or _why_not_masked(kernel, loops, length) or _why_not_once(kernel, loops, block)
    )
    if why_not:
        return Refusal(why_not)
    flag = kernel.fresh("WHOLE_ROW")
    added = add_parameters(kernel, [(f"{flag}: {kernel.aliases.language}.constexpr", "False")])
    launched = _launch_edits(kernel, length, block, flag, settings)
    if isinstance(added, str):
        return Refusal(added)
    if isinstance(launched, str):
        return Refusal(launched)
    edits = [*added, *launched, _branch(kernel, flag, _whole_row_body(kernel, loops))]
    return Rewritten(splice(kernel.code, edits), f"rows of up to {settings['limit']} elements in one pass")


def _same_range(kernel: KernelCode, loops: list[ast.For]) -> tuple[str, str] | str:
    """(length, block) where every loop is ``for NAME in range(0, length, block)``; why not otherwise."""
    if len(loops) < 2:
        return "fewer than two loops over the row"
    found: set[tuple[str, str]] = set()
    for loop in loops:
        bounds = range_bounds(kernel, loop)
        if bounds is None or not isinstance(loop.target, ast.Name):
            return f"line {loop.lineno}: a loop of another form than range(0, length, BLOCK)"
        start, stop, step = bounds
        if int_literal(start) != 0 or not isinstance(stop, ast.Name) or not isinstance(step, ast.Name):
            return f"line {loop.lineno}: a loop of another form than range(0, length, BLOCK)"
        found.add((stop.id, step.id))
    length, block = found.pop()
    if found or block not in kernel.constexprs or length not in kernel.parameters or length in kernel.constexprs:
        return "the loops do not all run over one length in steps of one constexpr"
    assigned = {
        n.id for s in kernel.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return "the kernel assigns to the row's length or to the block" if {length, block} & assigned else (length, block)


def _why_not_masked(kernel: KernelCode, loops: list[ast.For], length: str) -> str:
    """Every access inside a loop must be masked by a chunk's index < length, and unfilled lanes must go nowhere."""
    problems: list[str] = []
    bounds: set[int] = set()
    inside = {id(n) for loop in loops for n in ast.walk(loop)}

    def visit(statement: ast.stmt, state: State) -> None:
        if isinstance(statement, ast.For | ast.If | ast.While):
            return
        for node in ast.walk(statement):
            name = kernel.aliases.call(node)
            if name not in ("load", "store") or id(node) not in inside or not isinstance(node, ast.Call):
                continue
            mask = argument(node, 2 if name == "store" else 1, "mask")
            if mask is None or not bounded(mask, state):
                problems.append(f"line {node.lineno}: an access inside a loop is not masked by the row's length")

        is_where = [n for n in ast.walk(statement) if kernel.aliases.call(n) == "where" and isinstance(n, ast.Call)]
        bounds.update({id(n.args[0]) for n in is_where if n.args and bounded(n.args[0], state)})

    def bounded(mask: ast.expr, state: State) -> bool:
        parts = _conjuncts(state.resolve(mask))
        return any(_is_chunk_bound(kernel, part, state, length) for part in parts)

    Walk(kernel, visit)
    lanes = Lanes(kernel, lambda condition: id(condition) in bounds)
    problems += [why for loop in loops if (why := lanes.check(loop))]
    for loop in loops:
        if leaked := leaked_names(kernel.body, loop):
            problems.append(f"line {loop.lineno}: {', '.join(sorted(leaked))} of the last chunk is used after the loop")
    return problems[0] if problems else ""


def _conjuncts(mask: ast.expr) -> list[ast.expr]:
    if isinstance(mask, ast.BinOp) and isinstance(mask.op, ast.BitAnd):
        return [*_conjuncts(mask.left), *_conjuncts(mask.right)]
    return [mask]


def _is_chunk_bound(kernel: KernelCode, part: ast.expr, state: State, length: str) -> bool:
    """``start + tl.arange(0, BLOCK) < length`` for the innermost loop's start."""
    if (
        not isinstance(part, ast.Compare)
        or len(part.ops) != 1
        or not isinstance(part.ops[0], ast.Lt)
        or not state.loops
    ):
        return False
    right = part.comparators[0]
    terms = index_terms(kernel, part.left)
    starts = [t for t in terms if isinstance(t, ast.Name) and t.id == state.loops[-1].symbol]
    edges = [t for t in terms if arange_edge(kernel, t)]
    return isinstance(right, ast.Name) and right.id == length and len(terms) == 2 and bool(starts and edges)


def _why_not_once(kernel: KernelCode, loops: list[ast.For], block: str) -> str:
    if kernel.tl_calls(*ORDERED):
        return "the kernel has atomics or barriers"
    for node in (n for s in kernel.body for n in ast.walk(s)):
        if isinstance(node, ast.Break | ast.Continue | ast.Return | ast.While):
            return f"line {node.lineno}: {type(node).__name__.lower()} inside the kernel"
    for use in (n for s in kernel.body for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == block):
        parent = kernel.code.parents[use]
        in_shape = isinstance(parent, ast.List | ast.Tuple)
        in_call = isinstance(parent, ast.Call) and (
            kernel.aliases.call(parent) in ("arange", "zeros", "full", "range")
            or any(parent is loop.iter for loop in loops)
        )
        if not in_shape and not in_call:
            return f"line {use.lineno}: the block size is used outside the loops' own arithmetic"
    if not all(kernel.code.owns_its_lines(s) for loop in loops for s in loop.body):
        return "statements inside a loop share a line"
    return ""


def _launch_edits(kernel: KernelCode, length: str, block: str, flag: str, settings: Settings) -> list[Splice] | str:
    edits: list[Splice] = []
    if not kernel.aliases.triton:
        return "the file does not import triton by name"
    for launch in kernel.launches:
        arguments = launch.arguments or {}
        passed, row = arguments.get(block), arguments.get(length)
        if passed is None or row is None or launch.host is None:
            return "a launch does not show the block size or the row's length"
        if _steers_grid(kernel, launch, passed, block):
            return "the grid depends on the block size"
        statement = host_statement(kernel, launch)
        if not kernel.code.owns_its_lines(statement) or isinstance(statement, ast.Return):
            return "the launch shares its line with something else"
        name, text = kernel.fresh("whole_row"), kernel.code.text(row)
        placed = add_arguments(kernel, launch, [(flag, name), *_warps_argument(launch, settings)])
        if placed is None:
            return "a launch has no arguments"
        larger = f"{kernel.aliases.triton}.next_power_of_2({text}) if {name} else {kernel.code.text(passed)}"
        edits += [
            kernel.code.insert_lines(statement, [f"{name} = 0 < {text} <= {settings['limit']}"]),
            kernel.code.replace(passed, f"({larger})"),
            *_warps_edit(kernel, launch, settings),
            placed,
        ]
    return edits


def _warps_argument(launch: Launch, settings: Settings) -> list[tuple[str, str]]:
    wanted = settings.get("num_warps", "")
    return [("num_warps", wanted)] if wanted and "num_warps" not in launch.options else []


def _warps_edit(kernel: KernelCode, launch: Launch, settings: Settings) -> list[Splice]:
    wanted, given = settings.get("num_warps", ""), launch.options.get("num_warps")
    return (
        [kernel.code.replace(given, wanted)] if wanted and int_literal(given) is not None and given is not None else []
    )


def _steers_grid(kernel: KernelCode, launch: Launch, passed: ast.expr, block: str) -> bool:
    if launch.grid is None:
        return True
    literal = int_literal(passed)
    for node in (n for element in launch.grid for n in ast.walk(element)):
        if isinstance(node, ast.Name) and node.id in names_in(passed):
            return True
        if isinstance(node, ast.Constant) and (node.value == block or (literal is not None and node.value == literal)):
            return True
    return False


def _branch(kernel: KernelCode, flag: str, whole: str) -> Splice:
    """The body under ``else``, one level deeper, behind the new form."""
    code, first, last = kernel.code, kernel.body[0], kernel.body[-1]
    start, end = code.lines_of(first)[0], code.lines_of(last)[1]
    indent = code.indent(first)
    before = textwrap.indent(textwrap.dedent(code.data[start:end].decode()), indent + "    ")
    ending = "" if before.endswith("\n") else "\n"
    text = f"{indent}if {flag}:\n{textwrap.indent(whole, indent + '    ')}{indent}else:\n{before}{ending}"
    return Splice(start, end, text)


def _whole_row_body(kernel: KernelCode, loops: list[ast.For]) -> str:
    """The body with each loop replaced by its own body, then with repeated loads shared."""
    code = kernel.code
    start, end = code.lines_of(kernel.body[0])[0], code.lines_of(kernel.body[-1])[1]
    edits = []
    for loop in loops:
        outer = code.indent(loop)
        first, last = code.lines_of(loop)[0], code.lines_of(loop)[1]
        inner_start = code.lines_of(loop.body[0])[0]
        head = code.line_starts[loop.body[0].lineno - 1]
        inside = textwrap.indent(textwrap.dedent(code.data[min(inner_start, head) : last].decode()), outer)
        edits.append(Splice(first - start, last - start, f"{outer}{ast.unparse(loop.target)} = 0\n{inside}"))
    body = code.data[start:end].decode()
    region = _Region(body)
    flat = textwrap.dedent(region.spliced(edits))
    return _share_loads(kernel, flat if flat.endswith("\n") else flat + "\n")


class _Region:
    """A piece of the file as text of its own."""

    def __init__(self, text: str) -> None:
        self._data = text.encode()

    def spliced(self, edits: list[Splice]) -> str:
        out, position = b"", 0
        for edit in edits:
            out += self._data[position : edit.start] + edit.text.encode()
            position = edit.end
        return (out + self._data[position:]).decode()


def _share_loads(kernel: KernelCode, body: str) -> str:
    """Each load that an earlier one of the same statement list has done, replaced by that one's value."""
    header = f"def {kernel.name}({', '.join(kernel.parameters)}):\n"
    code = parse_code(header + textwrap.indent(body, "    "))
    if code is None or not isinstance(code.tree.body[0], ast.FunctionDef):
        return body
    flat = KernelCode(code, kernel.aliases, code.tree.body[0], ())
    top = {id(s) for s in flat.body}
    groups: dict[str, list[tuple[ast.stmt, ast.Call]]] = {}
    barrier = 0

    def visit(statement: ast.stmt, state: State) -> None:
        nonlocal barrier
        if id(statement) not in top or not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr):
            barrier += isinstance(statement, ast.For | ast.If | ast.While)
            return
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and flat.aliases.call(node) == "load":
                key = f"{barrier} {ast.dump(state.resolve(node))}"
                groups.setdefault(key, []).append((statement, node))
        barrier += any(flat.aliases.call(n) in ("store", *ORDERED) for n in ast.walk(statement))

    Walk(flat, visit)
    edits: list[Splice] = []
    for number, (first, *rest) in enumerate(g for g in groups.values() if len(g) > 1):
        name = kernel.fresh(f"loaded_{number + 1}")
        edits += [code.insert_lines(first[0], [f"{name} = {code.text(first[1])}"])]
        edits += [code.replace(node, name) for _, node in [first, *rest]]
    shared = splice(code, edits)
    return textwrap.dedent(shared[len(header) :])


RULE = Rule(
    "single-pass",
    (
        {"limit": "8192", "num_warps": "8"},
        {"limit": "16384", "num_warps": "16"},
        {"limit": "8192", "num_warps": ""},
        {"limit": "4096", "num_warps": "4"},
    ),
    rewrite,
    __doc__,
)
