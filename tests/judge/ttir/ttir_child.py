"""Runs entries on inputs, as TTIR in the interpreter under test or in Triton's own: JSON lines in, JSON lines out.

``python ttir_child.py ttir`` or ``TRITON_INTERPRET=1 python ttir_child.py triton``. A request is {"module", "entry",
"inputs", "file"}: ``inputs`` is source of the keyword arguments; what the entry returns goes to ``file`` (npz). With
"sliced" every launch of the former is held against its address slice.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[2] / "examples")]


def _plain(value: torch.Tensor) -> np.ndarray:
    return (value.float() if value.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2) else value).numpy()


def _answer(request: dict[str, Any], launches: Any) -> dict[str, Any]:
    module = importlib.import_module(request["module"])
    torch.manual_seed(request.get("seed", 0))
    inputs = eval(request["inputs"], {"torch": torch, "module": module})
    before = len(launches.reports) if launches else 0
    seconds = launches.seconds if launches else 0.0
    if launches:
        launches.sliced, launches.uncovered = bool(request.get("sliced")), []
    start = time.process_time()
    try:
        result = getattr(module, request["entry"])(**inputs)
    except Exception as error:  # noqa: BLE001 - how an entry failed is the answer
        return {"error": f"{type(error).__name__}: {error}"}
    took = launches.seconds - seconds if launches else time.process_time() - start
    outputs = result if isinstance(result, tuple | list) else (result,)
    np.savez(request["file"], *(_plain(value) for value in outputs))
    reports = launches.reports[before:] if launches else []
    found = [{**asdict(one), "kind": one.kind.value} for report in reports for one in report.findings]
    uncovered = launches.uncovered if launches else []
    answer = {"error": None, "findings": found, "uncovered": uncovered}
    return {**answer, "work": [asdict(report.work) for report in reports], "seconds": took}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    mode: Any = contextlib.nullcontext()
    if sys.argv[1] == "ttir":
        from through_ttir import launches_as_ttir

        mode = launches_as_ttir()
    else:
        from evolve_core.judge.host.interpret.libdevice import install
        from evolve_core.judge.host.stub_driver import install_stub_driver

        install_stub_driver("sm_90")
        install()
    print("ready", flush=True)
    with mode as launches:
        for line in sys.stdin:
            print(json.dumps(_answer(json.loads(line), launches)), flush=True)


if __name__ == "__main__":
    main()
