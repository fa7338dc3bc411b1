"""What kind of kernel a source text holds, as a set of features that two kernels can be compared by.

A feature is ``group:value``. The groups: ``kind`` and ``shape`` (how the work is laid out, roughly and closely),
``op`` (what is computed), ``reduce``, ``cast``, ``access``, ``loops``, ``loads``, ``stores``, ``rank``. Names of
variables, kernels and files never become features, so renaming changes nothing. Broken code yields the features that
can still be seen in its text.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from evolve_core.source.model import Language

_REDUCTIONS = {"sum", "max", "min", "argmax", "argmin", "reduce", "xor_sum", "softmax"}
_SCANS = {"cumsum", "cumprod", "associative_scan"}
_ATOMICS = {"atomic_add", "atomic_max", "atomic_min", "atomic_cas", "atomic_xchg", "atomic_and", "atomic_or"}
_DOTS = {"dot", "dot_scaled"}
_LOADS = {"load"}
_STORES = {"store"}
_DTYPES = re.compile(r"(?:u?int|float|bfloat|fp|bf)\d+\w*|tf32")
# These say that something is a Triton kernel, which is true of every one of them.
_UBIQUITOUS = {
    "program_id", "num_programs", "arange", "cdiv", "constexpr", "zeros", "full", "zeros_like", "range", "static_range",
    "multiple_of", "max_contiguous", "max_constancy", "assume", "static_assert", "static_print", "device_assert",
    "device_print", "debug_barrier", "to", "cast", "expand_dims", "broadcast_to", "where", "reshape", "view",
}  # fmt: skip
_ROOTS = {"tl", "language", "libdevice", "triton", "tldevice", "math", "tlx"}
_BARE_MATH = {"exp", "exp2", "log", "log2", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos", "pow", "abs"}
_METHODS = _REDUCTIONS | _SCANS | {"to", "trans"}
_HALVING = re.compile(r">>=\s*1\b|/=\s*2\b")
_CUDA_OPS = (
    "expf", "exp", "logf", "log", "sqrtf", "rsqrtf", "tanhf", "erff", "sinf", "cosf", "powf", "fmaxf", "fminf", "fmaf",
)  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """What was counted in one kernel, before it becomes features."""

    ops: set[str]
    casts: set[str]
    reductions: set[str]
    loads: int = 0
    stores: int = 0
    masked: bool = False
    loops: int = 0
    two_dimensional: bool = False
    reduces_in_loop: bool = False


def features_of(kernel_source: str, language: Language) -> tuple[str, ...]:
    """Sorted features of one kernel's source (decorators, signature and body). Never raises on broken code."""
    if language is Language.CUDA:
        return tuple(sorted(_cuda_features(kernel_source)))
    seen = _look(kernel_source)
    return tuple(sorted(_triton_features(seen)))


def shape_words(features: tuple[str, ...]) -> str:
    """The kind of kernel in words, with its article: "a row reduction"."""
    shape = next((f.partition(":")[2] for f in features if f.startswith("shape:")), "")
    return _SHAPE_WORDS.get(shape, "a kernel")


_SHAPE_WORDS = {
    "matmul": "a tiled matrix product",
    "attention": "an attention-like kernel",
    "row-reduction": "a row reduction",
    "looped-reduction": "a looped row reduction",
    "scan": "a scan",
    "scatter": "a scatter with atomics",
    "tile": "a two-dimensional tile kernel",
    "elementwise": "an elementwise kernel",
}


_KINDS = {
    "matmul": "contraction",
    "attention": "contraction",
    "row-reduction": "reduction",
    "looped-reduction": "reduction",
    "scan": "scan",
    "scatter": "scatter",
    "tile": "pointwise",
    "elementwise": "pointwise",
}


def _look(kernel_source: str) -> _Seen:
    text = textwrap.dedent(kernel_source)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _look_at_text(text)
    seen = _Seen(set(), set(), set())
    for node, loop_depth in _walk(tree, 0):
        _note(seen, node, loop_depth)
    return seen


def _walk(node: ast.AST, loop_depth: int) -> Iterator[tuple[ast.AST, int]]:
    """Every node with the number of loops around it. An explicit stack: generated kernels nest deeply."""
    stack = [(node, loop_depth)]
    while stack:
        current, depth = stack.pop()
        yield current, depth
        inner = depth + isinstance(current, ast.For | ast.While)
        stack.extend((child, inner) for child in ast.iter_child_nodes(current))


def _note(seen: _Seen, node: ast.AST, loop_depth: int) -> None:
    if isinstance(node, ast.For | ast.While):
        seen.loops += 1
    elif isinstance(node, ast.Subscript):
        seen.two_dimensional |= _is_broadcast(node.slice)
    elif isinstance(node, ast.Call):
        _note_call(seen, node, loop_depth)


def _is_broadcast(index: ast.expr) -> bool:
    """``[:, None]`` or ``[None, :]``: the mark of a two-dimensional tile."""
    parts = index.elts if isinstance(index, ast.Tuple) else []
    has_none = any(isinstance(p, ast.Constant) and p.value is None for p in parts)
    return has_none and any(isinstance(p, ast.Slice) for p in parts)


