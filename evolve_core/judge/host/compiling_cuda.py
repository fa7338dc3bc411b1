"""Compile a CUDA file for a named target without a GPU, and plan the launches that the task's own generator yields.

The candidate is C++ text here and runs nowhere; the Python that runs is the task's ``launches``, on tensors without
contents, twice on each workload, like an entry (compiling.py).
"""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from .addresses import Addresses
from .buffers import shaped_inputs
from .errors import Place, StepError
from .facts import cuobjdump, ptx_facts
from .gpu.cuda_compiler import Compiled, CudaCompileError, CudaCompilerMissing, compile_cubin
from .gpu.cuda_launch import CudaFile, LaunchPlanError, driven, kernel_launch
from .gpu.signature import SignatureError
from .loading import line_in
from .plan import Argument, KernelLaunch
from .shapes_only import CONTENTS_ASKED_FOR, NEEDS_CONTENTS, ShapesOnGpu, ShapesOnly, lacks_cuda
from .stub_driver import pretended_cuda
from .tasks import TaskModule, load_task
from .tracing import PlanTrace

_FUNCTION = re.compile(r"Function\s+(\S+?):\s*REG:(\d+).*?STACK:(\d+).*?SHARED:(\d+)", re.DOTALL)
_ERROR = re.compile(r"\((\d+)\): (?:catastrophic )?error[^:]*: (.*)")


def compile_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Facts of every kernel in the file, launches and plans of every workload; ``binary``, the file's as
    ``<sha256>.cubin`` in ``folder``.
    """
    warnings.simplefilter("ignore")
    original = Path(payload["source_file"])
    compiled = _compile(payload, original)
    file = CudaFile.of(payload["source"], compiled.cubin)
    (folder / f"{file.binary}.cubin").write_bytes(compiled.cubin)
    addresses = Addresses()
    addresses.install()
    task_file = Path(payload["task_file"])
    trace = PlanTrace(addresses, folder / task_file.name)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    other_stream = partial(trace.cannot_follow, "launches() puts work on a stream of its own")
    with pretended_cuda(payload["target"], other_stream):
        with ShapesOnGpu(fake, trace):
            task = load_task(payload["task_text"], task_file, folder)
        follower = _Follower(task, trace, fake, file, _facts(compiled, file, payload["target"]))
        for workload in payload["workloads"]:
            follower.follow(workload)
    seen = {"kernels": follower.kernels, "launches": follower.launches, "plans": follower.plans, "notes": []}
    return {**seen, "binary": file.binary}


@dataclass
class _Follower:
    """Calls ``launches`` twice on each workload. The plan is of the second call, which finds what the first one kept.

    ``plans`` are as in compiling.Recorder.
    """

    task: TaskModule
    trace: PlanTrace
    fake: FakeTensorMode
    file: CudaFile
    kernels: list[dict[str, Any]]
    launches: list[dict[str, Any]] = field(default_factory=list)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)

    def follow(self, workload: dict[str, Any]) -> None:
        """Raises StepError where a launch, or the task, is wrong."""
        with self.fake, torch.no_grad():
            try:
                found, _ = self._called(workload)
                _, result = self._called(workload, again=True)
            except StepError as unknown:
                if unknown.kind != "needs-contents":
                    raise
                place = Place(self.task.file, unknown.line or line_in(unknown, self.task.copy))
                self.plans[workload["id"]] = {"why_not": f"{unknown.message} ({place})"}
                return
            plan = self.trace.plan(result)
        self.launches += found
        self.plans[workload["id"]] = {"why_not": self.trace.why_not} if plan is None else {"plan": plan.as_json()}

    def _called(self, workload: dict[str, Any], *, again: bool = False) -> tuple[list[dict[str, Any]], Any]:
        """The launches of one call, and what the generator returned."""
        inputs = shaped_inputs(workload["entries"], _fake)
        self.trace.begin(inputs, again=again)
        found: list[dict[str, Any]] = []

        def launch(yielded: Any) -> None:
            # First without its buffers: what is wrong with it is wrong whether or not a plan can hold it.
            found.append(self._shown(workload["id"], self._launch(yielded, _somewhere)))
            self.trace.launched(partial(self._launch, yielded))

        with self.trace, ShapesOnly(self.trace):
            return found, self.task.guarded("launches()", self._driven, inputs, launch)

    def _driven(self, inputs: dict[str, Any], launch: Callable[[Any], None]) -> Any:
        try:
            return driven(self.task.module.launches(**inputs), launch)
        except CONTENTS_ASKED_FOR as asked:
            raise StepError("needs-contents", NEEDS_CONTENTS) from asked
        except RuntimeError as refused:
            if not lacks_cuda(refused):
                raise
            raise StepError("needs-contents", "it asks for what only torch on a GPU can answer") from refused

    def _launch(self, yielded: Any, pointer: Callable[[Any], Argument]) -> KernelLaunch:
        try:
            return kernel_launch(self.file, yielded, pointer)
        except SignatureError as unfit:
            raise StepError("compile-error", str(unfit)) from None
        except LaunchPlanError as wrong:
            raise self.task.where("launches").error(str(wrong)) from None

    def _shown(self, workload: str, launch: KernelLaunch) -> dict[str, Any]:
        x, y, z = launch.block
        return {
            "workload": workload,
            "kernel": _plain_name(launch.function),
            "grid": [*launch.grid],
            "facts": self.file.symbols.index(launch.function),
            "num_warps": -(-x * y * z // 32),
            "num_stages": 0,
            "constexprs": {},
        }


def _somewhere(tensor: Any) -> Argument:
    return Argument(memory=0)


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


def _facts(compiled: Compiled, file: CudaFile, target: str) -> list[dict[str, Any]]:
    """Of each function in the binary, in the order of ``file.symbols``."""
    used = _resource_usage(compiled.cubin)
    text = ptx_facts(compiled.ptx)
    facts = []
    for symbol in file.symbols:
        registers, stack, shared = used.get(symbol, (0, 0, 0))
        facts.append(
            {
                "name": _plain_name(symbol),
                "target": target,
                "registers": registers,
                "stack_bytes": stack,
                "spill_bytes": _spills(compiled.log, symbol),
                "shared_bytes": shared,
                "num_warps": 0,
                "num_stages": 0,
                "signature": {},
                "constexprs": {},
                "binary_sha256": file.binary,
                **text,
            }
        )
    return facts


def _resource_usage(cubin: bytes) -> dict[str, tuple[int, int, int]]:
    """By function: registers a thread, stack bytes, shared bytes; nothing where Triton's ``cuobjdump`` is missing."""
    tool = cuobjdump()
    if tool is None:
        return {}
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "-res-usage", file.name]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    return {
        name: (int(registers), int(stack), int(shared)) for name, registers, stack, shared in _FUNCTION.findall(shown)
    }


def _plain_name(symbol: str) -> str:
    """``_Z7row_dotPKfS0_Pf`` → ``row_dot``: the length in front of the name says where it ends."""
    match = re.match(r"_Z(\d+)", symbol)
    return symbol[match.end() : match.end() + int(match[1])] if match else symbol


def _spills(log: str, symbol: str) -> int:
    """Spill stores in bytes out of ``ptxas -v``; 0 where the compiler did not say."""
    match = re.search(re.escape(symbol) + r".*?(\d+) bytes spill stores", log, re.DOTALL)
    return int(match[1]) if match else 0


def _fake(dtype: torch.dtype, shape: list[int], stride: list[int]) -> torch.Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype, device="cuda")
