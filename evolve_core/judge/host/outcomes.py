"""What a child's end means, in the protocol's words and in sentences for the person who wrote the kernel."""

from __future__ import annotations

import re
import signal
from typing import Any

from .errors import DEADLINE_REPORT
from .memory import most_resident_bytes
from .pool import StepResult
from .sandbox import MAX_FAMILY
from .signals import signal_name

SWARMED = f"it had started more than {MAX_FAMILY} processes, and was ended for it"
_AGREEMENT = {16: 2.0**-5, 32: 2.0**-9, 64: 2.0**-20}
"""How far, relative to RMS(truth), the user's own kernel may be from reference() before the two are called different
functions: bf16 has 8 bits of precision and TF32 11, and both get a few roundings. Deliberately loose: what candidates
must meet is measured against the user's kernel, not against this."""
_FAULT_REPORT = "Fatal Python error: "
_FAULT_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in ', re.MULTILINE)
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "MemoryError", "std::bad_alloc", "Unable to allocate")


def failure_of(result: StepResult, *, of_task: bool = False) -> dict[str, Any]:
    """A child that gave no value: timeout, crash with its signal, or the error that it reported.

    ``of_task``: lines are the task file's, else the kernel's.
    """
    if result.overdue:
        return _timed_out(result, _overdue_words(result), of_task)
    if result.how == "swarming":
        return _failure("crash", SWARMED)
    if result.how == "swollen":
        most = most_resident_bytes() / (1 << 30)
        return _failure(
            "out-of-memory", f"it held more than {most:.1f} GiB, most of the memory that the judge has here"
        )
    if result.how == "flooded":
        return _failure("crash", "its answer was larger than any honest one")
    if result.error is not None:
        kind = "out-of-memory" if _is_memory(result.error.message) else result.error.kind
        return {**_failure(kind, result.error.message), "file": result.error.file, "line": result.error.line}
    return _ended(result, of_task)


def _overdue_words(result: StepResult) -> str:
    if result.how == "exhausted":
        return f"did not finish in {result.patience.processor_s:.1f} s of processor time"
    return f"did not finish in {result.patience.wall_s:.1f} s"


def _timed_out(result: StepResult, message: str, of_task: bool = False) -> dict[str, Any]:
    _, _, report = result.log.partition(DEADLINE_REPORT)
    line = _fault_line(report, str(result.folder), of_task)
    return {**_failure("timeout", f"line {line}: {message}" if line else message), "line": line}


def _ended(result: StepResult, of_task: bool) -> dict[str, Any]:
    if result.exit_code == -signal.SIGXCPU:
        return _failure("timeout", "used up its processor time")
    if _is_memory(result.log):
        return _failure("out-of-memory", "ran out of its memory limit")
    if result.exit_code < 0:
        name = signal_name(-result.exit_code)
        said, _, report = result.log.partition(_FAULT_REPORT)
        line = _fault_line(report, str(result.folder), of_task)
        where = f"line {line}: " if line else ""
        return {**_failure("crash", f"{where}crashed with {name}{_last_words(said)}"), "line": line}
    return _failure("crash", f"ended the process itself (exit code {result.exit_code}) before giving its outputs back")


def _fault_line(report: str, folder: str, of_task: bool) -> int | None:
    """The line of the user's file that faulthandler's report names first: its copy lies in the child's own folder."""
    for frame in _FAULT_FRAME.finditer(report):
        if frame["file"].startswith(folder) and frame["file"].endswith(".evolve.py") == of_task:
            return int(frame["line"])
    return None


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "file": None, "line": None, "workload": None, "seed": None}


def _is_memory(text: str) -> bool:
    return any(word in text for word in _MEMORY_WORDS)


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"; its last output: {lines[-1][:200]}" if lines else ""


def run_failure(result: StepResult) -> dict[str, Any] | None:
    """Why a run in the interpreter has no outputs; None where it has."""
    if result.overdue:
        return _timed_out(result, f"{_overdue_words(result)} in Triton's interpreter")
    value = result.value
    if not isinstance(value, dict):
        return failure_of(result)
    if value.get("outcome") == "compared":
        return None
    failure = _failure(str(value.get("outcome", "crash")), str(value.get("message", "")))
    line = value.get("line")
    if line:
        failure = {**failure, "line": line, "message": f"line {line}: {failure['message']}"}
    return {**failure, "kind": "out-of-memory"} if _is_memory(failure["message"]) else failure


def compare_failure(outputs: list[dict[str, Any]]) -> str:
    """Why the user's own kernel does not compute what reference() does; "" where it does."""
    for output in outputs:
        name = output["name"]
        if not output["nonfinite_ok"]:
            return f"{name} has NaN or Inf where reference() has none, or the other way round"
        if output["native_rms"] is None:
            if output["max_error"]:
                return f"{name} differs from reference() by {output['max_error']:.3g}"
            continue
        bits = (
            16 if output["ulp"] and output["max_abs_truth"] and output["ulp"] / output["max_abs_truth"] > 2e-5 else 32
        )
        allowed = _AGREEMENT[bits] * output["rms_truth"] + 4 * output["ulp"]
        if output["native_rms"] > allowed:
            return (
                f"{name} is off by {output['native_max']:.3g} (RMS {output['native_rms']:.3g}, "
                f"values around {output['rms_truth']:.3g})"
            )
    return ""
