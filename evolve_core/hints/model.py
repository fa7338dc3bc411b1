"""Facts from compile-only analysis, and the estimate that is made of them. Read-only data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the compiler made of one specialisation of a kernel. Sizes in bytes, ``registers`` per thread."""

    name: str
    target: str
    registers: int
    spill_bytes: int
    shared_bytes: int
    num_warps: int
    num_stages: int
    stack_bytes: int = 0
    instructions: dict[str, int] = field(default_factory=dict)
    load_bits: tuple[int, ...] = ()
    store_bits: tuple[int, ...] = ()
    tensor_core: str | None = None
    async_copy: bool = False
    constexprs: dict[str, str] = field(default_factory=dict)
    binary_sha256: str = ""


@dataclass(frozen=True, slots=True)
class WorkProfile:
    """Dynamic work of one launch on one workload, from a few sampled programs.

    Everything named ``*_per_program`` is a mean over the sampled programs; a sector is 32 bytes.
    ``load_sectors`` counts a sector once per access, ``unique_sectors`` once per program that loads it.
    ``lines`` are 128-byte cache lines, once per access; ``memory_trips`` are loads that waited for earlier ones: a loop
    step, a reduction or a loaded address lies between.
    ``dot_tile`` is (m, n, k) of the largest matrix product; ``loops`` counts a nested loop each time it is entered.
    ``compulsory_bytes`` is what any implementation must move: every byte touched, once.
    ``wave_programs``/``wave_unique_sectors`` say how many distinct sectors so many consecutive programs load
    together (0/0 where that was not sampled): what the L2 cache can share between them.
    """

    workload: str
    kernel: str
    grid: tuple[int, int, int]
    load_bytes_per_program: float
    store_bytes_per_program: float
    load_sectors_per_program: float
    store_sectors_per_program: float
    unique_sectors_per_program: float
    dot_flops_per_program: dict[str, float] = field(default_factory=dict)
    fp_ops_per_program: float = 0.0
    special_ops_per_program: float = 0.0
    int_ops_per_program: float = 0.0
    atomic_ops_per_program: float = 0.0
    loop_steps_per_program: float = 0.0
    reductions_per_program: float = 0.0
    compulsory_bytes: float = 0.0
    wave_programs: int = 0
    wave_unique_sectors: float = 0.0
    loops_per_program: float = 0.0
    load_lines_per_program: float = 0.0
    store_lines_per_program: float = 0.0
    memory_trips_per_program: float = 0.0
    dot_tile: tuple[int, int, int] = (0, 0, 0)
    trusted: bool = False
    """Counted by trusted code, and not by the process that ran the source."""

    @property
    def programs(self) -> int:
        x, y, z = self.grid
        return x * y * z


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted time of one launch on a named target, in microseconds, and what bounds it. Never a measurement.

    ``bound`` is one of ``dram``, ``l2``, ``tensor``, ``fp32``, ``special``, ``issue``, ``latency``, ``launch``.
    """

    time_us: float
    bound: str
    occupancy: float
    waves: float
    dram_us: float
    compute_us: float
    issue_us: float
    launchable: bool = True
    why_not: str = ""
