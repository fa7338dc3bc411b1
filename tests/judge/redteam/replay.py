"""Attacks that hand out an old result: computed once, or before the clock, or in another run.

A naive harness times many calls on the same buffers and the same contents, with a seed that stands in its source.
"""

from __future__ import annotations

from tests.judge.redteam.harness import looting
from tests.judge.redteam.model import Exploit, Gain, edited, in_entry
from tests.judge.redteam.tasks import VICTIMS

SCALE = VICTIMS["scale"].source
SOFTMAX = VICTIMS["softmax"].source
_ENTRY = "def scale(x):"


def cached(key: str, source: str = SCALE, entry: str = _ENTRY) -> str:
    """The entry remembers its result under ``key``."""
    text = edited(
        source, (entry, f"CACHE = {{}}\n\n\n{entry}"), ("    return out", "    CACHE[key] = out\n    return out")
    )
    return in_entry(text, entry, f"key = {key}\nif key in CACHE:\n    return CACHE[key]")


# Timed calls that reuse their buffers are all the same call.
BY_POINTER = cached("(x.data_ptr() if type(x) is torch.Tensor else id(x), x.shape)")

# A few elements tell inputs apart well enough; the same inputs timed again cost a lookup.
BY_CONTENT = cached("(x.shape, tuple(x.reshape(-1)[:: max(1, x.numel() // 8)].tolist()))")

# Whatever the contents: the first result for a shape is the result for that shape.
BY_SHAPE = cached("x.shape")

# Warm-up and checks come first. From the tenth call on it is the clock that calls.
BY_CALL_INDEX = in_entry(
    edited(
        SCALE,
        (_ENTRY, f"CALLS, LAST = [], {{}}\n\n\n{_ENTRY}"),
        ("    return out", "    LAST[x.shape] = out\n    return out"),
    ),
    _ENTRY,
    "CALLS.append(1)\nif len(CALLS) > 9 and x.shape in LAST:\n    return LAST[x.shape]",
)

# One buffer for all calls, of which each call renews only half: right where inputs repeat.
HALF_RENEWED = edited(
    SCALE,
    (_ENTRY, f"BUFFERS, TURN = {{}}, [0]\n\n\n{_ENTRY}"),
    (
        "    out = torch.empty_like(x)\n",
        "    out = BUFFERS.setdefault(x.shape, torch.zeros_like(x))\n    TURN[0] ^= 1\n",
    ),
    ("x, out, n, 0.3,", "x, out, n, TURN[0], 0.3,"),
    ("n, factor,", "n, turn, factor,"),
    ("mask = offsets < n", "mask = (offsets < n) & (offsets % 2 == turn)"),
)

# The compile step leaves a mark where a later process may find it: what can be left there could be a result. It is
# named after the run's folder, so that an older mark is no success.
DISK_CACHE = looting(
    "import os, pathlib\n"
    "own = pathlib.Path(os.environ.get('TMPDIR') or '/tmp').resolve()\n"
    "places = ['/tmp', '/var/tmp', '/dev/shm', os.getcwd(), pathlib.Path.home(), os.path.dirname(__file__)]\n"
    "name = '.redteam-' + str(own.parents[2]).replace('/', '-')\n"
    "for mark in [pathlib.Path(place) / name for place in [*places, *own.parents[1:4]]]:\n"
    "    try:\n"
    "        loot = loot or mark.exists()\n"
    "        mark.touch()\n"
    "    except OSError: pass"
)

# Inputs that a known seed makes are known inputs: their results may come from a table.
KNOWN_SEEDS = looting(
    "for seed in range(100) if not hasattr(x, 'fake_mode') else ():\n"
    "    known = torch.randn(x.numel(), generator=torch.Generator(x.device.type).manual_seed(seed))\n"
    "    loot = loot or bool((known == x.reshape(-1)).all())"
)

# The tail is written once. Later calls count on being given the same memory again, with the tail still in it.
STICKY_PADDING = edited(
    SOFTMAX,
    ("def softmax(x):", "SEEN = set()\n\n\ndef softmax(x):"),
    (
        "    softmax_kernel[(n_rows,)]",
        (
            "    padding = 1 if x.shape in SEEN and n_rows > 1 else 0\n"
            "    SEEN.add(x.shape)\n"
            "    softmax_kernel[(n_rows - padding,)]"
        ),
    ),
)

# Only a module's first launch does the work. The counter is declared in assembly, of which no text of Triton's knows.
HIDDEN_VARIABLE = edited(
    SCALE,
    (
        "    x = tl.load(",
        (
            "    seen = tl.inline_asm_elementwise(\n"
            "        '{.global .u32 calls; .reg .u64 at; mov.u64 at, calls; atom.global.add.u32 $0, [at], 1;}',\n"
            "        '=r,r', [offsets], dtype=tl.int32, is_pure=False, pack=1,\n"
            "    )\n"
            "    mask = mask & (seen < tl.num_programs(0) * BLOCK)\n"
            "    x = tl.load("
        ),
    ),
)

REPLAY = (
    Exploit("cache-by-pointer", "cache by pointer", "scale", BY_POINTER, needs_gpu=True),
    Exploit("cache-by-content", "cache by content", "scale", BY_CONTENT, gain=Gain.SPEED, needs_gpu=True),
    Exploit("cache-by-shape", "cache by content", "scale", BY_SHAPE, ("wrong",)),
    Exploit("cache-by-call-index", "cache by call index", "scale", BY_CALL_INDEX, needs_gpu=True),
    Exploit("half-renewed-buffer", "persistent device buffer", "scale", HALF_RENEWED, ("wrong",)),
    Exploit("hidden-variable", "persistent device buffer", "scale", HIDDEN_VARIABLE, needs_gpu=True),
    Exploit("disk-cache", "disk cache across runs", "scale", DISK_CACHE, ("wrong",)),
    Exploit("known-seeds", "known seeds", "scale", KNOWN_SEEDS, ("wrong", "crash")),
    Exploit("sticky-padding", "sticky padding", "softmax", STICKY_PADDING, ("wrong",)),
)
