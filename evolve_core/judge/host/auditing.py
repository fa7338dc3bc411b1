"""The audit of a plan at the sizes that are timed, in a process that executes nobody's code.

Plan and TTIR come from a child that ran a candidate (lowering.py), and are read as data. What the user's own plan
writes, and where values are looked at, comes from files of this step's own, in a folder that no candidate sees.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .buffers import read_values, shaped_inputs
from .carrying import Carrier
from .covered import FILLED, Coverage, Covered
from .effects import Effects
from .errors import StepError
from .exporting import export
from .interpreting import failed, outcome_of
from .plan import LaunchPlan
from .planreading import plan_from
from .spots import SpotRun, Spots, chosen
from .ttir.errors import TtirError
from .ttir.ir import Module
from .ttir.memory import NOBODY
from .ttir.parser import parse


def audit_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"outcome": "covered", "outputs": […], "values": …}``, or how the audit ended otherwise, as ``interpret`` says
    it.

    ``own`` has a ``file``. Where it has no ``outputs`` the plan is the user's own: the elements that it writes go into
    the file, one bit each, and each output comes back with its ``shape``, beside ``effects``, as ``own`` has them from
    then on. Then every output of the user's own plan has ``line``, of the store, ``elements``, and of those that are to
    be written how many are ``missing``, and how many are ``filled`` with one number and not written otherwise.

    ``values``, where the payload has it: real ``inputs`` in a file, and a file for the ``spots``, which the user's own
    plan chooses by ``seed``. What is there comes back as ``{"run": …}`` like a run of ``interpret``, whose outputs are
    these spots; as ``{"failed": …}`` as ``interpret`` says what kernels did wrong; or as ``{"why_not": text}``.
    """
    torch.set_num_threads(1)
    plan = plan_from(payload["plan"])
    until = time.process_time() + float(payload["seconds"])
    try:
        modules = {name: parse(text) for name, text in payload["kernels"].items()}
        inputs, known = _inputs(payload)
        if not Carrier(plan, "cpu", lambda *_: None).fits(inputs):
            raise StepError("crash", "the plan was made for other inputs than these")
        coverage = Coverage(plan, modules, inputs, known, until)
        outputs = coverage.followed()
    except TtirError as error:
        return {"outcome": outcome_of(error), "message": str(error)}
    except StepError as error:
        return {"outcome": "unsupported", "message": str(error)}
    if coverage.seen:
        return failed(tuple(coverage.seen), payload["file"])
    audit = _Audit(plan, modules, coverage, {one.name: one for one in outputs}, until)
    own, effects = payload["own"], Effects.of(plan, coverage.changed())
    if own["outputs"] and (message := effects.beyond(Effects(**own["effects"]))):
        return {"outcome": "mismatch", "message": message, "line": None, "out_of_bounds": []}
    return {
        "outcome": "covered",
        "outputs": audit.held_against(own, payload["file"]) if own["outputs"] else audit.written_to(own["file"]),
        "effects": asdict(effects),
        "values": audit.values(payload, folder),
    }


@dataclass(frozen=True)
class _Audit:
    """A plan that was followed to its end."""

    plan: LaunchPlan
    modules: dict[str, Module]
    coverage: Coverage
    outputs: dict[str, Covered]
    until: float

    def written_to(self, file: str) -> list[dict[str, Any]]:
        written: dict[str, Any] = {
            name: np.packbits(one.owners.numpy() != NOBODY) for name, one in self.outputs.items()
        }
        np.savez(file, **written)
        return [{"name": name, "shape": one.owners.shape} for name, one in self.outputs.items()]

    def held_against(self, own: dict[str, Any], file: str) -> list[dict[str, Any]]:
        with np.load(own["file"], allow_pickle=False) as stored:
            wanted = {one["name"]: _bits(stored[one["name"]], one["shape"]) for one in own["outputs"]}
        return [_held_against(name, bits, self.outputs.get(name), file) for name, bits in wanted.items()]

    def values(self, payload: dict[str, Any], folder: Path) -> dict[str, Any]:
        if payload["values"] is None:
            return {"why_not": ""}
        try:
            return self._values(payload["values"], payload["file"], folder)
        except TtirError as error:
            return {"why_not": str(error)[:2000]}
        except (StepError, RuntimeError, ValueError, TypeError, IndexError, KeyError, MemoryError) as error:
            # An operator that cannot be called with what the plan gives it raises whatever torch likes.
            return {"why_not": f"{type(error).__name__}: {error}"[:2000]}

    def _values(self, asked: dict[str, Any], file: str, folder: Path) -> dict[str, Any]:
        spots = self._spots(Path(asked["spots"]), asked["seed"])
        owners = {name: self.outputs[name].owners.reshape(-1).numpy()[places] for name, places in spots.items()}
        run = SpotRun(self.plan, self.modules, spots, owners, self.coverage, self.until)
        values = run.values(dict(read_values(Path(asked["inputs"]["file"]), asked["inputs"]["header"], trusted=True)))
        if run.seen:
            return {"failed": failed(run.seen, file)}
        said = {**export([*values], {}, "spots", folder), "poison": ""}
        return {"run": {**said, "launches": self.plan.launches, "operators": self.plan.operators}}

    def _spots(self, file: Path, seed: int | None) -> Spots:
        if seed is not None:
            spots: dict[str, Any] = chosen(list(self.outputs.values()), seed)
            np.savez(file, **spots)
            return spots
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def _inputs(payload: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Of the workload's shapes, with nothing in them; integers as they were drawn where there are any."""
    inputs = shaped_inputs(
        payload["entries"], lambda dtype, shape, stride: torch.empty_strided(shape, stride, dtype=dtype)
    )
    if payload["integers"] is None:
        return inputs, set()
    drawn = dict(read_values(Path(payload["integers"]["file"]), payload["integers"]["header"], trusted=True))
    return {**inputs, **drawn}, set(drawn)


def _bits(packed: np.ndarray, shape: list[int]) -> np.ndarray:
    return np.unpackbits(packed, count=math.prod(shape)).view(np.bool_).reshape(shape)


def _held_against(name: str, wanted: np.ndarray, found: Covered | None, file: str) -> dict[str, Any]:
    owners = found.owners.numpy() if found is not None else None
    if owners is None or owners.shape != wanted.shape:
        owners = np.full(wanted.shape, NOBODY)
    at = found.at if found is not None else None
    return {
        "name": name,
        "line": at.line if at is not None and Path(at.file).name == file else None,
        "elements": wanted.size,
        "missing": int(np.count_nonzero(wanted & (owners == NOBODY))),
        "filled": int(np.count_nonzero(wanted & (owners == FILLED))),
    }
