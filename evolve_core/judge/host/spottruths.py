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
from .precision import rounded_inputs
from .truths import reference_truth


def truth_at(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{truth, coarse}``: runs as the compare step takes them, whose outputs are the spots; no inputs are in them.
    ``coarse`` are those of reference() on inputs rounded in each way that the task's policy allows.

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

    def run_on(given: dict[str, Any], file: Path) -> dict[str, Any]:
        values = [torch.as_tensor(value) for _, value in reference_truth(task, given, names) if is_numeric(value)]
        if [list(value.shape) for value in values] != [shapes[name] for name in own]:
            raise StepError("task-error", "reference() gives outputs of other shapes there")
        by_name = zip(own, values, strict=True)
        found = [(f"out:{name}", value.reshape(-1)[spots[name]]) for name, value in by_name if name in spots]
        return {"file": str(file), "header": write_values(found, file)}

    rounded = rounded_inputs(task.precision, inputs)
    coarse = [run_on(given, folder / f"coarse-{number}.bin") for number, given in enumerate(rounded)]
    return {"truth": run_on(inputs, folder / "truth.bin"), "coarse": coarse}