def _note_call(seen: _Seen, call: ast.Call, loop_depth: int) -> None:
    name = _operation(call.func)
    if name is None:
        return
    if name in ("to", "cast"):
        seen.casts.update(_dtypes_in(call))
    if name in _LOADS or name in _STORES:
        seen.masked |= any(keyword.arg == "mask" for keyword in call.keywords)
    seen.loads += name in _LOADS
    seen.stores += name in _STORES
    if name in _REDUCTIONS | _SCANS:
        seen.reductions.add(name)
        seen.reduces_in_loop |= loop_depth > 0
    elif name not in _UBIQUITOUS | _LOADS | _STORES:
        seen.ops.add(name)


def _operation(function: ast.expr) -> str | None:
    """``exp`` for ``tl.exp``, ``tl.math.exp``, ``libdevice.exp`` or an imported ``exp``; ``sum`` for ``x.sum``."""
    if isinstance(function, ast.Name):
        return function.id if function.id in _BARE_MATH else None
    if not isinstance(function, ast.Attribute):
        return None
    root: ast.expr = function
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id in _ROOTS:
        return function.attr
    return function.attr if function.attr in _METHODS else None


def _dtypes_in(call: ast.Call) -> set[str]:
    names = {node.attr for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Attribute)}
    known = {name for name in names if _DTYPES.fullmatch(name)}
    return known or ({"output"} if "element_ty" in names else set())


def _look_at_text(text: str) -> _Seen:
    """The same by pattern, where the text does not parse."""
    text = re.sub(r"#.*", "", text)
    names = re.findall(r"\b(?:tl|libdevice|tl\.math)\.(\w+)\s*\(", text)
    return _Seen(
        ops={n for n in names if n not in _UBIQUITOUS | _LOADS | _STORES | _REDUCTIONS | _SCANS},
        casts=set(re.findall(r"\.to\(\s*tl\.(\w+)", text)),
        reductions={n for n in names if n in _REDUCTIONS | _SCANS},
        loads=names.count("load"),
        stores=names.count("store"),
        masked=bool(re.search(r"\bmask\s*=[^=]", text)),
        loops=len(re.findall(r"^\s*(?:for|while)\b", text, re.MULTILINE)),
        two_dimensional=bool(re.search(r"\[\s*:\s*,\s*None|\[\s*None\s*,\s*:", text)),
    )


def _triton_features(seen: _Seen) -> Iterator[str]:
    shape = _shape(seen)
    yield f"kind:{_KINDS[shape]}"
    yield f"shape:{shape}"
    yield f"loops:{min(seen.loops, 3)}"
    yield f"loads:{_bucket(seen.loads)}"
    yield f"stores:{_bucket(seen.stores)}"
    yield f"rank:{2 if seen.two_dimensional else 1}"
    if seen.masked:
        yield "access:masked"
    yield from (f"op:{_family(name)}" for name in seen.ops)
    yield from (f"reduce:{name}" for name in seen.reductions)
    yield from (f"cast:{name}" for name in seen.casts)


def _shape(seen: _Seen) -> str:
    reduces = bool(seen.reductions - _SCANS)
    if seen.ops & _DOTS:
        return "attention" if reduces else "matmul"
    if seen.reductions & _SCANS:
        return "scan"
    if reduces:
        return "looped-reduction" if seen.loops else "row-reduction"
    if seen.ops & _ATOMICS:
        return "scatter"
    return "tile" if seen.two_dimensional else "elementwise"


def _family(name: str) -> str:
    """One name for what a recipe treats alike: every atomic is ``atomic``, ``dot_scaled`` stays its own."""
    return "atomic" if name in _ATOMICS else name


def _bucket(count: int) -> str:
    if count <= 2:
        return str(count)
    return "3-4" if count <= 4 else "5+"


def _cuda_features(text: str) -> Iterator[str]:
    """CUDA by pattern: the text alone decides, no preprocessor runs."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    shuffles = "__shfl" in text
    shared = "__shared__" in text
    tensor_core = bool(re.search(r"\bwmma::|\bmma_sync\b|\bwgmma\b|\bmma\.sync", text))
    loops = len(re.findall(r"\b(?:for|while)\s*\(", text))
    two_dimensional = bool(re.search(r"\b(?:threadIdx|blockIdx)\.y\b", text))
    atomics = bool(re.search(r"\batomic[A-Z]\w*\s*\(", text))
    reduces = shuffles or "cg::reduce" in text or (shared and bool(_HALVING.search(text)))
    tiled = tensor_core or (shared and two_dimensional and loops > 0)
    shape = _cuda_shape(tiled, reduces, atomics, two_dimensional)
    yield f"kind:{_KINDS[shape]}"
    yield f"shape:{shape}"
    yield f"loops:{min(loops, 3)}"
    yield f"rank:{2 if two_dimensional else 1}"
    yield from (f"op:{name.removesuffix('f')}" for name in _CUDA_OPS if re.search(rf"\b(?:__)?{name}\s*\(", text))
    flags = {
        "op:shuffle": shuffles,
        "op:tensor-core": tensor_core,
        "op:atomic": atomics,
        "access:shared": shared,
        "access:vector": bool(re.search(r"\b(?:float|int|uint|half|double)[24]\b", text)),
        "access:barrier": "__syncthreads" in text,
        "access:restrict": "__restrict__" in text,
        "cast:half": bool(re.search(r"\b__half2?\b|\bhalf2?\b|\b__nv_bfloat16", text)),
    }
    yield from (feature for feature, present in flags.items() if present)


def _cuda_shape(tiled: bool, reduces: bool, atomics: bool, two_dimensional: bool) -> str:
    if tiled:
        return "matmul"
    if reduces:
        return "row-reduction"
    if atomics:
        return "scatter"
    return "tile" if two_dimensional else "elementwise"
