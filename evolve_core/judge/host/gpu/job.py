"""What one request to judge on the GPU consists of. Closures are fine: they are called after a fork, never pickled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Named = list[tuple[str, torch.Tensor]]
Runner = Callable[[dict[str, Any]], Named]
Compare = Callable[[Named, Named, Named, bool], list[dict[str, Any]]]

SCREENING_PAIRS = 13
CONFIRMATION_PAIRS = 60
CONFIRMATION_PROCESSES = 5
COMPILE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class GpuJob:
    """One candidate (or, with ``load_candidate`` None, the user's own kernel against itself) on one device.

    In the conductor: ``draw`` (workload id, seed, device) gives the inputs; ``truth`` (a clone of them, None or the
    names of the inputs that are the outputs because the entry returns nothing) the oracle's answer; ``compare``
    (candidate, truth, native, quantiles) the statistics of the protocol's Check. In the bench: ``load_candidate``. In
    both: ``load_baseline``. ``checked`` and ``timed`` are workload ids. ``lock_folder`` is shared by every run on
    this machine, ``cache_folder`` by every request of this task (what the user's own kernel compiled to), ``spool`` is
    this request's own. ``pairs`` and ``processes`` 0 mean: by stage."""

    device_uuid: str
    lock_folder: str
    cache_folder: str
    spool: str
    stage: str
    deadline_s: float
    checked: list[str]
    timed: list[str]
    draw: Callable[[str, int, str], dict[str, Any]]
    truth: Callable[[dict[str, Any], list[str] | None], Named]
    load_baseline: Callable[[], Runner]
    load_candidate: Callable[[], Runner] | None
    compare: Compare
    pairs: int = 0
    processes: int = 0
    compile_timeout_s: float = COMPILE_TIMEOUT_S
    device: str = "cuda"

    @property
    def pair_count(self) -> int:
        return self.pairs or (CONFIRMATION_PAIRS if self.stage == "confirmation" else SCREENING_PAIRS)

    @property
    def process_count(self) -> int:
        return self.processes or (CONFIRMATION_PROCESSES if self.stage == "confirmation" else 1)
