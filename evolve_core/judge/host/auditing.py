"""The audit of a plan at the sizes that are timed, in a process that executes nobody's code.

Plan and TTIR come from a child that ran a candidate (lowering.py), and are read as data. What the user's own plan
writes comes from a file of this step's own, in a folder that no candidate sees.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .buffers import read_values, shaped_inputs
from .carrying import Carrier
from .covered import FILLED, Coverage, Covered
from .errors import StepError
from .interpreting import failed, outcome_of
from .planreading import plan_from
from .ttir.errors import TtirError
from .ttir.memory import NOBODY
from .ttir.parser import parse


def audit_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"outcome": "covered", "outputs": […]}``, or how the audit ended otherwise, as ``interpret`` says it.

    ``own`` has a ``file``. Where it has no ``outputs`` the plan is the user's own: the elements that it writes go into
    the file, one bit each, and each output comes back with its ``shape``, as ``own`` has them from then on. Then every
    output of the user's own plan has ``line``, of the store, ``elements``, and of those that are to be written how many
    are ``missing``, and how many are ``filled`` with one number and not written otherwise.
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
    own = payload["own"]
    if not own["outputs"]:
        written: dict[str, Any] = {one.name: np.packbits(one.owners.numpy() != NOBODY) for one in outputs}
        np.savez(own["file"], **written)
        return {"outcome": "covered", "outputs": [{"name": one.name, "shape": one.owners.shape} for one in outputs]}
    found = {one.name: one for one in outputs}
    with np.load(own["file"], allow_pickle=False) as stored:
        held = [
            _held_against(
                one["name"], _bits(stored[one["name"]], one["shape"]), found.get(one["name"]), payload["file"]
            )
            for one in own["outputs"]
        ]
    return {"outcome": "covered", "outputs": held}


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
