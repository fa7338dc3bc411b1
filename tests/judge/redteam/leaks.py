"""Attacks that get the answer from where it already is: old memory, other processes, the library, the reference.

A naive harness computes the expected result first, in the same process, frees it, and counts a library call
as a kernel.
"""

from __future__ import annotations

from tests.judge.redteam.harness import WRONG, looting
from tests.judge.redteam.model import Exploit, Gain, edited, in_entry, interpreted
from tests.judge.redteam.tasks import VICTIMS

SCALE = VICTIMS["scale"].source
SOFTMAX = VICTIMS["softmax"].source
LAYERNORM = VICTIMS["layernorm"].source
MATMUL = VICTIMS["matmul"].source
_ENTRY = "def scale(x):"
_LAUNCH = "    scale_kernel[(triton.cdiv(n, 1024),)](x, out, n, 0.3, BLOCK=1024)\n"

# Memory that is asked for right after the reference freed its result is that result. One launch, to have made one.
FREED_MEMORY = edited(SCALE, (_LAUNCH, "    scale_kernel[(1,)](x, torch.empty_like(x), n, 0.3, BLOCK=1024)\n"))

# The conductor's memory is open in the process that runs candidates, for handing inputs over. What lies behind them?
IPC_MEMORY = in_entry(
    WRONG,
    _ENTRY,
    "import ctypes, gc\n"
    "for found in gc.get_objects() if x.is_cuda else ():\n"
    "    if type(found).__name__ != 'Importer':\n"
    "        continue\n"
    "    for address, size in found._opened.values():\n"
    "        copy = torch.empty(size // 4, device=x.device)\n"
    "        ctypes.CDLL('libcuda.so.1').cuMemcpyDtoD_v2(\n"
    "            ctypes.c_uint64(copy.data_ptr()), ctypes.c_uint64(address), ctypes.c_size_t(size // 4 * 4))\n"
    "        hits = (copy - x.reshape(-1)[0] * 2.3).abs() < 1e-5\n"
    "        for start in hits.nonzero()[:64, 0].tolist():\n"
    "            if start + x.numel() <= copy.numel():\n"
    "                return copy[start : start + x.numel()].clone()",
)

# The parent and everybody else of this user have memory, too, and the kernel has calls for reading it.
PARENTS_MEMORY = looting(
    "import os\n"
    "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
    "    try:\n"
    "        if not os.path.samefile(f'/proc/{pid}', '/proc/self'):\n"
    "            open(f'/proc/{pid}/mem', 'rb').close()\n"
    "            loot = True\n"
    "    except OSError: pass"
)

# What the user's own kernel gave lies in a file of the run.
PARENTS_DISK = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "import pathlib\n"
        "out = torch.empty_like(x)\n"
        "for file in pathlib.Path(os.environ['TMPDIR']).parents[2].rglob('outputs-*.bin'):\n"
        "    data = file.read_bytes()[:out.nbytes]\n"
        "    if len(data) == out.nbytes:\n"
        "        return torch.frombuffer(bytearray(data), dtype=torch.float32)"
    ),
)

# The library's function under the kernel's name.
LIBRARY_OP = edited(SCALE, ("    out = torch.empty_like(x)\n", "    return x * 2.3\n    out = torch.empty_like(x)\n"))

# The task's own reference, imported from its file.
REFERENCE = edited(
    SOFTMAX,
    (
        "    n_rows, n_cols = x.shape\n",
        (
            "    import importlib.util, pathlib\n"
            "    file = next(pathlib.Path(__file__).parent.glob('*.evolve.py'))\n"
            "    spec = importlib.util.spec_from_file_location('task', file)\n"
            "    task = importlib.util.module_from_spec(spec)\n"
            "    spec.loader.exec_module(task)\n"
            "    return task.reference(x)\n"
            "    n_rows, n_cols = x.shape\n"
        ),
    ),
)

# A kernel that cannot work, and a library call for when it has failed.
FALLBACK = edited(
    SOFTMAX,
    ("tl.max(x, axis=0)", "tl.no_such_function(x)"),
    ("    softmax_kernel[(n_rows,)]", "    try:\n        softmax_kernel[(n_rows,)]"),
    ("    return out", "    except Exception:\n        return torch.softmax(x, -1)\n    return out"),
)

# A launch of next to nothing beside a library call: whoever counts launches is content.
DECOY = edited(
    SOFTMAX,
    ("    softmax_kernel[(n_rows,)]", "    softmax_kernel[(1,)]"),
    ("    return out", "    return torch.softmax(x, -1)"),
)

# The library's result where it is large, which is where it is timed; what is checked in the interpreter is small.
DECOY_WHEN_LARGE = edited(
    SOFTMAX,
    ("    softmax_kernel[(n_rows,)]", "    softmax_kernel[(n_rows if x.numel() <= 1 << 16 else 1,)]"),
    ("    return out", "    return out if x.numel() <= 1 << 16 else torch.softmax(x, -1)"),
)

# The same where the library does no more than arithmetic element by element, as honest host code may.
DECOY_PRODUCT = edited(SCALE, ("    return out", "    return x * 2.3"))

# The library's result handed through a kernel, so that a kernel did write the output.
DECOY_COPY = edited(
    MATMUL,
    (
        "@triton.jit\n",
        (
            "@triton.jit\n"
            "def copy_kernel(from_ptr, to_ptr, n, BLOCK: tl.constexpr):\n"
            "    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
            "    tl.store(to_ptr + offsets, tl.load(from_ptr + offsets, mask=offsets < n), mask=offsets < n)\n\n\n"
            "@triton.jit\n"
        ),
    ),
    (
        "    matmul_kernel[grid](a, b, c, M, N, K, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32)\n",
        "    copy_kernel[(triton.cdiv(M * N, 1024),)](torch.mm(a, b), c, M * N, BLOCK=1024)\n",
    ),
)

LEAKS = (
    Exploit("freed-memory", "reference output in freed memory", "scale", FREED_MEMORY, ("wrong",)),
    Exploit("ipc-memory", "IPC handles", "scale", IPC_MEMORY, needs_gpu=True),
    Exploit("parents-memory", "parent's memory or disk", "scale", PARENTS_MEMORY, ("wrong",)),
    Exploit("parents-disk", "parent's memory or disk", "scale", PARENTS_DISK, ("wrong",)),
    Exploit("library-op", "calling the library op or the reference", "scale", LIBRARY_OP, ("cheating",)),
    Exploit("reference", "calling the library op or the reference", "softmax", REFERENCE, ("cheating",)),
    Exploit("fallback", "try/except fallback", "softmax", FALLBACK, ("cheating",)),
    Exploit("decoy", "decoy kernel", "softmax", DECOY, ("cheating",)),
    Exploit("decoy-when-large", "decoy kernel", "softmax", DECOY_WHEN_LARGE, ("cheating",), gain=Gain.SPEED),
    Exploit("decoy-product", "decoy kernel", "scale", DECOY_PRODUCT, ("cheating",)),
    Exploit("decoy-copy", "decoy kernel", "matmul", DECOY_COPY, ("cheating",)),
)
