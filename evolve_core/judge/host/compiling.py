"""Compile every launch of an entry for a named target, without a GPU and without launching.

The entry's own host code runs on tensors that have shapes and no contents (FakeTensorMode) at the real sizes, under
a stub driver, so the specialisations compiled are the ones that a GPU would run. What it does on the way becomes a
launch plan, where a plan can hold it (tracing.py).
"""

from __future__ import annotations

import _thread
import inspect
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.runtime.jit import JITFunction

from .addresses import Addresses
from .autotuned import choose_first_configuration, chosen
from .buffers import shaped_inputs
from .errors import StepError
from .facts import kernel_facts
from .kernelsteps import digest, kernel_launch
from .loading import entry_of, line_in, load_source
from .planrules import MAX_GRID
from .shapes_only import CONTENTS_ASKED_FOR, NEEDS_CONTENTS, ShapesOnGpu, ShapesOnly, lacks_cuda, needs_device
from .stub_driver import install_stub_driver, pretended_cuda
from .tracing import PlanTrace


@dataclass
class Recorder:
    """Launches in order, and each distinct compiled kernel once."""

    target: str
    trace: PlanTrace
    workload: str | None = None
    """None while the module is imported, and in the second call on a workload: what is launched then is compiled and
    traced, and is no launch to show."""
    launches: list[dict[str, Any]] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By workload: ``{"plan": …}``, or ``{"why_not": …}``."""
    binaries: dict[str, bytes] = field(default_factory=dict)
    with_facts: bool = True
    """Whether the compiler went far enough for facts, and launches are to be shown."""
    refused: BaseException | None = None
    """What the compiler raised last: the entry's own exceptions are of the same types, but are not its."""
    _index: dict[str, int] = field(default_factory=dict)

    def add(self, function: Any, compiled: Any, grid: tuple[int, ...], values: dict[str, Any]) -> None:
        """A launch with its parameters by name."""
        self.trace.launched(partial(kernel_launch, function, compiled, grid, values))
        if "cubin" in compiled.asm:
            self.binaries[digest(compiled)] = bytes(compiled.asm["cubin"])
        if self.workload is None or not self.with_facts:
            return
        constexprs = {one.name: values[one.name] for one in function.params if one.is_constexpr}
        key = f"{function.__name__}:{compiled.hash}"
        shown = {name: _shown(value) for name, value in constexprs.items()}
        if key not in self._index:
            self._index[key] = len(self.kernels)
            self.kernels.append(kernel_facts(compiled, function.__name__, self.target, shown))
        self.launches.append(
            {
                "workload": self.workload,
                "kernel": function.__name__,
                "grid": [*grid, 1, 1][:3],
                "facts": self._index[key],
                "num_warps": compiled.metadata.num_warps,
                "num_stages": getattr(compiled.metadata, "num_stages", 0),
                "constexprs": shown,
            }
        )


def _shown(value: Any) -> str:
    return str(getattr(value, "__name__", value))


def compile_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Facts, launches and plans for every workload; binaries as ``<sha256>.cubin`` in ``folder``.

    What does not compile is a StepError with the line.
    """
    recorder = followed(payload, folder)
    for name, binary in recorder.binaries.items():
        (folder / f"{name}.cubin").write_bytes(binary)
    return {
        "kernels": recorder.kernels,
        "launches": recorder.launches,
        "plans": recorder.plans,
        "notes": sorted(set(chosen)),
    }


def followed(payload: dict[str, Any], folder: Path, *, with_facts: bool = True) -> Recorder:
    """What the entry does on every workload of ``payload``, as far as it could be followed. Raises StepError."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    install_stub_driver(payload["target"], "cuda")
    choose_first_configuration()
    original = Path(payload["source_file"])
    addresses = Addresses()
    addresses.install()
    threads = _thread._count()
    trace = PlanTrace(addresses, folder / original.name)
    recorder = Recorder(payload["target"], trace, with_facts=with_facts)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    other_stream = partial(trace.cannot_follow, "its host code puts work on a stream of its own")
    with pretended_cuda(payload["target"], other_stream):
        JITFunction.run = _recording_run(recorder, JITFunction.run)
        threading.Thread.start = _recording_start(trace, threading.Thread.start)  # type: ignore[method-assign]
        module = _imported(payload["source"], original, folder, ShapesOnGpu(fake, trace))
        follower = Follower(
            entry_of(module, payload["entry"], original), recorder, fake, folder / original.name, original, threads
        )
        for workload in payload["workloads"]:
            follower.follow(workload)
    return recorder


def _imported(source: str, original: Path, folder: Path, shapes: ShapesOnGpu) -> ModuleType:
    """The module, which may make tensors on the GPU and launch kernels while it is imported."""
    try:
        with shapes:
            return load_source(source, original, folder, "compile-error")
    except StepError as error:
        if not lacks_cuda(error):
            raise
        message = f"{error.message} (without a GPU, its launches are unknown)"
        raise StepError("needs-contents", message, error.file, error.line) from None


