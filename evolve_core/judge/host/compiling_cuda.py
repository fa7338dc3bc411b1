"""Compile a CUDA file for a named target without a GPU, and list the launches that the task's own generator plans.

The candidate is C++ text here and runs nowhere; the Python that runs is the task's ``launches``.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import warnings
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from .addresses import Addresses
from .buffers import shaped_inputs
from .errors import StepError
from .facts import cuobjdump, ptx_facts
from .gpu.cuda_compiler import Compiled, CudaCompileError, CudaCompilerMissing, compile_cubin
from .shapes_only import ShapesOnly
from .tasks import TaskModule, load_task
from .tracing import PlanTrace

_FUNCTION = re.compile(r"Function\s+(\S+?):\s*REG:(\d+).*?STACK:(\d+).*?SHARED:(\d+)", re.DOTALL)
_ERROR = re.compile(r"\((\d+)\): (?:catastrophic )?error[^:]*: (.*)")


def compile_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Facts of every kernel in the file, and the planned launches of every timed workload."""
    warnings.simplefilter("ignore")
    original = Path(payload["source_file"])
    compiled = _compile(payload, original)
    kernels = _facts(compiled, payload["target"])
    task = load_task(payload["task_text"], Path(payload["task_file"]), folder)
    launches = [launch for workload in payload["workloads"] for launch in _launches(task, workload, kernels)]
    return {"kernels": kernels, "launches": launches, "notes": []}


def _compile(payload: dict[str, Any], original: Path) -> Compiled:
    if not payload["target"].startswith("sm_"):
        raise StepError(
            "compile-error", f"a CUDA kernel cannot be compiled for {payload['target']}; choose an sm_ target"
        )
    try:
        return compile_cubin(payload["source"], original.name, payload["target"], [str(original.parent)])
    except CudaCompilerMissing as error:
        raise StepError("no-compiler", str(error), str(original)) from None
    except CudaCompileError as error:
        first = _ERROR.search(str(error))
        line = int(first[1]) if first else None
        message = f"line {line}: {first[2]}" if first else str(error)[:2000]
        raise StepError("compile-error", message, str(original), line) from None


def _facts(compiled: Compiled, target: str) -> list[dict[str, Any]]:
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.cubin)
        file.flush()
        tool = cuobjdump()
        command = [str(tool), "-res-usage", file.name]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout if tool else ""
    binary = hashlib.sha256(compiled.cubin).hexdigest()
    text = ptx_facts(compiled.ptx)
    return [
        {
            "name": _plain_name(name),
            "target": target,
            "registers": int(registers),
            "stack_bytes": int(stack),
            "spill_bytes": _spills(compiled.log, name),
            "shared_bytes": int(shared),
            "num_warps": 0,
            "num_stages": 0,
            "signature": {},
            "constexprs": {},
            "binary_sha256": binary,
            **text,
        }
        for name, registers, stack, shared in _FUNCTION.findall(shown)
    ]


def _plain_name(symbol: str) -> str:
    """``_Z7row_dotPKfS0_Pf`` → ``row_dot``: the length in front of the name says where it ends."""
    match = re.match(r"_Z(\d+)", symbol)
    return symbol[match.end() : match.end() + int(match[1])] if match else symbol


def _spills(log: str, symbol: str) -> int:
    """Spill stores in bytes out of ``ptxas -v``; 0 where the compiler did not say."""
    match = re.search(re.escape(symbol) + r".*?(\d+) bytes spill stores", log, re.DOTALL)
    return int(match[1]) if match else 0


def _launches(task: TaskModule, workload: dict[str, Any], kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    index = {facts["name"]: number for number, facts in enumerate(kernels)}
    found = []
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        inputs = shaped_inputs(workload["entries"], _fake)
        with ShapesOnly(PlanTrace(Addresses(), task.copy)):
            listed = task.guarded("launches()", list, task.call("launches", **inputs))
        for plan in listed:
            kernel = str(plan["kernel"])
            if kernel not in index:
                raise StepError(
                    "compile-error", f"launches() names the kernel {kernel!r}, which the file does not define"
                )
            found.append(_launch(workload["id"], kernel, plan, index[kernel]))
    return found


def _launch(workload: str, kernel: str, plan: dict[str, Any], facts: int) -> dict[str, Any]:
    block = _three(plan["block"])
    return {
        "workload": workload,
        "kernel": kernel,
        "grid": _three(plan["grid"]),
        "facts": facts,
        "num_warps": -(-block[0] * block[1] * block[2] // 32),
        "num_stages": 0,
        "constexprs": {},
    }


def _three(value: Any) -> list[int]:
    sizes = [int(n) for n in value] if isinstance(value, (tuple, list)) else [int(value)]
    return [*sizes, 1, 1][:3]


def _fake(dtype: torch.dtype, shape: list[int], stride: list[int]) -> torch.Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype, device="cuda")
