"""Right kernels whose host code looks suspicious to somebody who searches sources for words."""

from __future__ import annotations

from tests.judge.redteam.model import Honest, at_import, edited, in_entry
from tests.judge.redteam.tasks import VICTIMS

SCALE, SOFTMAX, LAYERNORM, MATMUL, AXPY, COLSUM = (
    VICTIMS[name].source for name in ("scale", "softmax", "layernorm", "matmul", "axpy", "colsum")
)
_ENTRY = "def scale(x):"
_LAUNCH = "    scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)\n"

TRY_IMPORT = at_import(
    SCALE,
    "try:\n    from triton.language.extra import no_such_module\nexcept ImportError:\n    no_such_module = None",
)
TRY_PROPERTIES = in_entry(
    SCALE,
    _ENTRY,
    "try:\n"
    "    cores = torch.cuda.get_device_properties(x.device).multi_processor_count\n"
    "except Exception:\n"
    "    cores = 1\n"
    "assert cores > 0",
)
PASSES = in_entry(SCALE, _ENTRY, "if x.dim() > 1:\n    pass\nelse:\n    pass\nfor _ in ():\n    pass")
FIRST_CALL_PREPARES = in_entry(
    edited(SCALE, (_ENTRY, f"PREPARED = False\n\n\n{_ENTRY}")),
    _ENTRY,
    "global PREPARED\n"
    "if not PREPARED:\n"
    "    scale_kernel[(1,)](x[:1], torch.empty_like(x[:1]), 1, 0.3, BLOCK=1024)\n"
    "    PREPARED = True",
)
AUTOTUNED = edited(
    SCALE,
    (
        "@triton.jit\n",
        (
            "CONFIGS = [triton.Config({'BLOCK': b}, num_warps=w) for b, w in ((512, 4), (2048, 8))]\n\n\n"
            "@triton.autotune(configs=CONFIGS, key=['n'])\n"
            "@triton.jit\n"
        ),
    ),
    ("[(triton.cdiv(n, 1024),)]", '[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)]'),
    (", BLOCK=1024)", ")"),
)
HEURISTICS = edited(
    SOFTMAX,
    (
        "@triton.jit\n",
        '@triton.heuristics({"BLOCK": lambda args: triton.next_power_of_2(args["n_cols"])})\n@triton.jit\n',
    ),
    (", n_cols, BLOCK=BLOCK)", ", n_cols)"),
    ("    BLOCK = triton.next_power_of_2(n_cols)\n", ""),
)
CACHED_CONSTANTS = edited(
    SCALE,
    (
        _ENTRY,
        f"CONSTANTS = {{}}\n\n\n{_ENTRY}",
    ),
    (
        "    n = x.numel()\n",
        (
            "    n = x.numel()\n"
            "    if x.device not in CONSTANTS:\n"
            "        CONSTANTS[x.device] = torch.full((1,), 0.3, device=x.device)\n"
        ),
    ),
    ("x, out, n, 0.3,", "x, out, n, CONSTANTS[x.device],"),
    ("n, factor,", "n, factor_ptr,"),
    ("x * 2 + x * factor", "x * 2 + x * tl.load(factor_ptr)"),
)
CACHED_CONFIGURATIONS = edited(
    SCALE,
    (_ENTRY, f"CONFIGURATIONS = {{}}\n\n\n{_ENTRY}"),
    (
        _LAUNCH,
        (
            "    block = CONFIGURATIONS.setdefault(x.shape, 512 if n < 4096 else 2048)\n"
            "    scale_kernel[(triton.cdiv(n, block),)](x, out, n, 0.3, BLOCK=block)\n"
        ),
    ),
)
BY_SHAPE = edited(
    SOFTMAX,
    ("def softmax(x):", "WARPS = {1024: 8, 512: 4}\n\n\ndef softmax(x):"),
    (", BLOCK=BLOCK)", ", BLOCK=BLOCK, num_warps=WARPS.get(BLOCK, 4))"),
)
SCRATCH = edited(
    COLSUM,
    (
        "    colsum_kernel[",
        "    parts = x.new_empty((triton.cdiv(n_rows, 64), n_cols))\n    colsum_kernel[",
    ),
    ("(x, out, n_rows,", "(x, parts, n_rows,"),
    ("[(triton.cdiv(n_cols, 64),)]", "[(triton.cdiv(n_cols, 64), parts.shape[0])]"),
    ("range(0, n_rows, ROWS)", "range(0, 64, ROWS)"),
    ("rows = start +", "rows = tl.program_id(1) * 64 + start +"),
    ("tl.store(out_ptr + cols,", "tl.store(out_ptr + tl.program_id(1) * n_cols + cols,"),
    ("    return out", "    torch.sum(parts, 0, out=out)\n    return out"),
)
WARM_UP_AT_IMPORT = SCALE + ("\n\nif torch.cuda.is_available():\n    scale(torch.ones(1024, device='cuda'))\n")
CONTIGUOUS = edited(
    SOFTMAX,
    ("    n_rows, n_cols = x.shape\n", "    x = x.contiguous()\n    n_rows, n_cols = x.shape\n"),
    ("row * x_stride", "row * n_cols"),
)
SEVERAL_LAUNCHES = edited(
    SCALE,
    (
        _LAUNCH,
        (
            "    middle = n // 2 // 1024 * 1024\n"
            "    if middle:\n"
            "        scale_kernel[(middle // 1024,)](x, out, middle, 0.3, BLOCK=1024)\n"
            "    left = n - middle\n"
            "    scale_kernel[(triton.cdiv(left, 1024),)](x[middle:], out[middle:], left, 0.3, BLOCK=1024)\n"
        ),
    ),
)
ZERO_FILLED = edited(SCALE, ("torch.empty_like(x)", "torch.zeros(x.shape, dtype=x.dtype, device=x.device)"))
PADDED_OUTPUT = edited(
    SCALE,
    (
        "    n = x.numel()\n",
        "    n = x.numel()\n    out = x.new_empty(triton.cdiv(n, 1024) * 1024)[:n]\n",
    ),
    (
        "    tl.store(out_ptr + offsets, x * 2 + x * factor, mask=mask)",
        "    tl.store(out_ptr + offsets, x * 2 + x * factor)",
    ),
)
ODD_NAMES = edited(SCALE, ("scale_kernel", "reference_cheat_bypass_kernel_"), ("factor", "expected"))
NON_ASCII = edited(
    SCALE, ("def scale(x):\n", 'def scale(x):\n    """y = 2,3·x — für alle Größen 🙂."""\n    # ε ≤ 10⁻⁷, 完全\n')
)
PRINTS = in_entry(SCALE, _ENTRY, "import sys\nprint('scaling', x.numel())\nprint('a word', file=sys.stderr)")
SMALL_BRANCH = edited(
    SOFTMAX,
    (
        "    BLOCK = triton.next_power_of_2(n_cols)\n",
        (
            "    BLOCK = triton.next_power_of_2(n_cols)\n"
            "    if n_cols < 64:\n"
            "        softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK=BLOCK, num_warps=1)\n"
            "        return out\n"
        ),
    ),
)
HELPER_CLASS = edited(
    SCALE,
    (
        _ENTRY,
        "class Launcher:\n    def __call__(self, x, out, n):\n    "
        + _LAUNCH
        + f"\n\nlaunch = Launcher()\n\n\n{_ENTRY}",
    ),
    ("    n = x.numel()\n" + _LAUNCH, "    launch(x, out, x.numel())\n"),
)
LAMBDA_GRID = edited(SCALE, ("[(triton.cdiv(n, 1024),)]", "[lambda meta: (triton.cdiv(n, meta['BLOCK']), 1, 1)]"))
ENVIRONMENT = in_entry(
    SCALE, _ENTRY, "import os\nblock = int(os.environ.get('SCALE_BLOCK', '1024'))\nassert block == 1024"
)
SEEDED = at_import(SCALE, "torch.manual_seed(1)")
RETURNED_ANYWAY = edited(AXPY, ("alpha, BLOCK=1024)", "alpha, BLOCK=1024)\n    return None"))

