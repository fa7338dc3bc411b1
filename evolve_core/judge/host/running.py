"""Run an entry in Triton's interpreter, in a child of the interpreting zygote: once per poison, every access checked.

The child runs a candidate's code, so what it says is data: outputs leave as bytes, and the oracle looks at them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .autotuned import choose_first_configuration, chosen
from .buffers import flatten_outputs, read_values, shaped_inputs
from .errors import StepError
from .exporting import export
from .interpreted import InterpretedHost
from .loading import entry_of, load_source
from .operators import RecordedOperators
from .stub_driver import install_stub_driver, pretended_cuda

if TYPE_CHECKING:
    from .interpret.bounds import CheckedRun

POISON_BEFORE = "zero"


def _entry(payload: dict[str, Any], folder: Path, kind: str) -> tuple[Callable[..., Any], Path]:
    from .interpret.libdevice import install as install_libdevice

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    install_stub_driver(payload["target"])
    install_libdevice()
    choose_first_configuration()
    original = Path(payload["source_file"])
    # It may make tensors on the GPU and launch kernels while it is imported.
    with InterpretedHost("nan"):
        module = load_source(payload["source"], original, folder, kind)
    return entry_of(module, payload["entry"], original), folder / original.name


class _Failed(Exception):
    """The call gave no outputs. ``answer`` is the step's then: how it failed."""

    def __init__(self, outcome: str, message: str, line: int | None, strays: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.answer = {"runs": [], "outcome": outcome, "message": message, "line": line, "out_of_bounds": strays}


def run_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Outputs of the entry on one workload, one file per poison; or how it failed.

    ``upcast`` runs it on wider inputs, which is how a task without a reference gets its truth. ``before`` are other
    inputs for a first call, whose outputs nobody looks at: an answer that is kept for the next call is a wrong one.
    ``idle``: every launch does nothing.
    """
    with pretended_cuda(payload["target"]):
        entry, copy = _entry(payload, folder, "compile-error")
        if payload.get("before"):
            try:
                _call(entry, copy, _read(payload["before"]), POISON_BEFORE)
            except _Failed as failed:
                return {**failed.answer, "poison": POISON_BEFORE, "before": True}
        runs = []
        for poison in payload["poisons"]:
            inputs = _read(payload["inputs"])
            if payload.get("upcast"):
                inputs = {name: _upcast(value) for name, value in inputs.items()}
            operators = RecordedOperators()
            try:
                with operators:
                    checked = _call(entry, copy, inputs, poison, idle=bool(payload.get("idle")))
                exported = _exported(checked.result, inputs, poison, folder)
                runs.append({**exported, "launches": checked.launches, "operators": operators.elements})
            except _Failed as failed:
                return {**failed.answer, "poison": poison}
    return {"runs": runs, "outcome": "compared", "notes": chosen[:1]}


def _read(given: dict[str, Any]) -> dict[str, Any]:
    return dict(read_values(Path(given["file"]), given["header"], trusted=True))


def _call(
    entry: Callable[..., Any], copy: Path, inputs: dict[str, Any], poison: str, *, idle: bool = False
) -> CheckedRun:
    """One call with every access checked. Raises _Failed where it raised or went out of bounds."""
    from .interpret.bounds import failure_location, run_checked

    try:
        with torch.no_grad(), InterpretedHost(poison):
            checked = run_checked(entry, inputs, idle=idle)
    except Exception as error:  # noqa: BLE001 - a candidate may raise anything; how it failed is the answer
        message, line = failure_location(error, str(copy))
        raise _Failed("raised", message, line, []) from None
    if checked.out_of_bounds:
        first = checked.out_of_bounds[0]
        raise _Failed("out-of-bounds", first["message"], first.get("line"), checked.out_of_bounds[:16])
    return checked


def _upcast(value: Any) -> Any:
    if not (isinstance(value, torch.Tensor) and value.dtype.is_floating_point):
        return value
    return value.to(torch.float32 if value.element_size() < 4 else torch.float64)


def _exported(result: Any, inputs: dict[str, Any], poison: str, folder: Path) -> dict[str, Any]:
    """Raises _Failed where an output cannot be written down."""
    outputs = [] if result is None else flatten_outputs(result, inputs)
    try:
        return export(outputs, inputs, poison, folder)
    except StepError as error:
        raise _Failed("raised", error.message, None, []) from None


def profile_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Work of each launch at the real size of one timed workload, from sampled programs."""
    from .interpret.profile import profile_entry

    with pretended_cuda(payload["target"]):
        entry, copy = _entry(payload, folder, "compile-error")
        inputs = shaped_inputs(payload["entries"], _zeros)
        if payload.get("integers"):
            given = payload["integers"]
            inputs.update(dict(read_values(Path(given["file"]), given["header"], trusted=True)))
        try:
            with torch.no_grad(), InterpretedHost("zero"):
                profiles = profile_entry(entry, inputs)
        except Exception as error:  # noqa: BLE001 - host code may not run on tensors without real contents
            from .interpret.bounds import failure_location

            message, line = failure_location(error, str(copy))
            raise StepError("crash", message, payload["source_file"], line) from None
    return {"work": [{**profile, "workload": payload["workload"]} for profile in profiles]}


def _zeros(dtype: torch.dtype, shape: list[int], stride: list[int]) -> torch.Tensor:
    if not all(shape):
        return torch.empty(shape, dtype=dtype)
    span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    # Large zeroed allocations are lazily mapped pages: no memory is touched until a sampled program reads it.
    return torch.zeros(span, dtype=dtype).as_strided(shape, stride)
