"""Carry out a launch plan with every kernel run from its TTIR, in a process that executes nobody's code.

The plan and the texts come from a child that ran a candidate (lowering.py), and are read as data. Inputs come from the
oracle's file. Outputs go into files like those of running.py, so that the oracle compares them in the same way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .buffers import read_values
from .carrying import Carrier, Named
from .errors import StepError
from .exporting import export
from .interpreted import fill_with_poison
from .plan import LaunchPlan
from .planreading import plan_from
from .ttir.errors import BadIr, BadLaunch, TooLong, TtirError
from .ttir.findings import Finding, Kind
from .ttir.ir import Module
from .ttir.parser import parse
from .ttirlaunches import Seen, TtirLaunches

IDLE = "idle"
_ACCESSES = {"tt.load": "load", "tt.store": "store"}


@dataclass(frozen=True, slots=True)
class PoisonedRoom:
    """Fresh memory holds ``poison``, as fresh memory of the interpreted host code does."""

    poison: str

    def empty(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        fresh = torch.empty(count, dtype=dtype)
        fill_with_poison(fresh, self.poison)
        return fresh

    def scratch(self, bytes_: int) -> torch.Tensor:
        raise StepError("crash", "the plan asks for scratch, which only compiled kernels have")

    def adopt(self, result: torch.Tensor) -> torch.Tensor:
        return result


def interpret_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"outcome": "compared", "runs": [one a poison], "idle": run | None}``, where launches did nothing; or how it
    failed: ``out-of-bounds`` or ``mismatch`` (any other finding) with ``message``, ``line`` and ``poison``, ``raised``
    where the plan cannot be carried out, ``forged`` where text or plan contradict themselves, ``unsupported`` where
    nothing is said about the kernels.

    ``seconds``: all launches together may take so long. ``file`` is the name of the source, for the lines.
    """
    torch.set_num_threads(1)
    plan = plan_from(payload["plan"])
    until = time.process_time() + float(payload["seconds"])
    poison = ""
    try:
        modules = {name: parse(text) for name, text in payload["kernels"].items()}
        runs = []
        for poison in payload["poisons"]:
            seen = _carried_out(plan, modules, payload, poison, until, folder)
            if isinstance(seen, dict):
                runs.append(seen)
            else:
                return {**failed(seen, payload["file"]), "runs": [], "poison": poison}
        idle = _idle(plan, payload, folder) if payload["idle"] else None
    except TtirError as error:
        return {"outcome": outcome_of(error), "message": str(error), "runs": [], "poison": poison}
    except (StepError, RuntimeError, ValueError, TypeError, IndexError) as error:
        # An operator that cannot be called with what the plan gives it raises whatever torch likes.
        return {"outcome": "raised", "message": str(error)[:2000], "line": None, "runs": [], "poison": poison}
    return {"outcome": "compared", "runs": runs, "idle": idle, "notes": []}


def outcome_of(error: TtirError) -> str:
    return (
        "forged"
        if isinstance(error, (BadIr, BadLaunch))
        else "too-long"
        if isinstance(error, TooLong)
        else "unsupported"
    )


def _carried_out(
    plan: LaunchPlan, modules: dict[str, Module], payload: dict[str, Any], poison: str, until: float, folder: Path
) -> dict[str, Any] | tuple[Seen, ...]:
    """The exported run, or what its kernels did wrong."""
    launches = TtirLaunches(plan, modules, until)
    inputs = _read(payload["inputs"])
    carrier = Carrier(plan, "cpu", launches.launch)
    if not carrier.fits(inputs):
        raise StepError("crash", "the plan was made for other inputs than these")
    result = carrier.prepared(inputs, PoisonedRoom(poison))()
    return launches.seen or _exported(plan, result, inputs, poison, folder)


def _idle(plan: LaunchPlan, payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    inputs = _read(payload["inputs"])
    launches = TtirLaunches(plan, {}, 0.0)
    poison = str(payload["poisons"][0])
    result = Carrier(plan, "cpu", launches.launch).prepared(inputs, PoisonedRoom(poison), idle=True)()
    return _exported(plan, result, inputs, IDLE, folder)


def _exported(plan: LaunchPlan, result: Named, inputs: dict[str, Any], poison: str, folder: Path) -> dict[str, Any]:
    outputs = [] if plan.outputs is None else result
    run = export(outputs, inputs, poison, folder)
    return {**run, "launches": plan.launches, "operators": plan.operators}


def _read(given: dict[str, Any]) -> dict[str, Any]:
    return dict(read_values(Path(given["file"]), given["header"], trusted=True))


# -- findings ----------------------------------------------------------------------------------------------------------


def failed(seen: tuple[Seen, ...], file: str) -> dict[str, Any]:
    """An access out of bounds first: what else a kernel does wrong may come of it."""
    strays = [one for one in seen if one.finding.kind is Kind.OUT_OF_BOUNDS]
    first = (strays or list(seen))[0]
    return {
        "outcome": "out-of-bounds" if strays else "mismatch",
        "message": _sentence(first),
        "line": _line(first.finding, file),
        "out_of_bounds": [_stray(one, file) for one in strays[:16]],
    }


def _sentence(seen: Seen) -> str:
    finding = seen.finding
    where = ", ".join(str(index) for index in finding.program)
    kind = "" if finding.kind is Kind.OUT_OF_BOUNDS else f"{finding.kind.value}: "
    return f"{kind}{finding.message}, in program ({where}) of {seen.kernel}"


def _stray(seen: Seen, file: str) -> dict[str, Any]:
    finding = seen.finding
    return {
        "kernel": seen.kernel,
        "line": _line(finding, file),
        "tensor": finding.buffer or "?",
        "access": finding.message.partition(" ")[0],
        "message": _sentence(seen),
    }


def _line(finding: Finding, file: str) -> int | None:
    return finding.line if finding.file and Path(finding.file).name == file else None
