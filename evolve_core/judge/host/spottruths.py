"""The oracle's step "truth-at": what reference() gives at a few elements of a workload's real size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .buffers import read_values, write_values
from .errors import StepError
from .oracle import loaded
from .truths import Named, reference_truth


def truth_at(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run as the compare step takes it, whose outputs are the spots; no inputs are in it.

    ``inputs`` of the workload, ``spots``: the file of positions by the names that the user's own kernel has for its
    outputs, ``outputs``: all of these with their shapes, ``in_place``: whether they are inputs. Raises StepError where
    reference() gives something else.
    """
    task = loaded(payload, folder)
    inputs = dict(read_values(Path(payload["inputs"]["file"]), payload["inputs"]["header"], trusted=True))
    with np.load(payload["spots"], allow_pickle=False) as stored:
        spots = {name: torch.from_numpy(stored[name]) for name in stored.files}
    names = sorted(spots) if payload["in_place"] else None
    own = [one for one in payload["outputs"] if names is None or one["name"] in spots]
    truth = _tensors(reference_truth(task, inputs, names))
    if [list(value.shape) for _, value in truth] != [list(one["shape"]) for one in own]:
        raise StepError("task-error", "reference() gives outputs of other shapes there")
    found = [
        (f"out:{one['name']}", value.reshape(-1)[spots[one["name"]]])
        for one, (_, value) in zip(own, truth, strict=True)
        if one["name"] in spots
    ]
    file = folder / "truth.bin"
    return {"file": str(file), "header": write_values(found, file)}


def _tensors(named: Named) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in named if isinstance(value, torch.Tensor)]
