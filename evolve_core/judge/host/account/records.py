"""What was seen of the sampled programs of one launch, and the WorkProfile that comes of it.

Two watch programs and fill these records: interpret/profile.py inside Triton's interpreter, account/counting.py beside
the interpreter of TTIR. Standard library and numpy alone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import sample
from .sectors import SECTOR_BYTES, Traffic, distinct, line_count

if TYPE_CHECKING:
    from collections.abc import Callable

Origin = frozenset[str]
"""Names of the tensors that a pointer may have come from; empty where that is not known."""

WAVE_PROGRAMS = 256
"""The wave that is looked at: as many programs as a large GPU runs at once with two on each multiprocessor."""
_WAVE_LOOK = 16
"""After so many of them it is clear whether they share anything at all."""
_NOTHING_SHARED = 0.95


@dataclass
class Counts:
    """Work of one program so far. ``dot_tile``: (m, n, k) of its largest matrix product."""

    numbers: dict[str, float] = field(default_factory=dict)
    dot_tile: tuple[int, int, int] = (0, 0, 0)

    def add(self, name: str, amount: float) -> None:
        self.numbers[name] = self.numbers.get(name, 0.0) + amount

    def add_dot(self, kind: str, passes: float, m: int, n: int, k: int, batch: int) -> None:
        """A matrix product; ``passes``: how many products are made for one."""
        self.add(f"dot:{kind}", 2.0 * m * n * k * batch * passes)
        if m * n * k > math.prod(self.dot_tile):
            self.dot_tile = (m, n, k)

    def scale_since(self, before: dict[str, float], factor: float) -> None:
        """Multiplies what was added since ``before``: a loop that was cut short stands for all of its steps."""
        for name, value in self.numbers.items():
            start = before.get(name, 0.0)
            self.numbers[name] = start + (value - start) * factor


@dataclass
class SampledProgram:
    """One program that was run to its end. ``weight``: how many programs of the grid it stands for."""

    linear: int
    weight: float
    counts: Counts = field(default_factory=Counts)
    traffic: Traffic = field(default_factory=Traffic)
    seen: dict[str, float] = field(default_factory=dict)
    """``load_sectors`` and ``store_sectors`` that were really seen; in ``counts`` they stand for every loop step."""

    def plain_access(self, side: str, sectors: Any, size: int, storage_start: int) -> None:
        """A block-wide load or store of ``size`` distinct bytes. ``side``: ``load`` or ``store``."""
        self.counts.add(f"{side}_lines", line_count(sectors, storage_start))
        self.counts.add(f"{side}_bytes", size)
        self.counts.add(f"{side}_sectors", sectors.size)
        self.seen[f"{side}_sectors"] = self.seen.get(f"{side}_sectors", 0.0) + sectors.size

    def stretch(self, side: str) -> float:
        """Sectors it stands for over sectors that were seen: more than 1 where a loop was cut short."""
        seen = self.seen.get(side, 0.0)
        return self.counts.numbers.get(side, 0.0) / seen if seen else 1.0


@dataclass
class SampledLaunch:
    """``extents``: distinct bytes of each tensor, by the names that origins are made of."""

    kernel: str
    extents: dict[str, float]
    grid: sample.Program = (1, 1, 1)
    programs: list[SampledProgram] = field(default_factory=list)
    wave: list[Traffic] = field(default_factory=list)

    def wave_tells_more(self) -> bool:
        """Whether another program of the wave is worth running."""
        return len(self.wave) != _WAVE_LOOK or _share(self.wave) < _NOTHING_SHARED


# -- from records to numbers -------------------------------------------------------------------------------------------


def _by_tensor(traffics: list[Traffic]) -> dict[Origin, list[Any]]:
    """For each tensor, one array of distinct loaded sectors per program that loads from it."""
    found: dict[Origin, list[Any]] = {}
    for traffic in traffics:
        for origin, parts in traffic.loads.items():
            found.setdefault(origin, []).append(distinct(parts))
    return found


def _share(traffics: list[Traffic]) -> float:
    """Distinct sectors over the sum of every program's own: 1 where nothing is shared."""
    tensors = _by_tensor(traffics).values()
    own = sum(part.size for parts in tensors for part in parts)
    together = sum(distinct(parts).size for parts in tensors)
    return together / own if own else 1.0


