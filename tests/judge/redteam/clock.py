"""Attacks on the clock: work that is not timed, time that is not counted, a baseline that is made to look slow.

A naive harness wraps a call in two events on the default stream, or in ``time.perf_counter``, in the process that runs
the candidate, and looks at one output at the end. Most of these need a device to mean anything.
"""

from __future__ import annotations

from tests.judge.redteam.model import Exploit, Gain, at_import, edited, in_entry
from tests.judge.redteam.tasks import VICTIMS

SCALE = VICTIMS["scale"].source
_ENTRY = "def scale(x):"
_LAUNCH = "    scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)\n"


def _slow(launches: int = 20) -> str:
    """The user's kernel launched many times over: what a slow candidate would like to hide."""
    return f"for _ in range({launches}):\n        " + _LAUNCH.strip()


def _launching(code: str, source: str = SCALE) -> str:
    """``code`` in place of the launch."""
    body = "".join(f"    {line}\n" for line in code.strip("\n").splitlines())
    return edited(source, (_LAUNCH, body))


# A harness that looks its timers up when it needs them gets whatever the candidate left in their place.
PATCHED_TIMERS = at_import(
    SCALE,
    "import time\n"
    "import triton.testing\n"
    "torch.cuda.Event.elapsed_time = lambda self, other: 1e-6\n"
    "triton.testing.do_bench = lambda *a, **k: 1e-6\n"
    "time.perf_counter = time.monotonic = lambda: 0.0\n"
    "time.perf_counter_ns = lambda: 1",
)

# Events on the default stream enclose nothing that runs on another one.
OTHER_STREAM = _launching(
    f"global SIDE\nSIDE = SIDE or torch.cuda.Stream()\nwith torch.cuda.stream(SIDE):\n    {_slow()}",
    edited(SCALE, (_ENTRY, f"SIDE = None\n\n\n{_ENTRY}")),
)

# The call returns at once; a thread fills the output after the clock stopped and before a harness looks at it.
BACKGROUND_THREAD = _launching(
    "import threading, time\n"
    "def later():\n"
    "    time.sleep(0.5)\n"
    "    scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)\n"
    "threading.Thread(target=later, daemon=True).start()"
)

# A subclass that computes when it is first looked at, which a harness does after the clock.
LAZY_SUBCLASS = edited(
    SCALE,
    (
        _ENTRY,
        "class Lazy(torch.Tensor):\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, func, types, args=(), kwargs=None):\n"
        "        plain = [a.as_subclass(torch.Tensor) * 2.3 if isinstance(a, Lazy) else a for a in args]\n"
        "        return func(*plain, **(kwargs or {}))\n\n\n" + _ENTRY,
    ),
    ("    return out", "    return x.as_subclass(Lazy)"),
)

# The first of many timed calls does the work, the others hand out its result; only the last output is looked at.
BATCH_AND_SKIP = in_entry(
    edited(SCALE, (_ENTRY, f"CALLS = []\n\n\n{_ENTRY}"), ("    return out", "    CALLS.append(out)\n    return out")),
    _ENTRY,
    "if len(CALLS) >= 4 and CALLS[-1].shape == x.shape:\n    return CALLS[-1]",
)

# The launch is put off to the moment when the harness touches the result, which is after the clock stopped. One launch
# of nothing remains, for whoever counts.
DEFERRED = edited(
    _launching("PENDING.append((x, out, n))\nscale_kernel[(1,)](x, out, 1, 0.3, BLOCK=1024)"),
    (
        _ENTRY,
        "PENDING = []\n\n\n"
        "def catching_up(original):\n"
        "    def call(*args, **kwargs):\n"
        "        while PENDING:\n"
        "            x, out, n = PENDING.pop()\n"
        "            scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)\n"
        "        return original(*args, **kwargs)\n\n"
        "    return call\n\n\n"
        "for name in ('detach', 'untyped_storage', 'as_subclass', 'cpu', 'view'):\n"
        "    setattr(torch.Tensor, name, catching_up(getattr(torch.Tensor, name)))\n\n\n" + _ENTRY,
    ),
)

# Poisoned allocation is a Python function: a call that meets the real one is being timed, and computes less.
TELLS_CHECKING_FROM_TIMING = _launching(
    "timed = type(torch.empty).__name__ == 'builtin_function_or_method'\n"
    "scale_kernel[(triton.cdiv(n // 2 if timed else n, 1024),)](x, out, n, 0.3, BLOCK=1024)"
)

# A graph that was captured on the first call's inputs is replayed for all others.
WRONG_GRAPH = in_entry(
    edited(SCALE, (_ENTRY, f"GRAPHS = {{}}\n\n\n{_ENTRY}")),
    _ENTRY,
    "if x.shape in GRAPHS:\n"
    "    graph, out, _ = GRAPHS[x.shape]\n"
    "    graph.replay()\n"
    "    return out.clone()\n"
    "if type(x) is torch.Tensor and x.is_cuda and not torch.cuda.is_current_stream_capturing():\n"
    "    fixed, out = x.clone(), torch.empty_like(x)\n"
    "    graph = torch.cuda.CUDAGraph()\n"
    "    launch = lambda: scale_kernel[(triton.cdiv(x.numel(), 1024),)](fixed, out, x.numel(), 0.3, BLOCK=1024)\n"
    "    launch()\n"
    "    torch.cuda.synchronize()\n"
    "    with torch.cuda.graph(graph):\n"
    "        launch()\n"
    "    graph.replay()\n"
    "    GRAPHS[x.shape] = graph, out, fixed\n"
    "    return out.clone()",
)

