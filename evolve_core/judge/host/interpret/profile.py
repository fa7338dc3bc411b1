"""What one launch moves and computes at its real size, out of a few of its programs.

Programs of a grid do nearly the same work, so the mean over a few, weighted by how many each one stands for, describes
the launch. What programs share through the L2 cache depends on the order in which they start: a wave of consecutive
programs is run up to the end of their first loop step, and the sectors that they touch together are compared with the
sum of what each of them touches.

Measured on one core of an idle 2-core x86-64 server, Triton 3.9: softmax 16384×256 0.1 s, layer norm 4096×4096 0.15 s,
SwiGLU 4096×11008 0.03 s, matmul 4096³ with 64×64×32 tiles 1.2 s.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import compat, sample
from .access import Access, watched
from .bounds import mark_origins, stray_record
from .counts import Counter, Counts, counted
from .location import current_kernel_line
from .memory import MemoryMap, origins_carried
from .sectors import SECTOR_BYTES, Traffic, distinct, line_count, sectors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The wave that is looked at: as many programs as a large GPU runs at once with two on each multiprocessor.
_WAVE_PROGRAMS = 256
# After so many of them it is clear whether they share anything at all.
_WAVE_LOOK = 16
_NOTHING_SHARED = 0.95
# A program in the wave without a loop ends at the latest after so many accesses.
_WAVE_ACCESSES = 64
# Effort is bounded by what was done, not by the clock, so that a profile is the same on a busy machine: an access costs
# as much as its lanes and this many more (measured with Triton 3.9: 0.1 ms and 25 ns a lane).
_ACCESS_EFFORT = 2_000
_WAVE_EFFORT = 1_200_000
_PROGRAM_EFFORT = 4_000_000
_LAUNCH_EFFORT = 12_000_000
# The clock only ends what would otherwise take for ever: arithmetic that makes no access.
_PROGRAM_SECONDS = 3.0
_LAUNCH_SECONDS = 8.0


class _EndOfProgram(BaseException):
    """Ends a program of the wave once its first loop step is over."""


@dataclass
class _Program:
    """One program that was run to its end. ``weight``: how many programs of the grid it stands for."""

    linear: int
    weight: float
    counts: Counts = field(default_factory=Counts)
    traffic: Traffic = field(default_factory=Traffic)
    seen: dict[str, float] = field(default_factory=dict)
    """``load_sectors`` and ``store_sectors`` that were really seen; in ``counts`` they stand for every loop step."""

    def stretch(self, side: str) -> float:
        """Sectors it stands for over sectors that were seen: more than 1 where a loop was cut short."""
        seen = self.seen.get(side, 0.0)
        return self.counts.numbers.get(side, 0.0) / seen if seen else 1.0


@dataclass
class _Loop:
    steps: int
    before: dict[str, float]


@dataclass
class _LaunchRecord:
    launch: compat.Launch
    memory: MemoryMap
    grid: compat.Program = (1, 1, 1)
    programs: list[_Program] = field(default_factory=list)
    wave: list[Traffic] = field(default_factory=list)
    strays: list[dict[str, Any]] = field(default_factory=list)
    started: float = 0.0
    effort: int = 0
    wave_effort: int = 0


class _Profiler:
    """The observer that samples. One per entry call."""

    def __init__(self, programs: int) -> None:
        self.launches: list[_LaunchRecord] = []
        self.counter = Counter()
        self._wanted = programs
        self._weights: list[float] = []
        self._index = 0
        self._program: _Program | None = None
        self._wave: Traffic | None = None
        self._accesses = 0
        self._deadline = math.inf
        self._effort = 0

    # -- launches and programs

    def begin_launch(self, launch: compat.Launch) -> None:
        record = _LaunchRecord(launch, MemoryMap(launch.arguments))
        record.started = time.perf_counter()
        self.launches.append(record)
        self._index = 0

    def choose_programs(self, grid: compat.Program) -> Sequence[compat.Program]:
        record = self.launches[-1]
        record.grid = grid
        chosen = sample.choose(grid, self._wanted)
        programs = [s.program for s in chosen]
        self._weights = [s.weight for s in chosen]
        beside = sample.neighbour(grid, programs[len(programs) // 2]) if programs else None
        if beside is not None and beside not in programs:
            # Only for what it shares with the one before it; it stands for no other program.
            programs.append(beside)
            self._weights.append(0.0)
        wave = range(min(_WAVE_PROGRAMS, sample.total(grid)))
        return [*programs, *(sample.at(grid, index) for index in wave)]

    def run_program(self, program: compat.Program, run: Callable[[], None], pointers: dict[str, Any]) -> None:
        record = self.launches[-1]
        index, self._index = self._index, self._index + 1
        mark_origins(pointers.items())
        late = time.perf_counter() - record.started > _LAUNCH_SECONDS
        if index < len(self._weights):
            if record.programs and (late or record.effort > _LAUNCH_EFFORT):
                return
            self._run_sampled(record, _Program(sample.linear(record.grid, program), self._weights[index]), run)
        elif not late and self._wave_goes_on(record):
            self._run_in_wave(record, run)

    def _run_sampled(self, record: _LaunchRecord, program: _Program, run: Callable[[], None]) -> None:
        self._program, self.counter.current = program, program.counts
        self.counter.waited = True
        self._deadline, self._effort = time.perf_counter() + _PROGRAM_SECONDS, 0
        try:
            run()
        finally:
            self._program, self.counter.current = None, None
        record.effort += self._effort
        record.programs.append(program)

    def _wave_goes_on(self, record: _LaunchRecord) -> bool:
        if record.wave_effort > _WAVE_EFFORT:
            return False
        return len(record.wave) != _WAVE_LOOK or _share(record.wave) < _NOTHING_SHARED

    def _run_in_wave(self, record: _LaunchRecord, run: Callable[[], None]) -> None:
        self._wave, self._accesses, self._effort = Traffic(), 0, 0
        try:
            run()
        except _EndOfProgram:
            pass
        finally:
            wave, self._wave = self._wave, None
        record.wave.append(wave)
        record.wave_effort += self._effort

    def end_launch(self) -> None:
        pass

    # -- loops

    def enter_loop(self, steps: int) -> _Loop | None:
        if self._program is None:
            return None
        if steps:
            self._program.counts.add("loops", 1.0)
        return _Loop(steps, dict(self._program.counts.numbers))

    def next_step(self, loop: _Loop | None, index: int) -> bool:
        if loop is None or self._program is None:
            if index and self._wave is not None:
                raise _EndOfProgram
            return True
        if index and self._is_exhausted():
            return False
        self._program.counts.add("loop_steps", 1.0)
        self.counter.waited = True
        return True

    def leave_loop(self, loop: _Loop | None, executed: int) -> None:
        # Only a loop that ran out of time is stretched; one that the kernel left by `break` was meant to end there.
        if loop is None or self._program is None or not 0 < executed < loop.steps:
            return
        if self._is_exhausted():
            self._program.counts.scale_since(loop.before, loop.steps / executed)

    def _is_exhausted(self) -> bool:
        return self._effort > _PROGRAM_EFFORT or time.perf_counter() > self._deadline

    # -- memory

    def check(self, access: Access) -> Any:
        record = self.launches[-1]
        inside = record.memory.legal(access.addresses, access.item_bytes, access.origin)
        self._count(access if inside is None else _only(access, inside))
        if inside is None:
            return None
        if not record.strays:
            stray = record.memory.describe(access.addresses, inside, access.item_bytes, access.origin, access.kind)
            program = compat.builder.grid_idx
            record.strays.append(
                stray_record(
                    record.launch.kernel, current_kernel_line(), access.kind, stray.tensor, stray.message, program
                )
            )
        return _narrowed(access, inside)

    def _count(self, access: Access) -> None:
        self._effort += _ACCESS_EFFORT + access.pointers.size
        sectors, size = sectors_of(access.addresses, access.item_bytes)
        if self._wave is not None:
            self._accesses += 1
            if self._accesses > _WAVE_ACCESSES:
                raise _EndOfProgram
            if sectors.size:
                self._wave.add(access.kind == "store", access.origin, sectors)
        if self._program is None:
            return
        counts = self._program.counts
        side = "store" if access.kind == "store" else "load"
        if side == "load" and (self.counter.waited or not access.origin):
            # An address that was itself loaded also waits for an earlier load.
            counts.add("memory_trips", 1.0)
            self.counter.waited = access.kind == "atomic"
        if access.kind == "atomic":
            counts.add("atomic_ops", access.addresses.size)
        else:
            counts.add(f"{side}_lines", line_count(sectors, self._storage_start(access)))
            counts.add(f"{side}_bytes", size)
            counts.add(f"{side}_sectors", sectors.size)
            self._program.seen[f"{side}_sectors"] = self._program.seen.get(f"{side}_sectors", 0.0) + sectors.size
        if sectors.size:
            self._program.traffic.add(side == "store", access.origin, sectors)

    def _storage_start(self, access: Access) -> int:
        known = self.launches[-1].memory.allocations
        return next((known[name].start for name in access.origin if name in known), 0)


def _only(access: Access, inside: Any) -> Access:
    return Access(access.kind, access.pointers, access.mask, access.addresses[inside], access.item_bytes, access.origin)


def _narrowed(access: Access, inside: Any) -> Any:
    """The access's mask without the lanes that lie outside."""
    mask = np.array(access.mask)
    mask[mask] = inside
    return mask


