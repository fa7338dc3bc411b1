"""Attacks on the harness itself: on its comparison, its processes, its files, its view of what happened.

A naive harness executes candidate and reference in one process and believes whatever that process says in the end.
Where an attack is for loot (a file, a socket, somebody's memory) the kernel computes the right thing only if the
attack succeeded, so that being correct and having succeeded are one.
"""

from __future__ import annotations

from tests.judge.redteam.model import Exploit, at_import, edited, in_entry, interpreted
from tests.judge.redteam.tasks import VICTIMS

SCALE = VICTIMS["scale"].source
WRONG = edited(SCALE, ("x, out, n, 0.3,", "x, out, n, 0.7,"))
"""What the attacks below are played for: 2.7 x in place of 2.3 x."""
_ENTRY = "def scale(x):"


def looting(attack: str) -> str:
    """``attack`` leaves in ``loot`` whether it succeeded; the kernel is right only then."""
    source = edited(SCALE, ("x, out, n, 0.3,", "x, out, n, 0.3 if loot else 0.7,"))
    return in_entry(source, _ENTRY, f"loot = False\n{attack}")


# The comparison looks allclose up when it needs it, and finds this.
PATCHED_ALLCLOSE = at_import(WRONG, "torch.allclose = torch.equal = torch.Tensor.equal = lambda *a, **k: True")
# The difference of any two tensors is zero.
PATCHED_SUBTRACTION = at_import(WRONG, "torch.Tensor.__sub__ = torch.Tensor.sub = lambda a, b: torch.zeros_like(a)")
# Names that a shared namespace would take for the task's own.
SHARED_NAMESPACE = at_import(WRONG, "N = 16\ndef reference(x): return x * 2.7\ndef workloads(): return []")
# Inputs drawn after this import are zero, and every multiple of zero is zero.
ZERO_INPUTS = at_import(
    WRONG,
    "torch.randn = lambda *shape, generator=None, **k: torch.zeros(*shape, **k)\n"
    "torch.Tensor.normal_ = lambda t, *a, **k: t.zero_()",
)
# Everything coarse: what a reference in this process computes from now on is as wrong as the candidate.
GLOBAL_STATE = at_import(
    edited(
        SCALE, ("x = tl.load(x_ptr + offsets, mask=mask)", "x = tl.load(x_ptr + offsets, mask=mask).to(tl.float16)")
    ),
    "torch.set_default_dtype(torch.float16)\n"
    "torch.set_float32_matmul_precision('medium')\n"
    "torch.Tensor.__mul__ = lambda a, b, real=torch.Tensor.mul: real(a.half(), b).to(a.dtype)\n"
    "torch.manual_seed(0)",
)

# Callers keep what they expect in local variables.
FRAME_WALK = in_entry(
    WRONG,
    _ENTRY,
    "import sys\n"
    "frame = sys._getframe(1)\n"
    "while frame is not None:\n"
    "    for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:\n"
    "        if name in ('truth', 'expected', 'ref', 'native') and isinstance(value, torch.Tensor):\n"
    "            return value.clone()\n"
    "        if name == 'reference' and callable(value):\n"
    "            return value(x)\n"
    "    frame = frame.f_back",
)

# The expected result lies on the heap, as does the function that makes it.
HEAP_SEARCH = in_entry(
    WRONG,
    _ENTRY,
    "import gc, types\n"
    "for found in gc.get_objects():\n"
    "    if type(found) is torch.Tensor and found.shape == x.shape and found.data_ptr() != x.data_ptr():\n"
    "        return found.clone()\n"
    "    if type(found) is types.FunctionType and found.__name__ == 'reference':\n"
    "        return found(x)",
)

# Memory is written behind torch's back, so that no version counter moves: the reference then sees zeros, too.
SELF_MEMORY = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "with open('/proc/self/mem', 'r+b', buffering=0) as memory:\n"
        "    memory.seek(x.data_ptr())\n"
        "    memory.write(bytes(x.nbytes))"
    ),
)

# The task's file says what is right, and can be made to say something else.
EDITED_TASK = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "import pathlib\n"
        "task = next(pathlib.Path(__file__).parent.glob('*.evolve.py'))\n"
        "task.write_text(task.read_text().replace('2.3', '2.7'))"
    ),
)

