"""What one request to judge on the GPU consists of. Closures are fine: they are called after a fork, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Place
from ..precision import STRICT
from .confinement import Layer

Named = list[tuple[str, Any]]
"""Outputs by name: tensors, and plain values among them (None, numbers, strings)."""
Runner = Callable[[dict[str, Any]], Named]

SCREENING_PAIRS = 13
CONFIRMATION_PAIRS = 60
CONFIRMATION_PROCESSES = 5
WARM_PAIRS = 15
"""On a warm L2 cache, in each process of a confirmation: they decide nothing, so a quarter of the others is enough."""
COMPILE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class PlansToWatch:
    """Of one workload: both kernels' plans as JSON, and the folder of their kernels."""

    workload: str
    binaries: str
    candidate: dict[str, Any]
    baseline: dict[str, Any]


@dataclass(frozen=True)
class GpuJob:
    """One candidate (or, with ``load_candidate`` None, the user's own kernel against itself) on one device.

    In the conductor: ``draw`` (workload id, seed, device) gives the inputs; ``truth`` (a clone of them, None or the
    names of the inputs that are the outputs because the entry returns nothing) the oracle's answer. In the bench:
    ``load_candidate``. In both: ``load_baseline``. ``checked`` and ``timed`` are workload ids. ``lock_folder`` is
    shared by every run on this machine, ``cache_folder`` by every request of this task (what the user's own kernel
    compiled to), ``spool`` is this request's own. ``pairs`` and ``processes`` 0 mean: by stage. The bench is confined
    by ``layers``, and sees nothing of the folders ``hidden`` but ``spool`` inside them."""

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
    """The user's kernel for the bench, launched the way that the candidate is."""
    load_candidate: Callable[[], Runner] | None
    reference: Callable[[], Place] = lambda: Place(Path("the task"))
    """Where the task defines reference()."""
    load_native: Callable[[], Runner] | None = None
    """The user's kernel for the conductor, through their own host code; None: as for the bench."""
    load_host_code: Callable[[], Runner] | None = None
    """The candidate through its own host code, where the bench carries out plans."""
    load_plans: Callable[[Iterable[Any]], Runner] | None = None
    """A runner out of plans as JSON, where the bench carries out plans."""
    least_work: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """What inputs ask of every right kernel (least.py), where somebody wants to know."""
    watched: PlansToWatch | None = None
    """What is carried out under compute-sanitizer beside a confirmation."""
    smallest: str = ""
    """Of the checked workloads, where calls are repeated."""
    guards_inputs: bool = False
    """Host code is checked on inputs beside which nothing is mapped, like plans on all of their tensors."""
    warm_up: str = ""
    """The workload that a conductor draws before it is its turn; best a small one."""
    candidate_is_trusted: bool = False
    """The second is no candidate but code of the user's own: what it keeps running beside the clock is their affair."""
    times_warm: bool = True
    """A confirmation also times calls with their inputs in the L2 cache."""
    has_reference: bool = True
    precision: str = STRICT
    pairs: int = 0
    processes: int = 0
    compile_timeout_s: float = COMPILE_TIMEOUT_S
    device: str = "cuda"
    hidden: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = tuple(Layer)

    @property
    def is_planned(self) -> bool:
        """No candidate's host code runs: plans are carried out."""
        return self.load_plans is not None

    @property
    def pair_count(self) -> int:
        return self.pairs or (CONFIRMATION_PAIRS if self.stage == "confirmation" else SCREENING_PAIRS)

    @property
    def warm_pair_count(self) -> int:
        return WARM_PAIRS if self.times_warm and self.stage == "confirmation" else 0

    @property
    def process_count(self) -> int:
        return self.processes or (CONFIRMATION_PROCESSES if self.stage == "confirmation" else 1)