# -- from records to numbers


def _by_tensor(traffics: list[Traffic]) -> dict[frozenset[str], list[Any]]:
    """For each tensor, one array of distinct loaded sectors per program that loads from it."""
    found: dict[frozenset[str], list[Any]] = {}
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


def _wave_sectors(record: _LaunchRecord) -> dict[str, float] | None:
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


def _neighbours(record: _LaunchRecord) -> dict[frozenset[str], float]:
    ordered = sorted(record.programs, key=lambda p: p.linear)
    for first, second in itertools.pairwise(ordered):
        if second.linear == first.linear + 1:
            pair = _by_tensor([first.traffic, second.traffic])
            return {o: distinct(p).size / sum(part.size for part in p) for o, p in pair.items() if len(p) == 2}
    return {}


def _mean(record: _LaunchRecord, value: Callable[[_Program], float]) -> float:
    weight = sum(p.weight for p in record.programs)
    return sum(p.weight * value(p) for p in record.programs) / weight if weight else 0.0


def _unique(record: _LaunchRecord, side: str) -> dict[frozenset[str], float]:
    """Mean distinct sectors a program loads (or stores) by tensor."""
    sizes = [
        {origin: distinct(parts).size * p.stretch(f"{side}_sectors") for origin, parts in _parts(p, side).items()}
        for p in record.programs
    ]
    weight = sum(p.weight for p in record.programs)
    total: dict[frozenset[str], float] = {}
    for program, size in zip(record.programs, sizes, strict=True):
        for origin, sectors in size.items():
            total[origin] = total.get(origin, 0.0) + program.weight * sectors / weight
    return total


