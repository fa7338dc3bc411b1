"""Which layers of the bench's confinement this machine's driver works under: tried once, before anything is judged.

In children of a process that has never asked CUDA anything, like the bench itself. A driver that does not start behind
all of them gets those that it starts behind; what is missing is told, and nothing is judged any differently.
"""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .. import landlock
from .confinement import Confinement, Layer, confine, own_folder
from .forking import fork_child
from .lock import device_lock

_TRY_S = 30.0
Try = Callable[[tuple[Layer, ...]], bool]


def probe_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The host's step "gpu-probe": ``{answers}``, whether a new process can compute on ``device_uuid``. Waits for the
    device's lock; one that hangs is killed by the deadline.
    """
    os.environ.update(CUDA_DEVICE_ORDER="PCI_BUS_ID", CUDA_VISIBLE_DEVICES=payload["device_uuid"])
    with device_lock(payload["device_uuid"], Path(payload["lock_folder"]), payload["deadline_s"]):
        child = fork_child(use_the_device, "the device's probe", payload["deadline_s"], ())
        code = child.wait(payload["deadline_s"])
        child.kill()
    return {"answers": code == 0}


def layers_step(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The host's step "gpu-layers": ``{layers, missing: [{layer, why}]}``, those that hold with ``device_uuid``, and
    why the others do not. Waits for the device's lock.
    """
    deadline = time.monotonic() + float(payload["deadline_s"])
    os.environ.update(CUDA_DEVICE_ORDER="PCI_BUS_ID", CUDA_VISIBLE_DEVICES=payload["device_uuid"])
    with device_lock(payload["device_uuid"], Path(payload["lock_folder"]), payload["deadline_s"]):
        found = working_layers(lambda layers: _stands(layers, folder, payload["hidden"], use_the_device), deadline)
    left_out = [layer for layer in Layer if layer not in found]
    missing = [{"layer": str(layer), "why": _why_not(layer, folder, payload["hidden"])} for layer in left_out]
    return {"layers": [str(layer) for layer in found], "missing": missing}


def _why_not(layer: Layer, folder: Path, hidden: Collection[str]) -> str:
    alone = (Layer.FILES, Layer.PROC) if layer is Layer.PROC else (layer,)
    if _stands(alone, folder, hidden, lambda: None):
        return "the GPU's driver does not start behind it"
    return f"Linux {platform.release()} does not have it (Landlock's ABI is {landlock.abi()})"


def working_layers(stands: Try, deadline: float) -> tuple[Layer, ...]:
    """As many as ``stands`` allows together; those that were not tried before ``deadline`` do not count."""
    everything = tuple(Layer)
    if stands(everything):
        return everything
    kept: tuple[Layer, ...] = ()
    for layer in Layer:
        if time.monotonic() < deadline and stands((*kept, layer)):
            kept = (*kept, layer)
    return kept


def use_the_device() -> None:
    """A context and memory; raises where there is none to be had."""
    torch = importlib.import_module("torch")
    torch.ones(1 << 20, device="cuda").sum().item()


def _stands(layers: Collection[Layer], folder: Path, hidden: Collection[str], use: Callable[[], None]) -> bool:
    """Whether a child has all of ``layers`` and can still do what ``use`` does."""

    def main() -> None:
        confinement = Confinement(own_folder(folder), folder / "compiled", tuple(hidden), str(folder))
        missing = set(layers) - set(confine(confinement, layers))
        if missing:
            raise OSError(f"not on this system: {', '.join(sorted(missing))}")
        use()

    child = fork_child(main, f"confined by {', '.join(layers)}", _TRY_S, ())
    code = child.wait(_TRY_S)
    child.kill()
    return code == 0
