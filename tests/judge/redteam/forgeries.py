"""Attacks on what a judge is told: ends that look like success, forged answers, watchers that are made blind.

A naive harness takes an exit code of 0 for a pass, or parses the last line that the candidate's process wrote.
"""

from __future__ import annotations

from tests.judge.redteam.harness import WRONG
from tests.judge.redteam.model import Exploit, Gain, at_import, edited, in_entry, interpreted
from tests.judge.redteam.tasks import VICTIMS

SCALE = VICTIMS["scale"].source
_ENTRY = "def scale(x):"

EXIT_AT_IMPORT = at_import(WRONG, "import sys; sys.exit(0)")
EXIT_IN_ENTRY = in_entry(WRONG, _ENTRY, "import sys; sys.exit(0)")
OS_EXIT_IN_ENTRY = in_entry(WRONG, _ENTRY, interpreted("os._exit(0)"))
EXIT_AT_EXIT = at_import(WRONG, "import atexit, os\natexit.register(lambda: os._exit(0))")

# Every descriptor is written to; one of them is the pipe on which the child answers.
FORGED_ANSWER = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "import json\n"
        "line = json.dumps({'value': {'runs': [], 'outcome': 'compared', 'notes': []}}) + chr(10)\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, line.encode())\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    ),
)

# The same with a header that describes a terabyte in a file of 64 bytes.
FORGED_OUTPUT_FILE = in_entry(
    WRONG,
    _ENTRY,
    interpreted(
        "import json\n"
        "tensor = {'kind': 'tensor', 'dtype': 'float32', 'shape': [1 << 40], 'stride': [1], 'offset': 0}\n"
        "tensor['storage'] = 0\n"
        "header = {'entries': [['out:out', tensor]], 'storages': [64], 'sha256': ''}\n"
        "run = {'poison': 'nan', 'header': header, 'odd_types': [], 'aliases': [], 'launches': 1}\n"
        "line = json.dumps({'value': {'runs': [run], 'outcome': 'compared', 'notes': []}}) + chr(10)\n"
        "open(os.path.join(os.environ['TMPDIR'], '..', 'outputs-nan.bin'), 'wb').write(bytes(64))\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, line.encode())\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    ),
)

# Right, and no faster than the user's kernel; but the child's report of its own work is made a hundred times smaller.
FORGED_WORK = at_import(
    SCALE,
    "import json\n"
    "def shrunk(value):\n"
    "    if isinstance(value, dict):\n"
    "        return {key: shrunk(inner) for key, inner in value.items()}\n"
    "    if isinstance(value, list):\n"
    "        return [shrunk(inner) for inner in value]\n"
    "    return value / 100 if isinstance(value, float) else value\n"
    "def forged(value, *, dumps=json.dumps, **options):\n"
    "    answer = value.get('value') if isinstance(value, dict) else None\n"
    "    for work in answer.get('work', ()) if isinstance(answer, dict) else ():\n"
    "        work['per_program'] = shrunk(work['per_program'])\n"
    "        work['compulsory_bytes'] = 0\n"
    "        work['grid'] = [1, 1, 1]\n"
    "        work['programs'] = 1\n"
    "    return dumps(value, **options)\n"
    "json.dumps = forged",
)

# Who watches Triton's interpreter lives in the candidate's own process: with its eyes put out, a read behind the end
# would be fine there. One element, since further on there may be no memory. On a device, guarded memory shows it where
# the tensor ends at a multiple of 16 bytes: a tensor cannot end flush with its page otherwise without losing the
# alignment it had.
BLINDED_BOUNDS = at_import(
    edited(SCALE, ("tl.load(x_ptr + offsets, mask=mask)", "tl.load(x_ptr + offsets, mask=offsets < n + 1)")),
    "import sys\n"
    "for module in list(sys.modules.values()):\n"
    "    watch = getattr(module, 'MemoryMap', None)\n"
    "    if isinstance(watch, type):\n"
    "        watch.legal = lambda *a, **k: None",
)

# The same for poison: fresh memory is zero again, and a sum may start from what it finds.
BLINDED_POISON = at_import(
    edited(
        VICTIMS["colsum"].source, ("    tl.store(out_ptr + cols, total,", "    tl.atomic_add(out_ptr + cols, total,")
    ),
    "import sys\n"
    "for module in list(sys.modules.values()):\n"
    "    host = getattr(module, 'InterpretedHost', None)\n"
    "    if isinstance(host, type):\n"
    "        host._fill = lambda self, tensor: tensor.zero_()",
)

_CRASHES = ("crash",)
FORGERIES = (
    Exploit("exit-0-at-import", "exit 0, atexit", "scale", EXIT_AT_IMPORT, _CRASHES),
    Exploit("exit-0-in-entry", "exit 0, atexit", "scale", EXIT_IN_ENTRY, _CRASHES),
    Exploit("os-exit-in-entry", "exit 0, atexit", "scale", OS_EXIT_IN_ENTRY, _CRASHES),
    Exploit("exit-at-exit", "exit 0, atexit", "scale", EXIT_AT_EXIT, ("wrong",)),
    Exploit("forged-answer", "forged verdict", "scale", FORGED_ANSWER, _CRASHES),
    Exploit("forged-output-file", "forged verdict", "scale", FORGED_OUTPUT_FILE, ("crash", "cheating")),
    Exploit("forged-work", "forged verdict", "scale", FORGED_WORK, gain=Gain.SPEED),
    Exploit("blinded-bounds", "frame walking, gc", "scale", BLINDED_BOUNDS, ("wrong",)),
    Exploit("blinded-poison", "frame walking, gc", "colsum", BLINDED_POISON, ("wrong",)),
)