def _wave_sectors(record: SampledLaunch) -> dict[str, float] | None:
    """Distinct sectors that a wave of consecutive programs loads together, over their whole run.

    A program's first loop step stands for the later ones, on the assumption that programs of a wave keep pace. For a
    tensor that is only read after the first step, two neighbours that were run to their ends tell what is shared:
    u(n) = u·n^log2(2·share) joins "all of it" (share ½, u(n) = u) and "none" (share 1, u(n) = n·u).
    """
    if len(record.wave) < 2:
        return None
    programs = len(record.wave)
    in_wave = _by_tensor(record.wave)
    neighbours = _neighbours(record)
    total = 0.0
    for origin, mean in _unique(record, "load").items():
        parts = in_wave.get(origin)
        if parts and len(parts) == programs:
            share = distinct(parts).size / sum(part.size for part in parts)
            total += share * programs * mean
        elif origin in neighbours:
            total += mean * programs ** math.log2(2.0 * max(0.5, neighbours[origin]))
        else:
            total += programs * mean
    return {"programs": programs, "sectors": total}


def _neighbours(record: SampledLaunch) -> dict[Origin, float]:
    ordered = sorted(record.programs, key=lambda p: p.linear)
    for first, second in itertools.pairwise(ordered):
        if second.linear == first.linear + 1:
            pair = _by_tensor([first.traffic, second.traffic])
            return {o: distinct(p).size / sum(part.size for part in p) for o, p in pair.items() if len(p) == 2}
    return {}


def _mean(record: SampledLaunch, value: Callable[[SampledProgram], float]) -> float:
    weight = sum(p.weight for p in record.programs)
    return sum(p.weight * value(p) for p in record.programs) / weight if weight else 0.0


def _unique(record: SampledLaunch, side: str) -> dict[Origin, float]:
    """Mean distinct sectors a program loads (or stores) by tensor."""
    sizes = [
        {origin: distinct(parts).size * p.stretch(f"{side}_sectors") for origin, parts in _parts(p, side).items()}
        for p in record.programs
    ]
    weight = sum(p.weight for p in record.programs)
    total: dict[Origin, float] = {}
    for program, size in zip(record.programs, sizes, strict=True):
        for origin, sectors in size.items():
            total[origin] = total.get(origin, 0.0) + program.weight * sectors / weight
    return total


def _parts(program: SampledProgram, side: str) -> dict[Origin, list[Any]]:
    return program.traffic.loads if side == "load" else program.traffic.stores


def _compulsory_bytes(record: SampledLaunch, sectors: dict[Origin, float]) -> float:
    """What must move at least once: never more than the tensor itself, however many programs read it."""
    programs = sample.total(record.grid)
    total = 0.0
    for origin, mean in sectors.items():
        touched = programs * mean * SECTOR_BYTES
        known = [record.extents[name] for name in origin if name in record.extents]
        total += min(touched, sum(known)) if known else touched
    return total


_PLAIN = (
    "load_bytes", "store_bytes", "load_sectors", "store_sectors", "atomic_ops", "fp_ops", "special_ops", "int_ops",
    "loop_steps", "loops", "reductions", "load_lines", "store_lines", "memory_trips",
)  # fmt: skip


def work_of(record: SampledLaunch, index: int, out_of_bounds: list[dict[str, Any]]) -> dict[str, Any]:
    """A WorkProfile of the judge-host protocol, without ``workload``."""
    names = {name for p in record.programs for name in p.counts.numbers}

    def mean(name: str) -> float:
        return _mean(record, lambda p: p.counts.numbers.get(name, 0.0))

    loads, stores = _unique(record, "load"), _unique(record, "store")
    tiles = [p.counts.dot_tile for p in record.programs]
    per_program: dict[str, Any] = {name: mean(name) for name in _PLAIN}
    per_program["unique_sectors"] = sum(loads.values())
    per_program["dot_flops"] = {
        name.removeprefix("dot:"): mean(name) for name in sorted(names) if name.startswith("dot:")
    }
    per_program["dot_tile"] = list(max(tiles, key=math.prod, default=(0, 0, 0)))
    return {
        "launch": index,
        "kernel": record.kernel,
        "grid": list(record.grid),
        "programs": sample.total(record.grid),
        "sampled": len(record.programs),
        "per_program": per_program,
        "compulsory_bytes": _compulsory_bytes(record, loads) + _compulsory_bytes(record, stores),
        "wave_unique_sectors": _wave_sectors(record),
        "out_of_bounds": out_of_bounds,
    }