HONEST_HOSTS = (
    Honest("try-import", "try/except fallback", "scale", TRY_IMPORT),
    Honest("try-properties", "try/except fallback", "scale", TRY_PROPERTIES),
    Honest("passes", "a stub", "scale", PASSES),
    Honest("first-call-prepares", "batch-and-skip", "scale", FIRST_CALL_PREPARES),
    Honest("autotuned", "batch-and-skip", "scale", AUTOTUNED),
    Honest("heuristics", "compile-time attacks", "softmax", HEURISTICS),
    Honest("cached-constants", "cache by content", "scale", CACHED_CONSTANTS),
    Honest("cached-configurations", "cache by content", "scale", CACHED_CONFIGURATIONS),
    Honest("warps-by-shape", "hard-coded shapes", "softmax", BY_SHAPE),
    Honest("scratch", "uninitialised read", "colsum", SCRATCH),
    Honest("warm-up-at-import", "work hidden between samples", "scale", WARM_UP_AT_IMPORT),
    Honest("contiguous", "calling the library op", "softmax", CONTIGUOUS),
    Honest("several-launches", "decoy kernel", "scale", SEVERAL_LAUNCHES),
    Honest("zero-filled", "constant or zero output", "scale", ZERO_FILLED),
    Honest("padded-output", "out-of-bounds write", "scale", PADDED_OUTPUT),
    Honest("odd-names", "shared namespace", "scale", ODD_NAMES),
    Honest("non-ascii", "a forged source", "scale", NON_ASCII),
    Honest("prints", "forged verdict", "scale", PRINTS),
    Honest("small-branch", "telling checking from timing", "softmax", SMALL_BRANCH),
    Honest("helper-class", "lazy tensor subclass", "scale", HELPER_CLASS),
    Honest("lambda-grid", "silent no-launch", "scale", LAMBDA_GRID),
    Honest("reads-environment", "global state", "scale", ENVIRONMENT),
    Honest("seeds-torch", "known seeds", "scale", SEEDED),
    Honest("returns-none", "no output", "axpy", RETURNED_ANYWAY),
)