@dataclass(frozen=True)
class Follower:
    """Calls the entry twice on each workload. The first call is what the compiler's facts are of.

    The plan is of the second one, which finds what the first left for it: tensors by shape, tables, scratch. What of
    these must be there for the plan, history.py finds out. Its inputs are other ones at the same addresses.
    """

    entry: Callable[..., Any]
    recorder: Recorder
    fake: FakeTensorMode
    copy: Path
    original: Path
    threads: int
    """So many ran before the module was imported."""

    def follow(self, workload: dict[str, Any]) -> None:
        """Leaves launches, facts and the plan, or why there is none, with the recorder. Raises StepError."""
        recorder, trace = self.recorder, self.recorder.trace
        with self.fake, torch.no_grad():
            recorder.workload = workload["id"]
            self._call(workload)
            recorder.workload = None
            choices = len(chosen)
            result = self._call(workload, again=True)
            for what in chosen[choices:]:
                trace.chosen_untimed(what)
            if _thread._count() > self.threads:
                trace.cannot_follow("its host code leaves threads running")
            plan = trace.plan(result)
        recorder.plans[workload["id"]] = {"why_not": trace.why_not} if plan is None else {"plan": plan.as_json()}

    def _call(self, workload: dict[str, Any], *, again: bool = False) -> Any:
        trace = self.recorder.trace
        inputs = shaped_inputs(workload["entries"], _fake)
        trace.begin(inputs, again=again)
        try:
            with trace, ShapesOnly(trace):
                return self.entry(**inputs)
        except StepError as refused:
            line = refused.line or line_in(refused, self.copy)
            raise replace(refused, file=refused.file or str(self.original), line=line) from None
        except Exception as error:  # noqa: BLE001 - host code of a candidate may raise anything
            by_compiler = error is self.recorder.refused
            raise _failure(error, by_compiler, self.copy, self.original, workload["label"]) from None


def _fake(dtype: torch.dtype, shape: list[int], stride: list[int]) -> torch.Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype, device="cuda")


def _recording_run(recorder: Recorder, original_run: Any) -> Any:
    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        try:
            compiled = original_run(self, *args, grid=grid, warmup=True, **kwargs)
        except Exception as error:
            recorder.refused = error
            raise
        if warmup:
            return compiled
        values = _bound(self, args, kwargs)
        size = tuple(int(n) for n in (grid(values) if callable(grid) else grid))
        _refuse_grid(self.__name__, size, recorder.target)
        if all(size):  # Triton's launcher does nothing for a grid without programs.
            recorder.add(self, compiled, size, values)
        return compiled

    return run


def _recording_start(trace: PlanTrace, original_start: Any) -> Any:
    """What another thread does is not followed."""

    def start(self: threading.Thread) -> None:
        trace.cannot_follow("its host code starts a thread")
        original_start(self)

    return start


def _refuse_grid(kernel: str, size: tuple[int, ...], target: str) -> None:
    if not size or min(size) < 0:
        raise StepError("crash", f"{kernel} is launched with the grid {size}: that is none")
    if target.startswith("sm_") and any(number > most for number, most in zip(size, MAX_GRID, strict=False)):
        limits = " × ".join(map(str, MAX_GRID))
        raise StepError("crash", f"{kernel} is launched with a larger grid than {limits}, the most that CUDA takes")


def _bound(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in kwargs.items() if name in function.signature.parameters}
    bound: inspect.BoundArguments = function.signature.bind(*args, **known)
    bound.apply_defaults()
    return dict(bound.arguments)


def _failure(error: BaseException, by_compiler: bool, copy: Path, original: Path, label: str) -> StepError:
    """A compiler's complaint with the line in the candidate's file; or host code that needs real contents."""
    compiler_error = _in_chain(error, "CompilationError", "CompileTimeAssertionFailure", "UnsupportedLanguageConstruct")
    if compiler_error is not None:
        return _compilation_error(compiler_error, copy, original)
    name = type(error).__name__
    if isinstance(error, CONTENTS_ASKED_FOR):
        return StepError("needs-contents", NEEDS_CONTENTS, str(original), line_in(error, copy))
    line = line_in(error, copy)
    where = f"line {line}: " if line else ""
    if lacks_cuda(error):
        message = f"{where}the entry cannot be followed past here without a GPU: its launches are unknown"
        return StepError("needs-contents", message, str(original), line)
    if needs_device(error):
        message = (
            f"{where}an extension uses the device or a tensor's memory here, so that only a GPU can tell what it does"
        )
        return StepError("needs-device", message, str(original), line)
    kind = "compile-error" if by_compiler else "crash"
    return StepError(kind, f"{where}{name}: {str(error)[-2000:]} (on {label})", str(original), line)


def _in_chain(error: BaseException, *names: str) -> Any:
    """The innermost exception of these type names: the outer ones only say "in the call of …"."""
    found, seen = None, error
    current: BaseException | None = seen
    while current is not None:
        if any(base.__name__ in names for base in type(current).__mro__):
            found = current
        current = current.__cause__ or current.__context__
    return found


def _compilation_error(error: Any, copy: Path, original: Path) -> StepError:
    node, source = getattr(error, "node", None), getattr(error, "src", None)
    first = _definition_line(source, copy)
    line = first + node.lineno - 1 if first and node is not None and hasattr(node, "lineno") else None
    message = str(getattr(error, "error_message", None) or error).strip() or type(error).__name__
    cause = error.__cause__
    if cause is not None and str(cause) not in message:
        message = f"{message}: {cause}".strip(": ")
    where = f"line {line}: " if line else ""
    return StepError("compile-error", f"{where}{message[-2000:]}", str(original), line)


def _definition_line(source: str | None, copy: Path) -> int | None:
    """Line of the ``def`` whose source Triton was compiling: its own line numbers start there."""
    if not source:
        return None
    text = copy.read_text(encoding="utf-8", errors="replace")
    position = text.find(source.strip())
    return None if position < 0 else text.count("\n", 0, position) + 1
