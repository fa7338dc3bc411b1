"""The oracle's step "truth-at": what reference() gives at a few elements of a workload's real size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .buffers import read_values, write_values
from .compare import is_numeric
from .errors import StepError
from .oracle import loaded
from .truths import reference_truth


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
    shapes = {one["name"]: list(one["shape"]) for one in payload["outputs"]}
    # In the order in which SpotRun gives them; reference() may return what the entry leaves in its inputs.
    own = names if names is not None else [*shapes]
    truth = [torch.as_tensor(value) for _, value in reference_truth(task, inputs, names) if is_numeric(value)]
    if [list(value.shape) for value in truth] != [shapes[name] for name in own]:
        raise StepError("task-error", "reference() gives outputs of other shapes there")
    found = [
        (f"out:{name}", value.reshape(-1)[spots[name]]) for name, value in zip(own, truth, strict=True) if name in spots
    ]
    file = folder / "truth.bin"
    return {"file": str(file), "header": write_values(found, file)}
