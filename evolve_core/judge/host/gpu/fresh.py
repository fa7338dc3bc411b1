"""Run the GPU step in a new interpreter: one in which nothing has asked CUDA anything yet.

Only such a process can fork children that use CUDA, and it is easily spoilt: one import that asks whether there is a
GPU is enough. It costs the import of torch and triton, some seconds a request.

Run as a script it is the other side: the request comes on stdin, the answer leaves on the descriptor named in the
arguments."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PACKAGE = "kernel_evolve_gpu_step"
_GRACE_S = 60.0
"""Beyond the request's own deadline: to import torch and triton, and to end the children."""


def judge_in_new_interpreter(payload: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The step's result out of a fresh process of this interpreter; None where that process fails (its log says
    why).
    """
    reader, writer = os.pipe()
    request = folder / "gpu-request.json"
    request.write_text(json.dumps(payload))
    try:
        with request.open("rb") as stdin:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(folder), str(writer)],
                stdin=stdin,
                pass_fds=(writer,),
            )
        os.close(writer)
        deadline = time.monotonic() + float(payload["deadline_s"]) + _GRACE_S
        with os.fdopen(reader, "rb") as answers:
            answer = answers.read()
        process.wait(max(1.0, deadline - time.monotonic()))
    finally:
        request.unlink(missing_ok=True)
    return dict(json.loads(answer)) if process.returncode == 0 and answer else None


def _main(folder: Path, answer_to: int) -> None:
    payload = json.load(sys.stdin)
    step = importlib.import_module(".gpu.step", _load_host())
    result = step.observe(payload, folder)
    with os.fdopen(answer_to, "wb") as out:
        out.write(json.dumps(result).encode())


def _load_host() -> str:
    """Make the host's folder a package under a name that no user's package has."""
    host = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, host / "__init__.py", submodule_search_locations=[str(host)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{host} is no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = module
    spec.loader.exec_module(module)
    return _PACKAGE


if __name__ == "__main__":
    # The script's own folder must not shadow modules of the user's (queue, channel, inputs …).
    sys.path.pop(0)
    _main(Path(sys.argv[1]), int(sys.argv[2]))
