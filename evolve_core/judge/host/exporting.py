"""What one run on a workload gave, as bytes for the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .buffers import write_values

MAX_OUTPUTS = 512
"""More than any kernel's wrapper returns; a candidate that returns a list of a million numbers is wrong anyway."""


def export(outputs: list[tuple[str, Any]], inputs: dict[str, Any], poison: str, folder: Path) -> dict[str, Any]:
    """Returned values under ``out:…``, the inputs as they are now under ``in:…``; plus types and aliases.

    ``poison`` names the file. Raises StepError where a value cannot travel.
    """
    outputs = outputs[:MAX_OUTPUTS]
    memory = {value.untyped_storage().data_ptr() for value in inputs.values() if isinstance(value, torch.Tensor)}
    odd = [name for name, value in outputs if not _is_plain(value)]
    aliases = [
        name
        for name, value in outputs
        if isinstance(value, torch.Tensor) and value.numel() and value.untyped_storage().data_ptr() in memory
    ]
    named = [(f"out:{name}", _plain(value)) for name, value in outputs]
    named += [(f"in:{name}", value) for name, value in inputs.items() if isinstance(value, torch.Tensor)]
    file = folder / f"outputs-{poison}.bin"
    header = write_values(named, file)
    return {"poison": poison, "file": str(file), "header": header, "odd_types": odd, "aliases": aliases}


def _is_plain(value: Any) -> bool:
    return type(value) in (torch.Tensor, torch.nn.Parameter) or not isinstance(value, torch.Tensor)


def _plain(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, torch.Tensor) else value
