"""A task that was opened: what the client sent, and what was found out about it. Data only."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .tier import Plans
from .warm_gpu import GpuSession


@dataclass(frozen=True)
class TaskText:
    """What the client sent: the task, and the source as it is in the editor."""

    source_file: str
    source: str
    task_file: str
    task_text: str
    entry: str
    kind: str
    kernels: tuple[str, ...]
    mode: str
    teeth: bool = False
    """Whether to try the tolerance on mutants, too."""

    @property
    def is_cuda(self) -> bool:
        return self.kind == "launches"


def is_varied(workload: dict[str, Any]) -> bool:
    """Whether its values are others than the task's own: then nothing promises that the user's kernel stands them."""
    return bool(distribution_of(workload))


def distribution_of(workload: dict[str, Any]) -> str:
    """What was done to the drawn values (distributions.py); "" for nothing."""
    return str(workload["recipe"].get("distribution", ""))


@dataclass(frozen=True)
class Draw:
    """Inputs in a file of the spool, and the seed that draws them again."""

    seed: int
    inputs: dict[str, Any]


@dataclass(frozen=True)
class CheckedWorkload:
    """A small workload with drawn inputs and what the user's own kernel gave on them; or one of timed size, of which
    there are only some places of the outputs, and no inputs.

    ``before`` are other inputs of the same workload, with which the entry is called first: what it keeps of that call
    must do no harm.
    """

    workload: dict[str, Any]
    drawn: Draw
    native: dict[str, Any]
    native_processor_s: float
    before: Draw | None = None
    truth: dict[str, Any] | None = None
    coarse: Sequence[dict[str, Any]] = ()
    """What reference() gives on inputs rounded as the task's policy allows, where that is known beside the truth."""
    idle: dict[str, Any] | None = None
    """What the user's own host code gives where launches do nothing."""
    idle_equal: bool | None = None
    """Whether that is what it gives with them."""
    by_host: dict[str, Any] | None = None
    """Where ``native`` is of the trusted interpreter: what the user's own host code gave in Triton's."""

    @property
    def is_carried(self) -> bool:
        """Whether the user's own kernel was run from its plan and TTIR here, and nothing was found."""
        return self.by_host is not None

    @property
    def distribution(self) -> str:
        return distribution_of(self.workload)

    @property
    def is_varied(self) -> bool:
        return is_varied(self.workload)


@dataclass(frozen=True)
class OwnValues:
    """Values of the user's own kernel at one timed size: ``drawn`` inputs, a file of the places that are looked at,
    what the ``run`` gave there. ``checked``: the same as a candidate's run is compared with. ``why_not``: why values
    are not looked at; "" where they are.
    """

    drawn: Draw | None = None
    spots: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    checked: CheckedWorkload | None = None
    why_not: str = ""


@dataclass(frozen=True)
class OwnAudit:
    """What the user's own plan does at one timed size: what it writes, in a file with its outputs and effects, and
    ``values``; or ``why_not``, which is "" else.
    """

    written: dict[str, Any] = field(default_factory=dict)
    values: OwnValues = field(default_factory=OwnValues)
    processor_s: float = 0.0
    why_not: str = ""


@dataclass
class OpenTask:
    name: str
    text: TaskText
    folder: Path
    timed: list[dict[str, Any]]
    checked: list[CheckedWorkload] = field(default_factory=list)
    audits: dict[str, OwnAudit] = field(default_factory=dict)
    """Without a GPU: by timed workload."""
    notes: list[str] = field(default_factory=list)
    has_reference: bool = True
    has_library: bool = False
    precision: str = "strict"
    """The task's policy (precision.py)."""
    drawn: list[dict[str, Any]] = field(default_factory=list)
    """On a GPU: held-out workloads from the domain, checked beside the listed ones."""
    plans: Plans = field(default_factory=Plans)
    """Of the user's own source."""
    teeth: dict[str, Any] | None = None
    """What was seen of mutants and perturbed inputs; None: not asked for."""
    session: GpuSession | None = None
    """On a GPU: processes that stay for this task's planned candidates."""
    screened: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was observed of those on a GPU, by the hash of their plans and of what the kernels' binaries do."""
    account_seed: int = field(default_factory=lambda: secrets.randbits(64))
    """Draws the programs that accounts of work are made of: alike for every source, and known to none."""
    accountless: str = ""
    """Why the user's own work is not counted by trusted code, and so no candidate's either; "" where it is."""
    starting: threading.Lock = field(default_factory=threading.Lock)


def task_of(text: TaskText) -> dict[str, Any]:
    return {"task_text": text.task_text, "task_file": text.task_file}


def code_of(text: TaskText, source: str) -> dict[str, Any]:
    return {"source": source, "source_file": text.source_file, "entry": text.entry}
