"""Compiles every launch of candidates for sm_90 at a real size, without a GPU: JSON jobs on stdin, results on stdout.

A job is {"id", "case", "source"}; a result is {"load_bits", "registers", "spill_bytes"} of each kernel, or {"error"}.
One process for each job, since the compiler's driver is replaced for the life of a process.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch._dynamo  # noqa: F401 - the stub of torch.cuda must not be there yet when this registers torch's functions
from corpus_cases import CASES

from evolve_core.judge.host.compiling import compile_step
from evolve_core.judge.host.errors import StepError


def entries(case):
    for name, (dtype, shape) in zip(case.arguments, case.large, strict=True):
        stride = [1] * len(shape)
        for axis in range(len(shape) - 2, -1, -1):
            stride[axis] = stride[axis + 1] * shape[axis + 1]
        kind = "int64" if dtype.startswith("below ") else dtype
        yield [name, {"kind": "tensor", "dtype": kind, "shape": shape, "stride": stride, "offset": 0, "storage": 0}]


def compiled(job, folder):
    case = CASES[job["case"]]
    payload = {
        "source": job["source"],
        "source_file": str(case.file),
        "entry": case.entry,
        "target": "sm_90",
        "workloads": [{"id": "w", "label": "w", "entries": list(entries(case))}],
    }
    try:
        facts = compile_step(payload, folder)["kernels"]
    except StepError as error:
        return {"error": str(error)}
    return {key: [fact[key] for fact in facts] for key in ("load_bits", "registers", "spill_bytes")}


def main():
    jobs = json.load(sys.stdin)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / "cache")
        for number, job in enumerate(jobs):
            own = Path(folder) / str(number)
            own.mkdir()
            child = os.fork()
            if child == 0:
                try:
                    (own / "result.json").write_text(json.dumps(compiled(job, own)), encoding="utf-8")
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            file = own / "result.json"
            died = {"error": f"the compiler's process ended with {status}"}
            results[job["id"]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else died
    json.dump(results, sys.stdout)


main()
