"""Autotuned kernels where nothing can be timed: take the first configuration that the kernel's own pruning keeps."""

from __future__ import annotations

from typing import Any

from triton.runtime.autotuner import Autotuner

chosen: list[str] = []
"""What was chosen in this process, one line per launch; the observation carries it as a note."""


def choose_first_configuration() -> None:
    """Replace ``Autotuner.run`` in this process. Only in a child that ends with its step."""
    Autotuner.run = _run_first


def _run_first(self: Any, *args: Any, **kwargs: Any) -> Any:
    self.nargs = dict(zip(self.arg_names, args, strict=False))
    configurations = self.prune_configs(kwargs) if len(self.configs) > 1 else self.configs
    first = next(iter(configurations))
    values = first.all_kwargs()
    self.best_config = first
    if len(self.configs) > 1:
        chosen.append(f"{self.base_fn.__name__}: first of {len(self.configs)} autotune configurations ({first})")
    if first.pre_hook is not None:
        first.pre_hook({**self.nargs, **kwargs, **values})
    try:
        return self.fn.run(*args, **{**kwargs, **values})
    finally:
        self.nargs = None