def _parts(program: _Program, side: str) -> dict[frozenset[str], list[Any]]:
    return program.traffic.loads if side == "load" else program.traffic.stores


def _compulsory_bytes(record: _LaunchRecord, sectors: dict[frozenset[str], float]) -> float:
    """What must move at least once: never more than the tensor itself, however many programs read it."""
    programs = sample.total(record.grid)
    total = 0.0
    for origin, mean in sectors.items():
        touched = programs * mean * SECTOR_BYTES
        known = [record.memory.allocations[name] for name in origin if name in record.memory.allocations]
        sizes = sum(_extent_bytes(record.launch.arguments[a.name]) for a in known)
        total += min(touched, sizes) if known else touched
    return total


def _extent_bytes(tensor: Any) -> float:
    """Distinct bytes of a tensor: an axis of stride 0 repeats what is there once."""
    sizes = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return float(math.prod(sizes) * tensor.element_size())


_PLAIN = (
    "load_bytes", "store_bytes", "load_sectors", "store_sectors", "atomic_ops", "fp_ops", "special_ops", "int_ops",
    "loop_steps", "loops", "reductions", "load_lines", "store_lines", "memory_trips",
)  # fmt: skip


def _work(record: _LaunchRecord, index: int) -> dict[str, Any]:
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
        "kernel": record.launch.kernel,
        "grid": list(record.grid),
        "programs": sample.total(record.grid),
        "sampled": len(record.programs),
        "per_program": per_program,
        "compulsory_bytes": _compulsory_bytes(record, loads) + _compulsory_bytes(record, stores),
        "wave_unique_sectors": _wave_sectors(record),
        "out_of_bounds": record.strays,
    }


def profile_entry(entry: Callable[..., Any], inputs: dict[str, Any], programs: int = 3) -> list[dict[str, Any]]:
    """One WorkProfile of the judge-host protocol, without ``workload``, for each launch that ``entry(**inputs)`` makes.

    ``inputs``: CPU tensors of real size; values of floating-point ones do not matter, those of integer ones do.
    ``programs`` is how many programs in the inside of each grid are run. ``unique_sectors`` and the wave count loads.
    An address outside of the launch's tensors is masked off and reported under ``out_of_bounds``. That proves a
    fault where the launch reads no tensor that an earlier launch of the same entry wrote, since of that one only
    sampled programs ran. Whatever the entry raises propagates.
    """
    profiler = _Profiler(max(1, programs))
    with (
        np.errstate(all="ignore"),
        compat.observed(profiler, asserts=False),
        origins_carried(),
        counted(profiler.counter),
        watched(profiler.check),
    ):
        entry(**inputs)
    return [_work(record, index) for index, record in enumerate(profiler.launches)]