# Lines of the inputs are marked persisting, so that overwriting the cache before a sample does not evict them. The
# window stays on the stream: the copies that the harness makes of the next inputs fall into it.
L2_PERSISTENCE = in_entry(
    edited(
        SCALE,
        (
            _ENTRY,
            "import ctypes\n\n\n"
            "class Window(ctypes.Structure):\n"
            "    _fields_ = [('base', ctypes.c_void_p), ('bytes', ctypes.c_size_t), ('ratio', ctypes.c_float),\n"
            "                ('hit', ctypes.c_int), ('miss', ctypes.c_int), ('pad', ctypes.c_ubyte * 40)]\n\n\n"
            + _ENTRY,
        ),
    ),
    _ENTRY,
    "try:\n"
    "    cuda = ctypes.CDLL('libcuda.so.1')\n"
    "    cuda.cuCtxSetLimit(6, ctypes.c_size_t(32 << 20))\n"
    "    window = Window(x.data_ptr(), min(x.nbytes, 32 << 20), 1.0, 2, 1)\n"
    "    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)\n"
    "    cuda.cuStreamSetAttribute(stream, 1, ctypes.byref(window))\n"
    "except (OSError, RuntimeError):\n"
    "    pass",
)

# A ratio has two ends: every launch that is not this module's own is made four times.
SLOWER_BASELINE = at_import(
    SCALE,
    "import triton.runtime.jit\n"
    "def burden(run):\n"
    "    def call(self, *args, **kwargs):\n"
    "        if self is not globals().get('scale_kernel') and not kwargs.get('warmup'):\n"
    "            for _ in range(3):\n"
    "                run(self, *args, **kwargs)\n"
    "        return run(self, *args, **kwargs)\n"
    "    return call\n"
    "triton.runtime.jit.JITFunction.run = burden(triton.runtime.jit.JITFunction.run)",
)

# Dependent launch lets a later kernel start before an earlier one is done: the last one is tiny, signals, and ends.
EARLY_COMPLETION = edited(
    SCALE,
    (
        "def scale(x):",
        "@triton.jit\ndef nothing_kernel(x_ptr):\n    tl.extra.cuda.gdc_launch_dependents()\n\n\ndef scale(x):",
    ),
    ("    mask = offsets < n\n", "    mask = offsets < n\n    tl.extra.cuda.gdc_launch_dependents()\n"),
    ("    return out", "    nothing_kernel[(1,)](x, launch_pdl=True)\n    return out"),
)

# The object that holds the events is found on the heap and told a shorter time for this module's own calls.
CLOCK_ON_THE_HEAP = in_entry(
    edited(
        SCALE,
        (
            _ENTRY,
            "import dataclasses\nimport gc\n\nCALLS, FOUND = [], []\n\n\n"
            "def hurried(honest):\n"
            "    def sample(call, *rest):\n"
            "        CALLS.clear()\n"
            "        seen, result = honest(call, *rest)\n"
            "        return (dataclasses.replace(seen, device_ns=seen.device_ns / 2) if CALLS else seen), result\n\n"
            "    return sample\n\n\n" + _ENTRY,
        ),
    ),
    _ENTRY,
    "CALLS.append(1)\n"
    "for found in [] if FOUND else gc.get_objects():\n"
    "    if type(found).__name__ == 'Stopwatch':\n"
    "        FOUND.append(found)\n"
    "        found.sample = hurried(found.sample)",
)

CLOCK = (
    Exploit("patched-timers", "patched timers", "scale", PATCHED_TIMERS, gain=Gain.SPEED, needs_gpu=True),
    Exploit("other-stream", "work on another stream", "scale", OTHER_STREAM, gain=Gain.SPEED, needs_gpu=True),
    Exploit("background-thread", "background thread", "scale", BACKGROUND_THREAD, ("wrong", "cheating")),
    Exploit("lazy-subclass", "lazy tensor subclass", "scale", LAZY_SUBCLASS, ("cheating",)),
    Exploit("batch-and-skip", "batch-and-skip", "scale", BATCH_AND_SKIP, needs_gpu=True),
    Exploit("deferred-launch", "work hidden between samples", "scale", DEFERRED, gain=Gain.SPEED, needs_gpu=True),
    Exploit("half-when-timed", "telling checking from timing", "scale", TELLS_CHECKING_FROM_TIMING, needs_gpu=True),
    Exploit("graph-of-old-inputs", "graph captured wrong", "scale", WRONG_GRAPH, needs_gpu=True),
    Exploit("l2-persistence", "L2 persistence window", "scale", L2_PERSISTENCE, gain=Gain.SPEED, needs_gpu=True),
    Exploit("slower-baseline", "slowing the baseline", "scale", SLOWER_BASELINE, gain=Gain.SPEED, needs_gpu=True),
    Exploit(
        "early-completion", "early-completion signalling", "scale", EARLY_COMPLETION, gain=Gain.SPEED, needs_gpu=True
    ),
    Exploit("clock-on-the-heap", "frame walking, gc", "scale", CLOCK_ON_THE_HEAP, gain=Gain.SPEED, needs_gpu=True),
)