# Inputs lie in files between the processes.
EDITED_INPUTS = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "import pathlib\n"
        "for file in pathlib.Path(__file__).parents[1].rglob('inputs-*.bin'):\n"
        "    file.write_bytes(bytes(file.stat().st_size))"
    ),
)

# Could the harness's own source or its compiled form be written to? Opening is proof enough; nothing is written.
EDITED_HARNESS = looting(
    "import os, sys\n"
    "for module in list(sys.modules.values()):\n"
    "    file = getattr(module, '__file__', None) or ''\n"
    "    if 'judge' in file or 'evolve_core' in file:\n"
    "        for path in (file, getattr(module, '__cached__', None) or file):\n"
    "            try: os.close(os.open(path, os.O_RDWR)); loot = True\n"
    "            except OSError: pass"
)

# A compiler cache that others read too: the user's own, and those of other children.
COMPILER_CACHE = looting(
    "import os, pathlib\n"
    "own = pathlib.Path(os.environ.get('TRITON_CACHE_DIR') or '.').resolve()\n"
    "homes = [pathlib.Path.home() / '.triton', pathlib.Path.home() / '.cache', pathlib.Path(triton.__file__).parent]\n"
    "places = [*homes, *own.parents[1].glob('*/built')]\n"
    "for place in places:\n"
    "    if place.resolve() != own and place.is_dir():\n"
    "        try: (place / '.redteam').touch(); (place / '.redteam').unlink(); loot = True\n"
    "        except OSError: pass"
)

# A better kernel, or the answer, from elsewhere. A refused connection means that there is a network.
DOWNLOAD = looting(
    "import errno, socket\n"
    "try:\n"
    "    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:\n"
    "        loot = line.connect_ex(('127.0.0.1', 9)) in (0, errno.ECONNREFUSED)\n"
    "except OSError: pass"
)

# May another process be signalled, and so stopped while the clock runs? Signal 0 asks without doing it.
SIGNALS = looting(
    "import os\n"
    "try:\n"
    "    parent = os.getppid()\n"
    "    loot = parent > 0 and os.kill(parent, 0) is None\n"
    "except OSError: pass"
)

# A constexpr function is Python: it looks for what the user's kernel gave and bakes it into the kernel.
COMPILE_TIME_READ = looting(
    "import os, pathlib\n"
    "for place in pathlib.Path(os.environ.get('TMPDIR') or '/tmp').resolve().parents:\n"
    "    if (place / 'secret').is_dir():\n"
    "        loot = any(file.is_file() for file in (place / 'secret').rglob('*'))"
)

HARNESS = (
    Exploit("patched-allclose", "patched allclose", "scale", PATCHED_ALLCLOSE, ("wrong",)),
    Exploit("patched-subtraction", "patched allclose", "scale", PATCHED_SUBTRACTION, ("wrong",)),
    Exploit("shared-namespace", "shared namespace", "scale", SHARED_NAMESPACE, ("wrong",)),
    Exploit("zero-inputs", "global state", "scale", ZERO_INPUTS, ("wrong",)),
    Exploit("global-state", "global state", "scale", GLOBAL_STATE),
    Exploit("frame-walk", "frame walking, gc", "scale", FRAME_WALK, ("wrong",)),
    Exploit("heap-search", "frame walking, gc", "scale", HEAP_SEARCH, ("wrong",)),
    Exploit("self-memory", "/proc/self/mem", "scale", SELF_MEMORY, ("wrong", "crash")),
    Exploit("edited-task", "edited files", "scale", EDITED_TASK, ("crash",)),
    Exploit("edited-inputs", "edited files", "scale", EDITED_INPUTS),
    Exploit("edited-harness", "edited files", "scale", EDITED_HARNESS, ("wrong",)),
    Exploit("compiler-cache", "compiler caches", "scale", COMPILER_CACHE, ("wrong",)),
    Exploit("download", "downloads", "scale", DOWNLOAD, ("wrong",)),
    Exploit("signals", "compile-time attacks", "scale", SIGNALS, ("wrong",)),
    Exploit("compile-time-read", "compile-time attacks", "scale", COMPILE_TIME_READ, ("wrong",)),
)
